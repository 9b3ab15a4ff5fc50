import Espalier
import EspalierData

/// How long a whole training step takes with so many samples: measured at a few sizes of batch, interpolated in between.
///
/// A step is the trainer's: packing the images, forward, backward, loss, norms and activations, and SGD. Reading and decoding
/// pictures, updates of the topology, evaluation and checkpoints are not in it.
public struct StepTimes: Sendable, Hashable {
  /// A batch that was measured.
  public struct Point: Sendable, Hashable {
    /// Samples.
    public let samples: Int
    /// Of one step.
    public let seconds: Double
  }

  /// In rising order of samples; at least one.
  public let points: [Point]

  /// - Precondition: at least one point, rising in samples; what kernels compute for that many samples has no padding.
  package init(_ points: [(samples: Int, seconds: Double)]) {
    precondition(!points.isEmpty)
    self.points = points.map(Point.init)
  }

  /// Seconds of a step, linear between measured batches in the samples that are computed, padding included: kernels take longer for a
  /// sample where there are few. A batch beyond the largest goes on as from the smallest to the largest; one below the smallest takes as
  /// long as that.
  public func seconds(samples: Int) -> Double {
    let count = ActivationShape(samples: samples, channels: 1).count
    let last = points[points.count - 1]
    guard let above = points.firstIndex(where: { $0.samples >= count }) else {
      let perSample =
        points.count > 1 ? (last.seconds - points[0].seconds) / Double(last.samples - points[0].samples) : 0
      let slope = perSample > 0 ? perSample : last.seconds / Double(last.samples)
      return last.seconds + slope * Double(count - last.samples)
    }
    guard above > 0 else { return points[0].seconds }
    let (low, high) = (points[above - 1], points[above])
    let part = Double(count - low.samples) / Double(high.samples - low.samples)
    return low.seconds + part * (high.seconds - low.seconds)
  }
}

extension StepTimes {
  /// Sizes of batch that are worth measuring for steps of `samples` and fewer, the most telling first: those that kernels have blocks for,
  /// and some blocks of the widest.
  package static func batches(upTo samples: Int) -> [Int] {
    let count = ActivationShape(samples: samples, channels: 1).count
    let whole = count <= 256 ? count : 128
    return [8, 32].filter { $0 < whole } + [whole] + [1, 64, 16, 128].filter { $0 < whole }
  }

  /// Measures the first batch and then as many of the others as there is time for.
  ///
  /// - Parameter scale: what the times are multiplied by.
  init(
    measuring model: Model, batches: [Int], scale: Double, context: ComputeContext,
    deadline: ContinuousClock.Instant
  ) throws {
    var points: [(samples: Int, seconds: Double)] = []
    for (index, samples) in batches.enumerated() {
      let now = ContinuousClock.now
      if !points.isEmpty {
        let known = points.filter { $0.samples <= samples }.last ?? points[0]
        let expected = 2 * known.seconds / scale * max(1, Double(samples) / Double(known.samples))
        guard now + .seconds(expected) < deadline else { continue }
      }
      let share = max(.zero, deadline - now) / (batches.count - index)
      let seconds = try Self.measure(
        model, samples: samples, until: now + share, deadline: deadline, context: context)
      points.append((samples, scale * seconds))
      points.sort { $0.samples < $1.samples }
    }
    self.init(points)
  }

  /// The median step of a trainer on made-up images, after a first step that does not count unless it took all the time.
  private static func measure(
    _ model: Model, samples: Int, until end: ContinuousClock.Instant, deadline: ContinuousClock.Instant,
    context: ComputeContext
  ) throws -> Double {
    let input = model.spec.input
    let steps = max(2, min(12, imageBytes / (samples * input.count)))
    let data = try ImageDataset.synthetic(
      trainCount: steps * samples, testCount: 1, classes: model.spec.classes, channels: input.channels,
      height: input.height, width: input.width)
    var options = TrainingOptions(maxSteps: steps)
    options.batchSize = samples
    options.learningRate = 1e-6
    let watch = StepWatch(steps: steps, end: end, deadline: deadline)
    try Trainer(model: model, dataset: data, normalization: .none, options: options, context: context).run(
      observer: watch)
    return watch.median
  }

  /// Bytes of images that are made up for a batch's steps, unless two steps need more.
  private static let imageBytes = 1 << 24
}

/// Notes when steps end, and ends training after the last one or at the end of its time; after a single step at the deadline alone.
private final class StepWatch: TrainingObserver {
  private let steps: Int
  private let end, deadline: ContinuousClock.Instant
  private var times: [ContinuousClock.Instant] = []
  private let start = ContinuousClock.now

  init(steps: Int, end: ContinuousClock.Instant, deadline: ContinuousClock.Instant) {
    (self.steps, self.end, self.deadline) = (steps, end, deadline)
  }

  func didStep(_ record: StepRecord, isLogged: Bool) { times.append(.now) }

  var wantsStop: Bool {
    guard let last = times.last else { return false }
    return times.count == steps || last > (times.count > 1 ? end : deadline)
  }

  /// Seconds from one step's end to the next.
  var median: Double {
    let ends = times.count > 1 ? times : [start] + times
    return Samples(zip(ends, ends.dropFirst()).map { ($1 - $0).seconds }).median
  }
}

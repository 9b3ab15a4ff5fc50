import EspalierCore

/// Counts a run's training operations a sample: forward, input gradient and weight gradient of the connections, and on update steps
/// what the updater looked at: gradients of candidates or of whole layers, activity sums (Evci et al. 2020, appendix; a multiply-add counts 2).
struct FlopCounter {
  fileprivate let model: Model
  private let method: (any DenseMethod)?
  fileprivate(set) var total: Double
  private(set) var steps: Int

  /// `total` and `steps` are sums to go on from.
  init(_ model: Model, method: (any DenseMethod)? = nil, total: Double = 0, steps: Int = 0) {
    self.model = model
    self.method = method
    self.total = total
    self.steps = steps
  }

  /// Averaged over the steps counted; of several rounds of training their sum.
  var perSample: Double { steps > 0 ? total * Double(method?.rounds ?? 1) / Double(steps) : 0 }

  /// Adds one step; an update that replaces the optimizer step needs no gradient at active connections.
  mutating func count(update: TopologyStep.Update?) {
    let forward = Double(model.forwardFlops)
    steps += 1
    guard let update else {
      let isDense = method?.takesDenseGradients == true
      total += isDense ? 2 * forward + Double(model.spec.denseForwardFlops) : 3 * forward
      total += Double(model.backwardSetFlops)
      return
    }
    total += (update.mode == .add ? 3 : 2) * forward + update.exploredFlops
  }
}

extension FlopCounter {
  /// Adds a batch of an update beside the step's own: forward, input gradient, and what was looked at.
  mutating func countExtraBatch(exploredFlops: Double) { total += 2 * Double(model.forwardFlops) + exploredFlops }
}

extension Model {
  /// Forward operations a sample with the present connections.
  var forwardFlops: Int { spec.forwardFlops(connections: connectionCounts) }

  /// Operations a sample for the gradient of weights that are trained and not used.
  var backwardSetFlops: Int {
    guard sparseParameters.contains(where: { $0.backward != nil }) else { return 0 }
    return spec.forwardFlops(connections: sparseParameters.map { $0.backward?.count ?? 0 })
  }
}

/// Times steps.
struct StepClock {
  private var milliseconds: [Float] = []
  private var updateMilliseconds: [Float] = []
  private(set) var seconds: Double
  private(set) var recentSeconds = 1.0

  /// - Parameter seconds: of steps before the first.
  init(seconds: Double = 0) { self.seconds = seconds }

  /// Whether any step was timed.
  var hasSteps: Bool { !milliseconds.isEmpty }

  mutating func record(_ duration: Duration, isUpdate: Bool = false) {
    milliseconds.append(Float(duration.seconds * 1000))
    if isUpdate { updateMilliseconds.append(Float(duration.seconds * 1000)) }
    recentSeconds = milliseconds.count == 1 ? duration.seconds : 0.9 * recentSeconds + 0.1 * duration.seconds
    seconds += duration.seconds
  }

  /// Of the steps after the first three.
  var medianMilliseconds: Double {
    Self.median(milliseconds.count > 3 ? Array(milliseconds.dropFirst(3)) : milliseconds) ?? 0
  }

  /// Of the steps that moved connections; nil where there was none.
  var medianUpdateMilliseconds: Double? { Self.median(updateMilliseconds) }

  private static func median(_ values: [Float]) -> Double? {
    guard !values.isEmpty else { return nil }
    let sorted = values.sorted()
    return Double(sorted[(sorted.count - 1) / 2] + sorted[sorted.count / 2]) / 2
  }
}

extension Duration {
  /// As a number of seconds.
  package var seconds: Double { self / .seconds(1) }
}

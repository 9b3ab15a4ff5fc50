import Espalier

/// Measured times in seconds, sorted.
struct Samples {
  private let sorted: [Double]

  /// - Precondition: not empty.
  init(_ seconds: [Double]) { sorted = seconds.sorted() }

  var count: Int { sorted.count }
  var least: Double { sorted[0] }
  var median: Double { (sorted[(count - 1) / 2] + sorted[count / 2]) / 2 }
  /// Half the distance between the quartiles, in proportion to the median.
  var spread: Double { (sorted[(count * 3) / 4] - sorted[count / 4]) / 2 / max(median, 1e-12) }
}

/// How long to measure.
public struct MeasurementBudget: Sendable, Hashable {
  /// Seconds for one case, setting up not counted; at least `repetitions` are made all the same.
  public var seconds: Double
  /// Fewest and most repetitions of one case.
  public var repetitions: ClosedRange<Int>

  /// A budget for one case.
  public init(seconds: Double, repetitions: ClosedRange<Int>) {
    self.seconds = seconds
    self.repetitions = repetitions
  }

  /// What `espalier bench` takes.
  public static let full = MeasurementBudget(seconds: 0.8, repetitions: 5...60)
  /// What `espalier bench --quick` takes.
  public static let quick = MeasurementBudget(seconds: 0.15, repetitions: 3...30)
  /// One repetition of everything.
  public static let single = MeasurementBudget(seconds: 0, repetitions: 1...1)
}

extension KernelRun {
  /// Times the sparse and the dense product in turn, each after runs that do not count, for 4 ms or a whole one: what a product
  /// reaches when it is called again and again. The first runs after the other one, which has just emptied the caches, are slower.
  func measure(_ budget: MeasurementBudget, withDense: Bool = true) throws -> (sparse: Samples, dense: Samples?) {
    let clock = ContinuousClock()
    let end = clock.now + .seconds(budget.seconds)
    var sparseTimes: [Double] = []
    var denseTimes: [Double] = []
    func settle(_ run: () throws -> Void) rethrows {
      let settled = clock.now + .milliseconds(4)
      repeat { try run() } while clock.now < settled
    }
    repeat {
      try settle { try sparse()() }
      let run = try sparse()
      sparseTimes.append(try clock.measure { try run() }.seconds)
      if withDense {
        settle(dense)
        denseTimes.append(clock.measure { dense() }.seconds)
      }
    } while sparseTimes.count < budget.repetitions.upperBound
      && (sparseTimes.count < budget.repetitions.lowerBound || clock.now < end)
    return (Samples(sparseTimes), withDense ? Samples(denseTimes) : nil)
  }
}

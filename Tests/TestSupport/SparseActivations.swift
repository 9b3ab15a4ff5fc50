/// Activations of `samples` samples laid out [blocks, features, lanes].
public struct SparseActivations: Sendable {
  public let samples: Int
  public let features: Int
  public let lanes: Int
  public var storage: [Float]

  public var blocks: Int { (samples + lanes - 1) / lanes }

  /// Every float, padding lanes included, is `filler`.
  public init(samples: Int, features: Int, lanes: Int, filler: Float) {
    self.samples = samples
    self.features = features
    self.lanes = lanes
    storage = Array(repeating: filler, count: (samples + lanes - 1) / lanes * lanes * features)
  }

  /// Signed random numbers that depend on (sample, feature) alone; padding lanes hold `padding`.
  public init(samples: Int, features: Int, lanes: Int, seed: UInt64, padding: Float = 0) {
    self.init(samples: samples, features: features, lanes: lanes, filler: padding)
    var random = SparseRandom(seed: seed)
    for sample in 0..<samples {
      for feature in 0..<features { self[sample, feature] = random.signed() }
    }
  }

  public subscript(sample: Int, feature: Int) -> Float {
    get { storage[index(sample, feature)] }
    set { storage[index(sample, feature)] = newValue }
  }

  /// The samples' floats, [samples, features], without the padding lanes.
  public var unpadded: [Float] {
    (0..<samples).flatMap { sample in (0..<features).map { self[sample, $0] } }
  }

  private func index(_ sample: Int, _ feature: Int) -> Int {
    (sample / lanes * features + feature) * lanes + sample % lanes
  }
}

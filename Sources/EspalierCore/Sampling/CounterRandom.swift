import EspSampling

/// Random numbers as a pure function of (seed, purpose, layer, step, index): Philox4x32-10 (Salmon et al., SC 2011).
///
/// Nothing is drawn in any order, so the numbers do not depend on threads, on what was drawn before, or on a stop and resume.
public struct CounterRandom: Sendable, Hashable {
  /// What a stream's numbers are for. Raw values are part of every run's identity: never renumber.
  public enum Purpose: UInt32, Sendable {
    /// A layer's first structure.
    case topology = 1
    /// A layer's first weights.
    case weights = 2
    /// A layer's first biases.
    case biases = 3
    /// Connections that an update examines.
    case candidates = 4
    /// The order of samples; which of them are held out.
    case shuffle = 5
    /// Placements of images.
    case augmentation = 6
    /// Dropout's masks.
    case dropout = 7
    /// Connections that grow at random.
    case growth = 8
    /// Images that are made up.
    case syntheticData = 9
    /// GraEst's signs.
    case signs = 10
    /// DeepR's signs of new connections.
    case rewiring = 11
    /// DeepR's noise and new weights of SET's original rule.
    case noise = 12
    /// Top-KAST's starting weights, of all connections.
    case startingField = 20
    /// Rows whose whole gradient an update is compared with.
    case audit = 21
    /// Connections of a small-world start that are moved.
    case smallWorld = 22
  }

  /// The seed that the user chose.
  public let seed: UInt64

  /// All streams of a seed.
  public init(seed: UInt64) { self.seed = seed }

  /// One stream of numbers, numbered from 0.
  ///
  /// - Precondition: layer < 2^23, 0 <= step < 2^32.
  public func stream(_ purpose: Purpose, layer: Int = 0, step: Int = 0) -> Stream {
    precondition(layer >= 0 && layer < 1 << 23 && step >= 0 && step < 1 << 32)
    let stream = purpose.rawValue << 23 | UInt32(layer)
    return Stream(key: esp_random_key(seed: seed, stream: stream, step: UInt32(step)))
  }

  /// The numbers of one (seed, purpose, layer, step).
  public struct Stream: Sendable {
    package let key: esp_random_key

    /// 64 random bits.
    public func bits(_ index: UInt64) -> UInt64 { esp_random_bits(key, index) }

    /// A uniform integer in 0 ..< bound.
    public func below(_ bound: UInt64, at index: UInt64) -> UInt64 {
      precondition(bound > 0)
      return esp_random_below(key, index, bound)
    }

    /// Fills `buffer` with numbers first, first + 1, ... of the stream, uniform in [low, high).
    public func fill(_ buffer: UnsafeMutableBufferPointer<Float>, from first: UInt64 = 0, in range: Range<Float>) {
      esp_random_uniform_f32(key, first, buffer.count, range.lowerBound, range.upperBound, buffer.baseAddress)
    }

    /// Fills `buffer` with numbers first, first + 1, ... of the stream, normal with mean 0.
    public func fillNormal(_ buffer: UnsafeMutableBufferPointer<Float>, from first: UInt64 = 0, deviation: Double) {
      esp_random_normal_f32(key, first, buffer.count, deviation, buffer.baseAddress)
    }

    /// A uniformly random permutation of 0 ..< count.
    public func permutation(count: Int) -> [UInt32] {
      [UInt32](unsafeUninitializedCapacity: count) { buffer, initialized in
        esp_random_permutation(key, count, buffer.baseAddress)
        initialized = count
      }
    }
  }
}

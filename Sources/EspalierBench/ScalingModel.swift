import EspalierCore
import Foundation

/// What connects the ranks of a training run, in the terms of the alpha-beta model: a message of m bytes takes latency + m / bandwidth.
///
/// Source: R. W. Hockney, "The communication challenge for MPP", Parallel Computing 20(3), 1994.
public struct RankLink: Sendable, Hashable {
  /// Bytes that a rank sends a second, while it receives as many.
  public let bytesPerSecond: Double
  /// Seconds before the first byte of a message arrives.
  public let latency: Double

  /// - Parameters:
  ///   - gigabytesPerSecond: in 10^9 bytes.
  ///   - latencyMicroseconds: from one rank to another, one way.
  /// - Throws: `EspalierError.usage` for a bandwidth that is not above zero, a negative latency, or one of them infinite.
  public init(gigabytesPerSecond: Double, latencyMicroseconds: Double) throws {
    guard gigabytesPerSecond > 0, gigabytesPerSecond.isFinite else {
      throw EspalierError.usage("bandwidth: \(gigabytesPerSecond) is out of range; expected GB/s above 0")
    }
    guard latencyMicroseconds >= 0, latencyMicroseconds.isFinite else {
      throw EspalierError.usage("latency: \(latencyMicroseconds) is out of range; expected microseconds, 0 or more")
    }
    bytesPerSecond = 1e9 * gigabytesPerSecond
    latency = 1e-6 * latencyMicroseconds
  }
}

/// The time that the ranks of a training run take to exchange what one step needs (`RankGroup`), which does not overlap with computing.
///
/// With p ranks, latency a and bandwidth B:
/// - *Gradients*, n numbers of 4 bytes, in k = ceil(n / 2^18) buckets, each a reduce-scatter and an all-gather of p - 1 messages a rank:
///   2 k (p - 1) a + 2 (p - 1) / p * 4 n / B + n g, where g is what this machine takes to copy a number to its bucket, add it and copy it
///   back.
/// - *Batch norms*: each of C channels gathers 2 C + 1 numbers from all ranks forward, 2 C backward:
///   2 ceil(log2 p) a + (p - 1) (16 C + 4) / B.
/// - *Control*: the loss (32 bytes) and two wishes to stop (a byte each), gathered alike: 3 ceil(log2 p) a + (p - 1) 34 / B.
///
/// Source: R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication Operations in MPICH", Int. J. High Performance
/// Computing Applications 19(1), 2005: sections 4.1 (all-gather: ceil(log2 p) steps for short messages, a ring's p - 1 for long ones) and 4.4
/// (reduce-scatter by pairwise exchange).
public struct ScalingModel: Sendable, Hashable {
  /// What connects the ranks.
  public let link: RankLink
  /// Channels of each batch norm.
  public let normChannels: [Int]
  /// Seconds a number that a rank takes to bring gradients to buckets, add them and bring them back.
  public let secondsPerNumber: Double

  /// A model of a link and of what goes over it beside gradients.
  public init(link: RankLink, normChannels: [Int], secondsPerNumber: Double) {
    self.link = link
    self.normChannels = normChannels
    self.secondsPerNumber = secondsPerNumber
  }

  /// Seconds a step for the sums of `numbers` gradients.
  public func gradientSeconds(ranks: Int, numbers: Int) -> Double {
    guard ranks > 1 else { return 0 }
    let others = Double(ranks - 1)
    let buckets = Double((numbers + RankGroup.bucketSize - 1) / RankGroup.bucketSize)
    let bytes = 4 * Double(numbers) * 2 * others / Double(ranks)
    return 2 * buckets * others * link.latency + bytes / link.bytesPerSecond + Double(numbers) * secondsPerNumber
  }

  /// Seconds a step for the statistics of batch norms.
  public func normSeconds(ranks: Int) -> Double {
    normChannels.reduce(0) { sum, channels in
      sum + gatherSeconds(ranks: ranks, bytes: 4 * (2 * channels + 1))
        + gatherSeconds(ranks: ranks, bytes: 8 * channels)
    }
  }

  /// Seconds a step for the loss and wishes to stop.
  public func controlSeconds(ranks: Int) -> Double {
    [32, 1, 1].reduce(0) { $0 + gatherSeconds(ranks: ranks, bytes: $1) }
  }

  /// Seconds until every rank has a few bytes of each other.
  private func gatherSeconds(ranks: Int, bytes: Int) -> Double {
    guard ranks > 1 else { return 0 }
    let rounds = Double(Int.bitWidth - (ranks - 1).leadingZeroBitCount)
    return rounds * link.latency + Double((ranks - 1) * bytes) / link.bytesPerSecond
  }
}

extension ScalingModel {
  /// What `RankGroup.sum` takes on this machine for each of `count` numbers, when others' numbers are there at once.
  static func measuredSecondsPerNumber(context: ComputeContext, count: Int = 1 << 20) -> Double {
    let group = RankGroup(ReadyRanks())
    let numbers = FloatArray(count: count, filledWith: 0)
    let buffer = UnsafeMutableBufferPointer(start: numbers.pointer, count: count)
    return withExtendedLifetime(numbers) {
      let times = (0..<5).map { _ in
        ContinuousClock().measure { group.sum([buffer], for: .gradients, pool: context.pool) }.seconds
      }
      return Samples(times).median / Double(count)
    }
  }

  /// Two ranks whose messages have always arrived.
  private final class ReadyRanks: Communicator {
    let rank = 0
    let size = 2

    func exchange(
      _ source: UnsafeRawPointer, sends: [Range<Int>], into target: UnsafeMutableRawPointer, receives: [Range<Int>]
    ) {
      target.initializeMemory(as: UInt8.self, repeating: 0, count: receives.last?.upperBound ?? 0)
    }

    func gather(_ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer) {}
  }
}

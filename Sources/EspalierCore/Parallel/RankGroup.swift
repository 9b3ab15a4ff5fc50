/// The ranks of a training run, as one of them sees them: sums that every rank holds to the same bit, and what they cost.
///
/// Sums are taken in the order of ranks. With one rank there is nothing to send, and every call returns at once.
public final class RankGroup {
  /// This rank's number.
  public let rank: Int
  /// Number of ranks.
  public let size: Int
  /// What this rank has sent.
  public private(set) var traffic = RankTraffic()
  private let communicator: any Communicator

  /// Numbers that a bucket of a sum has at most.
  package static let bucketSize = 1 << 18

  /// Ranks that `communicator` connects; by default this process alone.
  public init(_ communicator: any Communicator = SingleProcess()) {
    self.communicator = communicator
    rank = communicator.rank
    size = communicator.size
  }

  /// The part of `count` things that a rank has: as equal parts as there can be, in the order of ranks.
  public func part(of count: Int, rank: Int) -> Range<Int> {
    count * rank / size..<count * (rank + 1) / size
  }

  /// Replaces the buffers' numbers by their sums over all ranks.
  ///
  /// All numbers one after the other are cut into buckets. Of each bucket every rank gets a part from all others, adds it in the order of
  /// ranks (reduce-scatter), and gives the sum to all (all-gather): 2 (p - 1) / p times the numbers are sent.
  public func sum(
    _ buffers: [UnsafeMutableBufferPointer<Float>], for purpose: RankTraffic.Purpose, pool: ActivationPool
  ) {
    let total = buffers.reduce(0) { $0 + $1.count }
    guard size > 1, total > 0 else { return }
    let capacity = min(total, Self.bucketSize)
    pool.withWorkspace(count: 2 * capacity + size) { bucket in
      for start in stride(from: 0, to: total, by: capacity) {
        let range = start..<min(total, start + capacity)
        Self.forEachPiece(of: buffers, in: range) { piece, offset in
          (bucket + offset).update(from: piece.baseAddress!, count: piece.count)
        }
        sum(bucket, count: range.count, workspace: bucket + capacity, for: purpose)
        Self.forEachPiece(of: buffers, in: range) { piece, offset in
          piece.baseAddress!.update(from: bucket + offset, count: piece.count)
        }
      }
    }
  }

  /// The same for doubles.
  public func sum(
    _ buffer: UnsafeMutableBufferPointer<Double>, for purpose: RankTraffic.Purpose, pool: ActivationPool
  ) {
    guard size > 1, buffer.count > 0, let base = buffer.baseAddress else { return }
    let capacity = min(buffer.count, Self.bucketSize)
    pool.withDoubles(count: capacity + size) { workspace in
      for start in stride(from: 0, to: buffer.count, by: capacity) {
        sum(base + start, count: min(capacity, buffer.count - start), workspace: workspace, for: purpose)
      }
    }
  }

  /// Each rank's numbers, in the order of ranks; all give as many.
  public func gather<T: BitwiseCopyable>(_ numbers: [T], for purpose: RankTraffic.Purpose) -> [[T]] {
    guard size > 1, !numbers.isEmpty else { return Array(repeating: numbers, count: size) }
    let count = numbers.count
    let all = [T](unsafeUninitializedCapacity: count * size) { buffer, initialized in
      for (i, number) in numbers.enumerated() { buffer.initializeElement(at: rank * count + i, to: number) }
      let bytes = count * MemoryLayout<T>.stride
      gather((0..<size).map { $0 * bytes..<($0 + 1) * bytes }, in: buffer.baseAddress!, for: purpose)
      initialized = count * size
    }
    return (0..<size).map { Array(all[$0 * count..<($0 + 1) * count]) }
  }

  /// Sums of a few numbers over all ranks, in the order of ranks.
  public func sum(_ numbers: [Double], for purpose: RankTraffic.Purpose) -> [Double] {
    let all = gather(numbers, for: purpose)
    return numbers.indices.map { i in all.reduce(0) { $0 + $1[i] } }
  }

  /// Whether any rank says so.
  public func any(_ holds: Bool) -> Bool { gather([holds], for: .control).contains([true]) }

  /// Compares what should be the same on all ranks.
  ///
  /// - Parameter pieces: names and what they stand for.
  /// - Returns: the first rank that differs from rank 0, and in what; nil where none does.
  public func firstDifference(in pieces: [(name: String, text: String)]) -> (rank: Int, name: String)? {
    guard size > 1 else { return nil }
    let all = gather(pieces.map { Self.hash($0.text) }, for: .control)
    for (rank, hashes) in all.enumerated() {
      for (index, piece) in pieces.enumerated() where hashes[index] != all[0][index] { return (rank, piece.name) }
    }
    return nil
  }

  /// FNV-1a, 64 bits.
  private static func hash(_ text: String) -> UInt64 {
    text.utf8.reduce(0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
  }
}

// MARK: Sums

extension RankGroup {
  /// `workspace` holds count + size numbers.
  private func sum<T: FloatingPoint>(
    _ bucket: UnsafeMutablePointer<T>, count: Int, workspace: UnsafeMutablePointer<T>, for purpose: RankTraffic.Purpose
  ) {
    let (own, parts) = scatter(bucket, count: count, into: workspace, stride: MemoryLayout<T>.stride, for: purpose)
    let sums = bucket + own.lowerBound
    sums.update(from: workspace, count: own.count)
    for rank in 1..<size {
      let terms = workspace + rank * own.count
      for i in 0..<own.count { sums[i] += terms[i] }
    }
    gather(parts, in: bucket, for: purpose)
  }

  /// Gives every rank its part of everybody's bucket; returns which numbers are this one's, and all parts in bytes.
  private func scatter(
    _ bucket: UnsafeMutableRawPointer, count: Int, into workspace: UnsafeMutableRawPointer, stride: Int,
    for purpose: RankTraffic.Purpose
  ) -> (own: Range<Int>, parts: [Range<Int>]) {
    let own = part(of: count, rank: rank)
    let parts = (0..<size).map { rank in
      let part = part(of: count, rank: rank)
      return part.lowerBound * stride..<part.upperBound * stride
    }
    let bytes = own.count * stride
    let started = ContinuousClock.now
    communicator.exchange(
      bucket, sends: parts, into: workspace, receives: (0..<size).map { $0 * bytes..<($0 + 1) * bytes })
    traffic.add((count - own.count) * stride, ContinuousClock.now - started, for: purpose)
    return (own, parts)
  }

  private func gather(
    _ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer, for purpose: RankTraffic.Purpose
  ) {
    let started = ContinuousClock.now
    communicator.gather(parts, in: buffer)
    traffic.add(parts[rank].count * (size - 1), ContinuousClock.now - started, for: purpose)
  }

  /// The pieces of buffers, which stand one after the other, that lie in `range`, and where in the range.
  private static func forEachPiece(
    of buffers: [UnsafeMutableBufferPointer<Float>], in range: Range<Int>,
    _ body: (_ piece: UnsafeMutableBufferPointer<Float>, _ offset: Int) -> Void
  ) {
    var start = 0
    for buffer in buffers {
      let (first, end) = (max(range.lowerBound, start), min(range.upperBound, start + buffer.count))
      if first < end {
        body(UnsafeMutableBufferPointer(rebasing: buffer[first - start..<end - start]), first - range.lowerBound)
      }
      start += buffer.count
    }
  }
}

/// What one rank has sent to the others, and the time that it took, waiting for them included.
public struct RankTraffic: Sendable, Hashable {
  /// What is sent.
  public enum Purpose: Int, CaseIterable, Sendable {
    /// Gradients for the optimizer.
    case gradients
    /// Sums of batch norms.
    case statistics
    /// What updates of the topology look at.
    case exploration
    /// Losses, wishes to stop, hashes.
    case control
  }

  /// Bytes sent, by `Purpose.rawValue`.
  public private(set) var bytes = [Int](repeating: 0, count: Purpose.allCases.count)
  /// Time in calls that send and receive.
  public private(set) var seconds = 0.0

  /// Bytes sent for a purpose.
  public subscript(purpose: Purpose) -> Int { bytes[purpose.rawValue] }

  fileprivate mutating func add(_ count: Int, _ duration: Duration, for purpose: Purpose) {
    bytes[purpose.rawValue] += count
    seconds += duration / .seconds(1)
  }
}

/// What carries bytes between the ranks of a training run: processes, each with a model of its own, that train it together.
///
/// All ranks make the same calls in the same order; a call returns when this rank's part is done. None fails: where a rank cannot be
/// reached any more, the job ends.
public protocol Communicator: AnyObject {
  /// This rank's number, 0 ..< size.
  var rank: Int { get }
  /// Number of ranks.
  var size: Int { get }
  /// Sends the bytes `sends[r]` of `source` to each rank r, this one among them, and puts rank r's at `receives[r]` of `target`.
  ///
  /// - Precondition: source and target do not overlap; ranges end below 2^31.
  func exchange(
    _ source: UnsafeRawPointer, sends: [Range<Int>], into target: UnsafeMutableRawPointer, receives: [Range<Int>])
  /// Puts the bytes `parts[r]` of each rank r's buffer into all ranks' buffers.
  ///
  /// - Precondition: ranges end below 2^31.
  func gather(_ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer)
}

/// One process that trains alone.
public final class SingleProcess: Communicator {
  public let rank = 0
  public let size = 1

  /// Needs nothing.
  public init() {}

  public func exchange(
    _ source: UnsafeRawPointer, sends: [Range<Int>], into target: UnsafeMutableRawPointer, receives: [Range<Int>]
  ) {
    (target + receives[0].lowerBound).copyMemory(from: source + sends[0].lowerBound, byteCount: sends[0].count)
  }

  public func gather(_ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer) {}
}

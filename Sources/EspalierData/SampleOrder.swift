import EspalierCore

/// The order in which one epoch visits the samples: a pure function of seed and epoch.
public struct SampleOrder: Sendable {
  /// The samples in order: a permutation of 0 ..< count.
  public let indices: [UInt32]

  /// The order of epoch number `epoch`: random, or 0, 1, 2, ... where `shuffled` is false.
  ///
  /// - Precondition: 0 <= count < 2^32 and 0 <= epoch < 2^32.
  /// - Complexity: O(count).
  public init(count: Int, epoch: Int, shuffled: Bool = true, random: CounterRandom) {
    precondition(count >= 0 && count <= Int(UInt32.max))
    if shuffled && count > 0 {
      indices = random.stream(.shuffle, step: epoch).permutation(count: count)
    } else {
      indices = (0..<count).map { UInt32($0) }
    }
  }

  /// The order cut into batches of `size`; a last, smaller one is left out where `dropLast`.
  ///
  /// - Parameter slice: which part of each batch to give, where others have the rest; nil: all. A batch of which nothing is left is not
  ///   given.
  /// - Precondition: size > 0, and the slice is not empty and within 0 ..< size.
  public func batches(size: Int, dropLast: Bool, slice: Range<Int>? = nil) -> Batches {
    Batches(indices: indices, size: size, slice: slice ?? 0..<size, dropLast: dropLast)
  }
}

extension SampleOrder {
  /// Batches of samples; any of them in O(1), so that a resumed run goes on in the middle.
  public struct Batches: RandomAccessCollection, Sendable {
    private let indices: [UInt32]
    private let size: Int
    private let slice: Range<Int>
    public let endIndex: Int

    fileprivate init(indices: [UInt32], size: Int, slice: Range<Int>, dropLast: Bool) {
      precondition(size > 0 && !slice.isEmpty && (0...size).contains(slice.lowerBound) && slice.upperBound <= size)
      self.indices = indices
      self.size = size
      self.slice = slice
      let whole = indices.count / size
      endIndex = dropLast || indices.count % size <= slice.lowerBound ? whole : whole + 1
    }

    public var startIndex: Int { 0 }

    public subscript(batch: Int) -> ArraySlice<UInt32> {
      precondition(batch >= 0 && batch < endIndex)
      let first = batch * size
      return indices[first + slice.lowerBound..<Swift.min(indices.count, first + slice.upperBound)]
    }
  }
}

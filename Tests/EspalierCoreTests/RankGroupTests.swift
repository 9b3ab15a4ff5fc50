import EspalierCore
import EspalierTestRanks
import TestSupport
import Testing

/// Sums over ranks: every rank has the bits of a sum in the order of ranks, and what is sent is counted.
@Suite struct RankGroupTests {
  /// Numbers of one rank, of magnitudes that make the order of a sum show.
  private static func floats(_ count: Int, rank: Int) -> [Float] {
    var random = LayerRandom(seed: UInt64(1 + rank))
    return random.floats(count).enumerated().map { $1 * ($0 % 3 == 0 ? 1e6 : 1) }
  }

  private static func buffers(_ sizes: [Int], rank: Int, _ meter: AllocationMeter) -> [MeteredBuffer<Float>] {
    let numbers = floats(sizes.reduce(0, +), rank: rank)
    var start = 0
    return sizes.map { size in
      let buffer = MeteredBuffer<Float>(count: size, tag: .vector, site: nil, meter: meter)
      for i in 0..<size { buffer[i] = numbers[start + i] }
      start += size
      return buffer
    }
  }

  private static let bucket = RankGroup.bucketSize

  /// Fewer numbers than ranks, empty buffers, and buckets that begin and end within buffers.
  @Test(arguments: [1, 2, 3, 4], [[1], [2, 0, 1], [5, 7, 31], [100_000, 1, 170_000, 300_000], [0]])
  func sumsBuffersInTheOrderOfRanks(size: Int, sizes: [Int]) throws {
    let total = sizes.reduce(0, +)
    let results = try ThreadRanks.run(size) { ranks, communicator in
      let context = try ComputeContext(threads: 1)
      let buffers = Self.buffers(sizes, rank: ranks.rank, context.meter)
      ranks.sum(buffers.map(\.buffer), for: .gradients, pool: context.pool)
      #expect(ranks.traffic[.gradients] == communicator.bytesSent)
      return (buffers.flatMap(\.array), communicator.bytesSent)
    }
    var expected = Self.floats(total, rank: 0)
    for rank in 1..<max(1, size) where rank < size {
      for (i, number) in Self.floats(total, rank: rank).enumerated() { expected[i] += number }
    }
    for (sums, _) in results { #expect(sums.map(\.bitPattern) == expected.map(\.bitPattern)) }
    // A reduce-scatter and an all-gather send (p - 1) / p of the numbers each, on average over ranks.
    #expect(results.reduce(0) { $0 + $1.1 } == 2 * 4 * total * (size - 1))
    let buckets = (total + Self.bucket - 1) / Self.bucket
    for (_, bytes) in results { #expect(abs(bytes * size - 8 * total * (size - 1)) <= 8 * size * size * buckets) }
  }

  @Test(arguments: [1, 2, 3], [0, 1, 2, 1000, 300_000])
  func sumsDoubles(size: Int, count: Int) throws {
    func numbers(_ rank: Int) -> [Double] { Self.floats(count, rank: rank).map { Double($0) / 3 } }
    let results = try ThreadRanks.run(size) { ranks, _ in
      let context = try ComputeContext(threads: 1)
      let buffer = MeteredBuffer<Double>(count: count, tag: .vector, site: nil, meter: context.meter)
      for (i, number) in Self.floats(count, rank: ranks.rank).enumerated() { buffer[i] = Double(number) / 3 }
      ranks.sum(buffer.buffer, for: .exploration, pool: context.pool)
      return buffer.array
    }
    var expected = numbers(0)
    for rank in 1..<max(1, size) where rank < size {
      for (i, number) in numbers(rank).enumerated() { expected[i] += number }
    }
    for sums in results { #expect(sums == expected) }
  }

  @Test(arguments: [1, 2, 4])
  func partsAreEqualAndInOrder(size: Int) throws {
    let parts = try ThreadRanks.run(size) { ranks, _ in
      (0...17).map { count in (0..<size).map { ranks.part(of: count, rank: $0) } }
    }[0]
    for (count, parts) in parts.enumerated() {
      #expect(parts.flatMap { Array($0) } == Array(0..<count))
      #expect(parts.allSatisfy { $0.count == count / size || $0.count == count / size + 1 })
    }
  }

  @Test(arguments: [1, 2, 4])
  func gathersAndDecides(size: Int) throws {
    let results = try ThreadRanks.run(size) { ranks, _ in
      let gathered = ranks.gather([Float(ranks.rank), 7], for: .control)
      let sums = ranks.sum([Double(ranks.rank), 0.5], for: .control)
      let last = ranks.any(ranks.rank == ranks.size - 1)
      return (gathered, sums, last, ranks.any(false))
    }
    for (gathered, sums, last, none) in results {
      #expect(gathered == (0..<size).map { [Float($0), 7] })
      #expect(sums == [Double(size * (size - 1) / 2), 0.5 * Double(size)])
      #expect(last && !none)
    }
  }

  @Test func differencesAreNamed() throws {
    let results = try ThreadRanks.run(4) { ranks, _ in
      let same = ranks.firstDifference(in: [("a", "1"), ("b", "2")])
      let other = ranks.firstDifference(in: [("a", "1"), ("b", ranks.rank == 2 ? "3" : "2")])
      return (same == nil, other?.rank, other?.name)
    }
    for (same, rank, name) in results { #expect(same && rank == 2 && name == "b") }
  }
}

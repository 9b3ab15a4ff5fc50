import EspalierCore
import EspalierData
import Testing

@Suite struct SampleOrderTests {
  let random = CounterRandom(seed: 11)

  @Test(arguments: [0, 1, 2, 7, 1000])
  func isAPermutation(count: Int) {
    let order = SampleOrder(count: count, epoch: 3, random: random)
    #expect(order.indices.sorted() == (0..<count).map { UInt32($0) })
    #expect(order.indices == SampleOrder(count: count, epoch: 3, random: random).indices)
  }

  @Test func differsByEpochAndSeed() {
    let orders = [
      SampleOrder(count: 1000, epoch: 0, random: random), SampleOrder(count: 1000, epoch: 1, random: random),
      SampleOrder(count: 1000, epoch: 0, random: CounterRandom(seed: 12)),
    ].map(\.indices)
    for a in 0..<3 {
      for b in 0..<a {
        // The number of fixed points of a random permutation is Poisson(1): above 9 with probability 1e-7.
        #expect(zip(orders[a], orders[b]).count { $0 == $1 } < 10)
      }
    }
  }

  @Test func isUniform() {
    var counts = [Int](repeating: 0, count: 24)
    for epoch in 0..<4800 {
      let p = SampleOrder(count: 4, epoch: epoch, random: random).indices.map { Int($0) }
      let rank = p[0] * 6 + p[1..<4].filter { $0 < p[1] }.count * 2 + (p[2] < p[3] ? 0 : 1)
      counts[rank] += 1
    }
    #expect(ChiSquared(counts: counts).isPlausible)
  }

  @Test func staysInOrderWithoutShuffling() {
    #expect(SampleOrder(count: 9, epoch: 5, shuffled: false, random: random).indices == [0, 1, 2, 3, 4, 5, 6, 7, 8])
  }

  @Test(arguments: [1, 3, 4, 10, 11, 100])
  func batchesCoverTheOrder(size: Int) {
    let order = SampleOrder(count: 11, epoch: 0, random: random)
    let all = order.batches(size: size, dropLast: false)
    #expect(all.flatMap { $0 } == order.indices && all.dropLast().allSatisfy { $0.count == size })
    let whole = order.batches(size: size, dropLast: true)
    #expect(whole.count == 11 / size && whole.allSatisfy { $0.count == size })
    #expect(whole.flatMap { $0 } == Array(order.indices.prefix(11 / size * size)))
  }

  /// Slices of a batch are the batch, and what nothing is left of is no batch.
  @Test(arguments: [3, 4, 10, 11, 100], [false, true])
  func slicesCoverTheBatches(size: Int, dropLast: Bool) {
    let order = SampleOrder(count: 11, epoch: 0, random: random)
    let all = order.batches(size: size, dropLast: dropLast)
    let cuts = [0, 1, 2, size]
    let slices = zip(cuts, cuts.dropFirst()).map { order.batches(size: size, dropLast: dropLast, slice: $0..<$1) }
    for (number, batch) in all.enumerated() {
      #expect(slices.flatMap { number < $0.count ? Array($0[number]) : [] } == Array(batch))
    }
    #expect(slices.allSatisfy { $0.count <= all.count && $0.allSatisfy { !$0.isEmpty } })
  }

  @Test func noSamplesMakeNoBatches() {
    #expect(SampleOrder(count: 0, epoch: 0, random: random).batches(size: 4, dropLast: false).isEmpty)
  }
}

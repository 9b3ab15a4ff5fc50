import EspalierCore
import EspalierData
import Testing

@Suite struct AugmentationTests {
  let random = CounterRandom(seed: 5)

  @Test func everyPlacementIsEquallyLikely() {
    var counts = [Int](repeating: 0, count: 9 * 9 * 2)
    for placement in Augmentation().placements(of: 0..<32_400 as Range<UInt32>, epoch: 2, random: random) {
      #expect(abs(placement.shiftY) <= 4 && abs(placement.shiftX) <= 4)
      counts[(Int(placement.shiftY + 4) * 9 + Int(placement.shiftX + 4)) * 2 + (placement.flip ? 1 : 0)] += 1
    }
    #expect(ChiSquared(counts: counts).isPlausible)
  }

  /// The same sample in one epoch after another.
  @Test func epochsAreIndependent() {
    var counts = [Int](repeating: 0, count: 81)
    let shifts = (0..<8_101).map { epoch in
      Int(Augmentation().placements(of: [77], epoch: epoch, random: random)[0].shiftY) + 4
    }
    for (a, b) in zip(shifts, shifts.dropFirst()) { counts[a * 9 + b] += 1 }
    #expect(ChiSquared(counts: counts).isPlausible)
  }

  @Test func doesNotDependOnTheBatch() {
    let augmentation = Augmentation()
    let all = augmentation.placements(of: 0..<100 as Range<UInt32>, epoch: 4, random: random)
    let some = augmentation.placements(of: [99, 3, 42, 3], epoch: 4, random: random)
    #expect(some == [all[99], all[3], all[42], all[3]])
    #expect(all != augmentation.placements(of: 0..<100 as Range<UInt32>, epoch: 5, random: random))
    #expect(all != augmentation.placements(of: 0..<100 as Range<UInt32>, epoch: 4, random: CounterRandom(seed: 6)))
  }

  @Test func nothingToDo() {
    let still = Augmentation(padding: 0, flips: false)
    #expect(
      still.placements(of: 0..<50 as Range<UInt32>, epoch: 0, random: random).allSatisfy { $0 == ImagePlacement() })
  }
}

import EspalierCore
import EspalierData
import Testing

@Suite struct HeldOutTests {
  let random = CounterRandom(seed: 3)

  private func split(_ count: Int) throws -> ImageSplit {
    let images = try PixelBuffer(count: 2 * count) { for i in $0.indices { $0[i] = UInt8(i / 2 % 251) } }
    return ImageSplit(images: images, labels: (0..<count).map { UInt32($0 % 7) })
  }

  private func numbers(_ split: ImageSplit) -> [UInt32] { (0..<UInt32(split.count)).map { split.number(of: $0) } }

  @Test(arguments: [(10, 0.1), (10, 0.25), (1000, 0.29), (7, 0.999), (3, 0.34), (60_000, 0.1)])
  func partsAreDisjointAndOfTheExactSize(count: Int, fraction: Double) throws {
    let whole = try split(count)
    let (train, validation) = try whole.heldOut(fraction: fraction, random: random)
    #expect(validation.count == Int((fraction * Double(count)).rounded(.down)))
    #expect((numbers(train) + numbers(validation)).sorted() == (0..<UInt32(count)).map { $0 })
    for part in [train, validation] {
      #expect(numbers(part) == numbers(part).sorted())
      #expect(part.labels == numbers(part).map { $0 % 7 })
    }
    #expect(numbers(whole) == (0..<UInt32(count)).map { $0 })
  }

  @Test func dependsOnTheSeedAlone() throws {
    let whole = try split(1000)
    let first = numbers(try whole.heldOut(fraction: 0.2, random: random).validation)
    #expect(first == numbers(try whole.heldOut(fraction: 0.2, random: random).validation))
    #expect(first != numbers(try whole.heldOut(fraction: 0.2, random: CounterRandom(seed: 4)).validation))
    // Of the images held out, those below 500 are hypergeometric: 100 with a standard deviation of 6.3.
    #expect(abs(first.count { $0 < 500 } - 100) < 26)
  }

  /// A part of a part still names the images as they are stored.
  @Test func partsCanBePartedAgain() throws {
    let (train, validation) = try split(100).heldOut(fraction: 0.3, random: random)
    let again = try train.heldOut(fraction: 0.5, random: random)
    #expect(again.train.count == 35 && again.validation.count == 35)
    #expect((numbers(again.train) + numbers(again.validation)).sorted() == numbers(train))
    #expect(Set(numbers(again.validation)).isDisjoint(with: numbers(validation)))
    #expect(again.validation.labels == numbers(again.validation).map { $0 % 7 })
  }

  @Test(arguments: [0, 1, -0.1, 1.5, .nan, .infinity, 0.001] as [Double])
  func refusesFractionsThatHoldNothingOut(fraction: Double) throws {
    let whole = try split(100)
    #expect(
      message(of: .usage) { _ = try whole.heldOut(fraction: fraction, random: random) }.contains("validation"))
  }
}

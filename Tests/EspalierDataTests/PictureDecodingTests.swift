import EspalierCore
import EspalierData
import TestSupport
import Testing

@Suite struct PictureDecodingTests {
  let width = 61
  let height = 47
  var size: PictureSize { PictureSize(height: height, width: width) }
  var pixels: [UInt8] { PictureBytes.pixels(seed: 1, width: width, height: height) }

  private func planes(_ pixels: [UInt8], channels: Int = 3) -> [UInt8] {
    let count = width * height
    return (0..<3 * count).map { pixels[$0 % count * channels + min($0 / count, channels < 3 ? 0 : 2)] }
  }

  private func decode(_ bytes: [UInt8]) throws -> [UInt8] {
    try decodePicture(bytes, size: size) { .whole($0, $1, size) }
  }

  private func damage(_ bytes: [UInt8]) -> String? {
    do {
      _ = try decode(bytes)
      return nil
    } catch let error as PictureDamage {
      return error.reason
    } catch {
      return "another error: \(error)"
    }
  }

  @Test(arguments: [false, true])
  func decodesColour(progressive: Bool) throws {
    let bytes = PictureBytes.jpeg(pixels, width: width, height: height, quality: 95, progressive: progressive)
    #expect(meanDifference(try decode(bytes), planes(pixels)) < 2)
  }

  @Test func repeatsGrey() throws {
    let grey = PictureBytes.pixels(seed: 2, width: width, height: height, channels: 1)
    let found = try decode(PictureBytes.jpeg(grey, width: width, height: height, space: .grey, quality: 95))
    #expect(meanDifference(found, planes(grey, channels: 1)) < 2)
    #expect(found[..<(width * height)] == found[(2 * width * height)...])
  }

  /// Inverted inks: a colour is ink * black / 255.
  @Test(arguments: [PictureBytes.Space.cmyk, .ycck])
  func convertsInks(space: PictureBytes.Space) throws {
    let inks = PictureBytes.pixels(seed: 3, width: width, height: height, channels: 4)
    let expected = (0..<3 * width * height).map { i -> UInt8 in
      let at = i % (width * height) * 4
      return UInt8((Double(inks[at + i / (width * height)]) * Double(inks[at + 3]) / 255).rounded())
    }
    let bytes = PictureBytes.jpeg(inks, width: width, height: height, space: space, quality: 98)
    #expect(meanDifference(try decode(bytes), expected) < 3)
  }

  @Test(arguments: [1, 2, 3, 4], [8, 16])
  func decodesEveryPNG(channels: Int, bits: Int) throws {
    let pixels = PictureBytes.pixels(seed: 4, width: width, height: height, channels: channels)
    let stored = bits == 8 ? pixels : pixels.flatMap { [$0, 255 - $0] }
    for interlaced in [false, true] {
      let bytes = PictureBytes.png(
        stored, width: width, height: height, channels: channels, bits: bits, interlaced: interlaced)
      #expect(try decode(bytes) == planes(pixels, channels: channels))
    }
  }

  @Test func refusesWhatIsNoPicture() {
    #expect(damage([])?.contains("empty") == true)
    #expect(damage(Array("hello, I am no picture".utf8))?.contains("neither JPEG nor PNG") == true)
    #expect(damage([0xff, 0xd8, 0xff]) != nil)
    #expect(damage([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]) != nil)
  }

  /// Cut off anywhere but in the last bytes, which hold no pixel, a picture is damaged.
  @Test func truncatedPicturesAreDamaged() {
    for bytes in [
      PictureBytes.jpeg(pixels, width: width, height: height),
      PictureBytes.jpeg(pixels, width: width, height: height, progressive: true),
      PictureBytes.png(pixels, width: width, height: height),
    ] {
      #expect(damage(bytes) == nil)
      for count in stride(from: 0, to: bytes.count - 20, by: 13) {
        let reason = damage(Array(bytes[..<count]))
        #expect(reason != nil && reason?.contains("another") == false, "cut at \(count)")
      }
    }
  }

  /// Whatever the bytes are, a picture or a reason comes out.
  @Test(arguments: [1, 2, 3])
  func changedBytesNeverEndTheProgram(seed: UInt64) {
    var random = LayerRandom(seed: seed)
    let originals = [
      PictureBytes.jpeg(pixels, width: width, height: height),
      PictureBytes.jpeg(pixels, width: width, height: height, progressive: true),
      PictureBytes.png(pixels, width: width, height: height),
    ]
    var damaged = 0
    for round in 0..<600 {
      var bytes = originals[round % 3]
      for _ in 0..<Int.random(in: 1...8, using: &random) {
        let limit = round % 2 == 0 ? min(700, bytes.count) : bytes.count  // headers are short
        bytes[Int.random(in: 0..<limit, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let reason = damage(bytes)
      if reason != nil { damaged += 1 }
      #expect(reason?.contains("another") != true)
    }
    #expect(damaged > 60)
  }

  /// A header may claim anything: nothing of that size is allocated.
  @Test(arguments: [(65_500, 65_500), (8_193, 8_193), (8_000, 8_000), (0, 16)])
  func refusesSizesThatTheDataCannotHold(height: Int, width: Int) throws {
    var bytes = PictureBytes.jpeg(
      PictureBytes.pixels(seed: 0, width: 16, height: 16), width: 16, height: 16)
    let frame = try #require(bytes.indices.dropLast().first { bytes[$0] == 0xff && bytes[$0 + 1] == 0xc0 })
    for (offset, value) in [(5, height >> 8), (6, height & 255), (7, width >> 8), (8, width & 255)] {
      bytes[frame + offset] = UInt8(value)
    }
    let reason = damage(bytes) ?? "none"
    #expect(reason.contains("pixels") || reason.contains("Empty"), "\(reason)")
  }
}

@Suite struct PictureCropTests {
  let size = PictureSize(height: 24, width: 24)
  let stream = RandomResizedCrop.stream(epoch: 3, random: CounterRandom(seed: 9))

  /// Areas are uniform in 8 to 100 per cent where every shape fits; a crop lies anywhere with equal chance.
  @Test func drawsAreasAndPlacesUniformly() {
    var areas = [Int](repeating: 0, count: 10)
    var places = [Int](repeating: 0, count: 8)
    for picture in 0..<20_000 as Range<UInt32> {
      let crop = RandomResizedCrop().crop(width: 2000, height: 2000, size: size, picture: picture, stream)
      let (w, h) = (Double(crop.width), Double(crop.height))
      #expect(w / h > 0.74 && w / h < 1.34)
      #expect(w * h >= 0.0799 * 4e6 && crop.left >= 0 && crop.left + crop.width <= 2000)
      #expect(crop.top >= 0 && crop.top + crop.height <= 2000)
      let fraction = (w * h / 4e6 - 0.08) / 0.62  // above 0.7 some shapes do not fit and are drawn again
      if fraction < 1 { areas[max(0, Int(fraction * 10))] += 1 }
      if crop.width <= 1800 { places[min(7, Int(Double(crop.left) / Double(2001 - crop.width) * 8))] += 1 }
    }
    #expect(ChiSquared(counts: areas).isPlausible)
    #expect(ChiSquared(counts: places).isPlausible)
  }

  @Test func flipsHalf() {
    let flips = (0..<10_000 as Range<UInt32>).count { RandomResizedCrop.flips($0, stream) }
    #expect(abs(flips - 5_000) < 200)
  }

  @Test(arguments: [1, 2, 3, 10, 500], [1, 2, 7, 1000])
  func everyShapeHasACrop(width: Int, height: Int) {
    for picture in 0..<50 as Range<UInt32> {
      let crop = RandomResizedCrop().crop(width: width, height: height, size: size, picture: picture, stream)
      #expect(crop.width > 0 && crop.height > 0 && crop.left >= 0 && crop.top >= 0)
      #expect(crop.left + crop.width <= width && crop.top + crop.height <= height)
    }
    let centre = CentreCrop.crop(width: width, height: height, size: size)
    #expect(min(centre.resizedWidth, centre.resizedHeight) == 27 && centre.windowLeft >= 0 && centre.windowTop >= 0)
    #expect(centre.windowLeft + 24 <= centre.resizedWidth && centre.windowTop + 24 <= centre.resizedHeight)
  }

  /// Evaluation's size, at any place with equal chance.
  @Test func windowsLieAnywhere() {
    let size = PictureSize(height: 224, width: 224)
    var (tops, lefts) = ([Int](repeating: 0, count: 33), [Int](repeating: 0, count: 118))
    for picture in 0..<20_000 as Range<UInt32> {
      let crop = TrainingCrop.window.crop(width: 500, height: 375, size: size, picture: picture, stream)
      #expect((crop.left, crop.top, crop.width, crop.height) == (0, 0, 500, 375))
      #expect((crop.resizedWidth, crop.resizedHeight) == (341, 256))
      tops[crop.windowTop] += 1
      lefts[crop.windowLeft] += 1
    }
    #expect(ChiSquared(counts: tops).isPlausible)
    #expect(ChiSquared(counts: lefts).isPlausible)
  }

  /// No shape in range fits a strip: its centre is taken.
  @Test func stripsAreTakenAtTheirCentre() {
    let wide = RandomResizedCrop().crop(width: 1000, height: 9, size: size, picture: 1, stream)
    #expect((wide.left, wide.top, wide.width, wide.height) == (494, 0, 12, 9))
    let tall = RandomResizedCrop().crop(width: 9, height: 1000, size: size, picture: 1, stream)
    #expect((tall.left, tall.top, tall.width, tall.height) == (0, 494, 9, 12))
  }

  /// 256 and 224 of 500 x 375: 341 x 256, the window at (58, 16), as torchvision has it.
  @Test func centresAsTorchvision() {
    let crop = CentreCrop.crop(width: 500, height: 375, size: PictureSize(height: 224, width: 224))
    #expect((crop.resizedWidth, crop.resizedHeight, crop.windowLeft, crop.windowTop) == (341, 256, 58, 16))
  }
}

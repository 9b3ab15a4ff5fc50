import EspImages
import TestSupport
import Testing

/// The C side of pictures, so that sanitizers see it: decoding, damage, resampling. What the pictures look like is EspalierDataTests' matter.
@Suite struct ImageTests {
  private let width = 37
  private let height = 29

  private var pictures: [[UInt8]] {
    func pixels(_ channels: Int) -> [UInt8] {
      PictureBytes.pixels(seed: 5, width: width, height: height, channels: channels)
    }
    let jpegs = PictureBytes.Space.allCases.flatMap { space in
      [false, true].map {
        let channels = space == .grey ? 1 : space == .rgb ? 3 : 4
        return PictureBytes.jpeg(pixels(channels), width: width, height: height, space: space, progressive: $0)
      }
    }
    let pngs = (1...4).flatMap { channels in
      [false, true].map {
        PictureBytes.png(pixels(channels), width: width, height: height, channels: channels, interlaced: $0)
      }
    }
    return jpegs + pngs
  }

  /// The picture, in memory with inaccessible pages around it; nil and a reason where it is damaged.
  private func decode(_ bytes: [UInt8], reduction: Int = 1, side: GuardedSide = .behind) -> [UInt8]? {
    let data = GuardedBuffer(bytes, guarding: side)
    let message = GuardedBuffer([CChar](repeating: 0, count: Int(ESP_IMAGE_MESSAGE)), guarding: side)
    var header = esp_image_header()
    guard esp_image_read_header(data.base, bytes.count, &header, message.base) == 0 else {
      #expect(message.base[0] != 0)
      return nil
    }
    let rows = (header.height + reduction - 1) / reduction
    let columns = (header.width + reduction - 1) / reduction
    guard rows * columns < 1 << 22 else { return nil }
    let rgb = GuardedBuffer([UInt8](repeating: 99, count: 3 * rows * columns), guarding: side)
    guard esp_image_decode(data.base, bytes.count, &header, reduction, rgb.base, message.base) == 0 else {
      #expect(message.base[0] != 0)
      return nil
    }
    return rgb.contents
  }

  @Test(arguments: GuardedSide.allCases)
  func decodingStaysInBounds(_ side: GuardedSide) throws {
    for bytes in pictures {
      let isJPEG = bytes[0] == 0xff
      for reduction in isJPEG ? [1, 2, 4, 8] : [1] {
        let rgb = try #require(decode(bytes, reduction: reduction, side: side))
        #expect(Set(rgb).count > 8)
      }
    }
  }

  @Test func damagedPicturesStayInBounds() {
    var random = LayerRandom(seed: 6)
    for bytes in pictures {
      for count in stride(from: 0, to: bytes.count, by: 31) { _ = decode(Array(bytes[..<count])) }
      for _ in 0..<40 {
        var changed = bytes
        for _ in 0..<4 {
          changed[Int.random(in: 0..<min(600, bytes.count), using: &random)] = .random(in: 0...255, using: &random)
        }
        _ = decode(changed)
      }
    }
  }

  /// Every variant, boxes with fractions, all of the picture and less than a pixel of it.
  @Test(arguments: GuardedSide.allCases)
  func resamplingStaysInBounds(_ side: GuardedSide) {
    let rgb = GuardedBuffer(PictureBytes.pixels(seed: 7, width: width, height: height), guarding: side)
    for (left, top, w, h, size) in [
      (0, 0, 37, 29, 8), (0, 0, 37, 29, 96), (0.5, 0.25, 36.5, 28.75, 17), (36.2, 28.1, 0.7, 0.8, 5), (3, 5, 1, 20, 33),
    ] as [(Double, Double, Double, Double, Int)] {
      var resampling = esp_resampling(
        source_width: width, source_height: height, left: left, top: top, width: w, height: h, resized_width: size + 3,
        resized_height: size + 1, window_left: 2, window_top: 1, window_width: size, window_height: size)
      let outputs = LayerHarness.isas.map { isa in
        let out = GuardedBuffer([UInt8](repeating: 0, count: 3 * size * size), guarding: side)
        let bytes = esp_resample_workspace(&resampling)
        let workspace = GuardedBuffer([UInt64](repeating: .max, count: (bytes + 7) / 8), guarding: side)
        esp_resample(isa, &resampling, rgb.base, out.base, workspace.base)
        return out.contents
      }
      #expect(outputs.allSatisfy { $0 == outputs[0] } && outputs[0].contains { $0 != 0 })
    }
  }
}

import Foundation
import TestImages

/// Encoded pictures of known pixels.
public enum PictureBytes {
  public enum Space: Sendable, CaseIterable { case grey, rgb, cmyk, ycck }

  /// A smooth picture that differs from one `seed` to the next: a byte of channel `c` at (y, x).
  public static func pixel(_ seed: Int, _ c: Int, _ y: Int, _ x: Int) -> UInt8 {
    let wave = sin(Double(x) / 19 + Double(seed)) + cos(Double(y) / 23 + Double(c * 2 + seed))
    return UInt8(127.5 + 55 * wave)
  }

  /// [height, width, channels].
  public static func pixels(seed: Int, width: Int, height: Int, channels: Int = 3) -> [UInt8] {
    (0..<height * width * channels).map { i in
      pixel(seed, i % channels, i / channels / width, i / channels % width)
    }
  }

  public static func jpeg(
    _ pixels: [UInt8], width: Int, height: Int, space: Space = .rgb, quality: Int = 90, progressive: Bool = false
  ) -> [UInt8] {
    let code: test_jpeg_space =
      switch space {
      case .grey: TEST_JPEG_GREY
      case .rgb: TEST_JPEG_RGB
      case .cmyk: TEST_JPEG_CMYK
      case .ycck: TEST_JPEG_YCCK
      }
    return encoded(pixels.count) {
      test_jpeg(pixels, width, height, code, Int32(quality), progressive ? 1 : 0, $0.baseAddress, $0.count)
    }
  }

  /// A JPEG of `pixels(seed:)`.
  public static func jpeg(seed: Int, width: Int, height: Int) -> [UInt8] {
    jpeg(pixels(seed: seed, width: width, height: height), width: width, height: height)
  }

  /// - Parameter bits: 8, or 16 with the upper byte of each number first.
  public static func png(
    _ pixels: [UInt8], width: Int, height: Int, channels: Int = 3, bits: Int = 8, interlaced: Bool = false
  ) -> [UInt8] {
    encoded(pixels.count) {
      test_png(pixels, width, height, Int32(channels), Int32(bits), interlaced ? 1 : 0, $0.baseAddress, $0.count)
    }
  }

  private static func encoded(_ count: Int, _ encode: (UnsafeMutableBufferPointer<UInt8>) -> Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: 2 * count + 10_000) { buffer, written in written = encode(buffer) }
  }
}

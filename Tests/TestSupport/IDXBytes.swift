/// Contents of IDX files, made by hand: a reader's oracle.
public enum IDXBytes {
  /// `00 00 08 rank`, the dimensions in big-endian order, the data.
  public static func file(dimensions: [UInt32], data: [UInt8], magic: [UInt8]? = nil) -> [UInt8] {
    var bytes = magic ?? [0, 0, 8, UInt8(dimensions.count)]
    for dimension in dimensions {
      for shift in [24, 16, 8, 0] { bytes.append(UInt8(dimension >> UInt32(shift) & 0xff)) }
    }
    return bytes + data
  }

  /// `count` images of `height` x `width` pixels, whose bytes compress somewhat.
  public static func images(count: Int, height: Int = 28, width: Int = 28) -> [UInt8] {
    let size = height * width
    return file(
      dimensions: [UInt32(count), UInt32(height), UInt32(width)],
      data: (0..<count * size).map { pixel(image: $0 / size, index: $0 % size) })
  }

  /// The pixel that `images` puts there.
  public static func pixel(image: Int, index: Int) -> UInt8 {
    index % 7 < 3 ? 0 : UInt8(truncatingIfNeeded: (image * 131 + index * index * 29) >> 2)
  }

  /// Labels 0, 1, ..., classes - 1, 0, ...
  public static func labels(count: Int, classes: Int = 10) -> [UInt8] {
    file(dimensions: [UInt32(count)], data: (0..<count).map { UInt8($0 % classes) })
  }
}

import EspalierCore
import EspalierData
import Foundation
import Testing

/// Photographs and what Pillow made of them; Fixtures/record.py recorded them.
enum PillowFixture {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Fixtures")
    .path

  static func bytes(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)))
  }

  /// The array of a file of bytes, and its shape.
  static func array(_ name: String) throws -> (values: [UInt8], shape: [Int]) {
    let file = try NumPyFile(path: folder + "/" + name)
    #expect(file.type == .uint8)
    var values = [UInt8](repeating: 0, count: file.count)
    try values.withUnsafeMutableBytes { try file.read(into: $0) }
    return (values, file.shape)
  }

  /// Names of recorded arrays that begin and end so, and what lies between, by its dashes.
  static func recorded(_ stem: String, _ kind: String) -> [(name: String, numbers: [Int])] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
    return names.sorted().filter { $0.hasPrefix("\(stem)-\(kind)-") }.map { name in
      (
        name,
        name.dropFirst("\(stem)-\(kind)-".count).dropLast(".npy".count).split(separator: "-").compactMap { Int($0) }
      )
    }
  }
}

/// Decodes one picture.
func decodePicture(
  _ bytes: [UInt8], size: PictureSize, instructionSet: InstructionSet? = nil,
  crop: (_ width: Int, _ height: Int) -> PictureCrop
) throws -> [UInt8] {
  var reader = PictureReader(size: size, instructionSet: try instructionSet ?? .selected())
  var out = [UInt8](repeating: 0xa5, count: 3 * size.height * size.width)
  try bytes.withUnsafeBytes { bytes in
    try out.withUnsafeMutableBufferPointer { try reader.decode(bytes, into: $0.baseAddress!, crop: crop) }
  }
  return out
}

/// The mean of |a - b|.
func meanDifference(_ a: [UInt8], _ b: [UInt8]) -> Double {
  #expect(a.count == b.count)
  return Double(zip(a, b).reduce(0) { $0 + abs(Int($1.0) - Int($1.1)) }) / Double(max(1, a.count))
}

@Suite struct PillowTests {
  /// Exactly where the picture is decoded whole; within half a grey level where a smaller inverse transform is taken.
  @Test(arguments: ["grace_hopper", "chelsea"], InstructionSet.available)
  func cropsAndResizesAsPillow(stem: String, isa: InstructionSet) throws {
    let bytes = try PillowFixture.bytes(stem + ".jpg")
    let fixtures = PillowFixture.recorded(stem, "crop")
    #expect(fixtures.count >= 4)
    for (name, box) in fixtures {
      let (expected, shape) = try PillowFixture.array(name)
      let size = PictureSize(height: shape[1], width: shape[2])
      let crop = PictureCrop(
        left: box[0], top: box[1], width: box[2], height: box[3], resizedWidth: box[4], resizedHeight: box[4])
      let found = try decodePicture(bytes, size: size, instructionSet: isa) { _, _ in crop }
      let difference = meanDifference(found, expected)
      #expect(difference <= (PictureReader.reduction(for: crop) == 1 ? 0 : 0.5), "\(name)")
    }
  }

  @Test(arguments: ["grace_hopper", "chelsea"])
  func evaluatesAsTorchvision(stem: String) throws {
    let bytes = try PillowFixture.bytes(stem + ".jpg")
    let fixtures = PillowFixture.recorded(stem, "eval")
    #expect(!fixtures.isEmpty)
    for (name, numbers) in fixtures {
      let size = PictureSize(height: numbers[0], width: numbers[0])
      var reduction = 0
      let found = try decodePicture(bytes, size: size) {
        let crop = CentreCrop.crop(width: $0, height: $1, size: size)
        reduction = PictureReader.reduction(for: crop)
        return crop
      }
      let difference = meanDifference(found, try PillowFixture.array(name).values)
      #expect(difference <= (reduction == 1 ? 0 : 0.5), "\(name)")
    }
  }

  @Test(arguments: ["chelsea-cmyk.jpg", "chelsea-16.png"])
  func decodesOddPicturesAsPillow(name: String) throws {
    let (expected, shape) = try PillowFixture.array(name.split(separator: ".")[0] + "-pixels.npy")
    let size = PictureSize(height: shape[1], width: shape[2])
    let found = try decodePicture(try PillowFixture.bytes(name), size: size) { .whole($0, $1, size) }
    #expect(found == expected)
  }
}

extension PictureCrop {
  static func whole(_ width: Int, _ height: Int, _ size: PictureSize) -> PictureCrop {
    PictureCrop(
      left: 0, top: 0, width: width, height: height, resizedWidth: size.width, resizedHeight: size.height)
  }
}

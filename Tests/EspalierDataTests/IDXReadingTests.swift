import EspalierData
import Glibc
import TestSupport
import Testing

@Suite struct IDXReadingTests {
  let folder: IDXFolder

  init() throws { folder = try IDXFolder() }

  @Test(arguments: [false, true], [(1, 1, 1), (5, 28, 28), (3, 2, 7), (300, 28, 28)])
  func readsEveryPixel(compressed: Bool, shape: (Int, Int, Int)) throws {
    let bytes = IDXBytes.images(count: shape.0, height: shape.1, width: shape.2)
    let path = try folder.write(compressed ? folder.gzip(bytes) : bytes, to: "images")
    let images = try IDXFile.readImages(path: path)
    #expect((images.count, images.height, images.width) == shape)
    #expect(images.pixels.elementsEqual(bytes.dropFirst(16)))
  }

  @Test(arguments: [false, true])
  func readsEveryLabel(compressed: Bool) throws {
    let bytes = IDXBytes.labels(count: 123)
    let path = try folder.write(compressed ? folder.gzip(bytes) : bytes, to: "labels")
    #expect(try IDXFile.readLabels(path: path, classes: 10) == (0..<123).map { UInt32($0 % 10) })
  }

  @Test func refusesALabelOutOfRange() throws {
    var bytes = IDXBytes.labels(count: 50)
    bytes[8 + 37] = 10
    let path = try folder.write(bytes, to: "labels")
    let text = message { _ = try IDXFile.readLabels(path: path, classes: 10) }
    #expect(text.contains("label 37 is 10") && text.contains(path))
  }

  @Test func refusesTheOtherKindOfFile() throws {
    let images = try folder.write(IDXBytes.images(count: 2), to: "images")
    let labels = try folder.write(IDXBytes.labels(count: 2), to: "labels")
    let first = message { _ = try IDXFile.readImages(path: labels) }
    #expect(first.contains("2051") && first.contains("2049") && first.contains(labels))
    let second = message { _ = try IDXFile.readLabels(path: images, classes: 10) }
    #expect(second.contains("2051") && second.contains("2049"))
  }

  @Test(arguments: [false, true], [[0, 28, 28], [4, 0, 28], [4, 28, 0]] as [[UInt32]])
  func refusesZeroDimensions(compressed: Bool, dimensions: [UInt32]) throws {
    let bytes = IDXBytes.file(dimensions: dimensions, data: [])
    let path = try folder.write(compressed ? folder.gzip(bytes) : bytes, to: "images")
    message { _ = try IDXFile.readImages(path: path) }
  }

  @Test(
    arguments: [false, true],
    [
      [.max, .max, .max], [0x8000_0000, 0x8000_0000, 2], [60_000, 28, 28], [0xffff_ffff, 1, 1], [1, 0x1000_0000, 16],
      [2, 28, 29], [2, 28, 27], [1, 28, 28], [3, 28, 28],
    ] as [[UInt32]])
  func refusesDimensionsThatDoNotMatchTheData(compressed: Bool, dimensions: [UInt32]) throws {
    let bytes = IDXBytes.file(dimensions: dimensions, data: [UInt8](repeating: 7, count: 2 * 28 * 28))
    let path = try folder.write(compressed ? folder.gzip(bytes) : bytes, to: "images")
    #expect(message { _ = try IDXFile.readImages(path: path) }.contains(path))
  }

  /// The trailer agrees with a header that asks for 4 GB, of which there is nothing.
  @Test func refusesAForgedTrailer() throws {
    let length: UInt32 = 0xf000_0000
    var bytes = try folder.gzip(IDXBytes.file(dimensions: [length - 16, 1, 1], data: [1, 2, 3]))
    for (i, shift) in [0, 8, 16, 24].enumerated() { bytes[bytes.count - 4 + i] = UInt8(length >> shift & 0xff) }
    let path = try folder.write(bytes, to: "images.gz")
    message { _ = try IDXFile.readImages(path: path) }
  }

  @Test func refusesWhatIsNoFile() throws {
    #expect(message { _ = try IDXFile.readImages(path: folder.path + "/absent") }.contains("No such file"))
    #expect(message { _ = try IDXFile.readImages(path: folder.path) }.contains("folder"))
    let empty = try folder.write([], to: "empty")
    #expect(message { _ = try IDXFile.readImages(path: empty) }.contains("empty"))
    #expect(message { _ = try IDXFile.readImages(path: "/dev/null") }.contains("no regular file"))
    let pipe = folder.path + "/pipe"
    #expect(mkfifo(pipe, 0o600) == 0)
    #expect(message { _ = try IDXFile.readImages(path: pipe) }.contains("no regular file"))
  }

  @Test(.enabled(if: geteuid() != 0, "a superuser may read everything"))
  func refusesWhatMayNotBeRead() throws {
    let path = try folder.write(IDXBytes.images(count: 1), to: "images")
    chmod(path, 0)
    #expect(message { _ = try IDXFile.readImages(path: path) }.contains("denied"))
  }
}

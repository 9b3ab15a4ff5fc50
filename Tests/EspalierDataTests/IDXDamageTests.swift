import EspalierCore
import EspalierData
import TestSupport
import Testing

/// Whatever happens to a compressed file: an input error, or the right data; never a crash, never other data.
@Suite struct IDXDamageTests {
  let folder: IDXFolder
  let plain: [UInt8]
  let compressed: [UInt8]

  init() throws {
    folder = try IDXFolder()
    plain = IDXBytes.images(count: 40)
    compressed = try folder.gzip(plain)
  }

  /// Reads the bytes as a file of images; nil where that throws an input error.
  private func read(_ bytes: [UInt8]) throws -> IDXFile.Images? {
    let path = try folder.write(bytes, to: "damaged.gz")
    do {
      return try IDXFile.readImages(path: path)
    } catch let error as EspalierError {
      #expect(error.kind == .input && error.message.contains(path))
      return nil
    }
  }

  @Test func theUndamagedFileIsRead() throws {
    let images = try #require(try read(compressed))
    #expect(images.count == 40 && images.pixels.elementsEqual(plain.dropFirst(16)))
  }

  @Test func everyTruncationIsFound() throws {
    for length in [1, 2, 3, 9, 10, 11] + Array(stride(from: 12, to: compressed.count, by: 97)) {
      #expect(try read(Array(compressed.prefix(length))) == nil, "\(length) bytes")
    }
    for missing in 1...20 { #expect(try read(compressed.dropLast(missing)) == nil, "\(missing) missing") }
    for length in [1, 4, 15, 16, 17, 783, plain.count - 1] {
      #expect(try read(Array(plain.prefix(length))) == nil, "plain, \(length) bytes")
    }
  }

  @Test func everyFlippedByteIsFoundOrHarmless() throws {
    var harmless = 0
    let places = Array(0..<64) + Array(stride(from: 64, to: compressed.count - 16, by: 53))
    for place in places + Array(compressed.count - 16..<compressed.count) {
      for mask in [0x01, 0x10, 0x80, 0xff] as [UInt8] {
        var bytes = compressed
        bytes[place] ^= mask
        guard let images = try read(bytes) else { continue }
        harmless += 1
        #expect(images.count == 40 && images.height == 28 && images.width == 28, "byte \(place)")
        #expect(images.pixels.elementsEqual(plain.dropFirst(16)), "byte \(place)")
      }
    }
    // The header's time stamp, flags and system (RFC 1952, 2.3) tell nothing of the data; little else may pass.
    #expect(harmless <= 10 * 4)
  }

  @Test func trailingBytesAreFound() throws {
    #expect(try read(compressed + [0]) == nil)
    #expect(try read(compressed + [UInt8](repeating: 0, count: 70_000)) == nil)
    #expect(try read(compressed + compressed) == nil)
    // The last four bytes repeat the true length, so that the early check is passed.
    #expect(try read(compressed + compressed.suffix(4)) == nil)
    #expect(try read(plain + [0]) == nil)
  }

  @Test func moreDataThanTheHeaderTellsIsFound() throws {
    let more = IDXBytes.file(dimensions: [2, 4, 4], data: [UInt8](repeating: 9, count: 33))
    #expect(try read(folder.gzip(more)) == nil)
    var forged = try folder.gzip(more)
    forged[forged.count - 4] -= 1
    #expect(try read(forged) == nil)
  }
}

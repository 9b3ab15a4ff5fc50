import Espalier
import EspalierCore
import EspalierData
import Foundation
import TestSupport
import Testing

@Suite struct FingerprintTests {
  @Test func fingerprintsSeeEveryByte() throws {
    func dataset(_ change: (inout [UInt8], inout [UInt32]) -> Void = { _, _ in }) throws -> ImageDataset {
      var (pixels, labels) = ([UInt8](repeating: 7, count: 4 * 6), [0, 1, 2, 0] as [UInt32])
      change(&pixels, &labels)
      let split = ImageSplit(
        images: try PixelBuffer(count: pixels.count) { _ = $0.update(fromContentsOf: pixels) }, labels: labels)
      return ImageDataset(
        name: "tiny", isSynthetic: true, classes: 3, channels: 1, height: 2, width: 3, train: split, test: split)
    }
    let prints = try [
      dataset(), dataset { pixels, _ in pixels[23] = 8 }, dataset { _, labels in labels[3] = 2 },
    ].map(\.fingerprint)
    #expect(Set(prints).count == 3)
    #expect(try dataset().fingerprint == prints[0])
  }

  private struct Folders {
    let place: IDXFolder

    /// Two classes; training pictures beyond the thousand that are looked into.
    init(perClass: Int) throws {
      place = try IDXFolder()
      for part in ["train", "val"] {
        for name in ["a", "b"] {
          for index in 0..<(part == "train" ? perClass : 2) { try write("\(index)", "\(part)/\(name)/\(index).jpg") }
        }
      }
    }

    func write(_ text: String, _ name: String) throws { try place.write(Array(text.utf8), to: name) }

    var fingerprint: String {
      get throws { try DatasetCatalog.load(name: "folder", directory: place.path).fingerprint }
    }
  }

  /// Names, sizes and first bytes count; dates, and what lies further inside, do not.
  @Test func fingerprintsOfFoldersSeeNamesSizesAndBeginnings() throws {
    let folders = try Folders(perClass: 3)
    var seen = Set([try folders.fingerprint])
    for (text, name) in [("other", "train/a/1.jpg"), ("3", "val/b/1.jpg"), ("0", "train/a/new.jpg")] {
      try folders.write(text, name)
      #expect(try seen.insert(folders.fingerprint).inserted, "\(name)")
    }
    let path = folders.place.path
    try FileManager.default.moveItem(atPath: path + "/train/b/2.jpg", toPath: path + "/train/b/9.jpg")
    let last = try folders.fingerprint
    #expect(seen.insert(last).inserted)
    try FileManager.default.setAttributes(
      [.modificationDate: Date(timeIntervalSince1970: 0)], ofItemAtPath: path + "/train/a/0.jpg")
    #expect(try folders.fingerprint == last)
    let long = String(repeating: "x", count: 5000)
    try folders.write(long + "y", "train/a/0.jpg")
    let before = try folders.fingerprint
    try folders.write(long + "z", "train/a/0.jpg")
    #expect(try folders.fingerprint == before)
    try folders.write(long + "zz", "train/a/0.jpg")
    #expect(try folders.fingerprint != before)
  }

  /// Every second of 2,000 pictures is looked into, the last of all among what is not.
  @Test func aThousandPicturesAreLookedInto() throws {
    let folders = try Folders(perClass: 1000)
    let first = try folders.fingerprint
    try folders.write("x", "train/b/999.jpg")
    #expect(try folders.fingerprint == first)
    try folders.write("x", "train/a/0.jpg")
    #expect(try folders.fingerprint != first)
  }
}

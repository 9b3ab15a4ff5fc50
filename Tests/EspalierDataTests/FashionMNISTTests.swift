import EspalierData
import Foundation
import Testing

private enum Installed {
  static let folder = "/usr/share/datasets/fashion-mnist"
  static let isThere = FileManager.default.fileExists(atPath: folder + "/train-images-idx3-ubyte.gz")
}

/// Values that another language's program computed from the published files.
@Suite(.enabled(if: Installed.isThere, "the package dataset-fashion-mnist is not installed"))
struct FashionMNISTTests {
  @Test func holdsWhatWasPublished() throws {
    let data = try DatasetCatalog.load(name: "fashion-mnist", directory: Installed.folder)
    #expect(data.train.count == 60_000 && data.test.count == 10_000)
    #expect(data.channels == 1 && data.height == 28 && data.width == 28 && data.classes == 10)
    check(data.train, sum: 3_431_114_169, weighted: 4_135_149_167, first: [9, 0, 0, 3, 0, 2, 7, 2, 5, 5])
    check(data.test, sum: 573_469_082, weighted: 2_200_570_567, first: [9, 2, 1, 1, 6, 1, 4, 6, 5, 7])
  }

  /// `weighted` is the sum of index * pixel modulo 2^32, which knows the order.
  private func check(_ split: ImageSplit, sum: Int, weighted: UInt64, first: [UInt32]) {
    #expect(split.images.reduce(0) { $0 + Int($1) } == sum)
    let found = split.images.enumerated().reduce(into: UInt64(0)) {
      $0 &+= UInt64($1.offset) * UInt64($1.element)
    }
    #expect(found & 0xffff_ffff == weighted)
    #expect(Array(split.labels.prefix(10)) == first)
    for label in 0..<10 as Range<UInt32> {
      #expect(split.labels.count { $0 == label } == split.count / 10)
    }
  }

  @Test func isReportedWhole() throws {
    let report = try DatasetCatalog.inspect(name: "fashion-mnist", directory: Installed.folder)
    #expect(report.isWhole)
    #expect(report.files.map(\.bytes) == [26_421_856, 29_491, 4_422_079, 5_125])
  }
}

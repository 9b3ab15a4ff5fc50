import EspalierData
import TestSupport
import Testing

@Suite struct DatasetReportTests {
  @Test func reportsWhatIsAbsentAndWhatIsDamaged() throws {
    let folder = try IDXFolder()
    try folder.writeDataset(train: 60_000, test: 10_000)
    var labels = IDXBytes.labels(count: 60_000)
    labels[500] = 77
    let path = try folder.write(labels, to: "train-labels-idx1-ubyte")
    try folder.write(Array(IDXBytes.labels(count: 10_000).dropLast()), to: "t10k-labels-idx1-ubyte")
    let report = try DatasetCatalog.inspect(name: "mnist", directory: folder.path)
    #expect(!report.isWhole && report.files.count == 4 && report.folders.first == folder.path)
    #expect(report.files.map(\.isWhole) == [true, false, true, false])
    #expect(report.files[0].bytes == 16 + 60_000 * 784 && report.files[0].problem == nil)
    #expect(report.files[1].path == path && report.files[1].problem?.contains("label 492 is 77") == true)
    #expect(report.files[3].bytes == 8 + 9_999 && report.files[3].problem != nil)
  }

  @Test func reportsAnEmptyFolder() throws {
    let folder = try IDXFolder()
    let report = try DatasetCatalog.inspect(name: "fashion-mnist", directory: folder.path)
    #expect(!report.isWhole && report.files.allSatisfy { $0.path == nil && $0.problem == "not found" })
    #expect(report.hint.contains("apt-get install dataset-fashion-mnist"))
  }

  @Test func syntheticDataAreAlwaysWhole() throws {
    let report = try DatasetCatalog.inspect(name: "synthetic")
    #expect(report.isWhole && report.files.isEmpty)
  }
}

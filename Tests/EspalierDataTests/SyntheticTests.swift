import EspalierCore
import EspalierData
import Testing

@Suite struct SyntheticTests {
  @Test func dependsOnTheSeedAlone() throws {
    let a = try ImageDataset.synthetic(trainCount: 50, testCount: 20, seed: 3)
    let b = try ImageDataset.synthetic(trainCount: 60, testCount: 20, seed: 3)
    let c = try ImageDataset.synthetic(trainCount: 50, testCount: 20, seed: 4)
    #expect(a.isSynthetic && a.name == "synthetic" && a.train.count == 50 && a.test.count == 20)
    #expect(a.train.images.elementsEqual(b.train.images.prefix(50 * 784)))
    #expect(!a.train.images.elementsEqual(c.train.images))
    #expect(!a.train.images.prefix(20 * 784).elementsEqual(a.test.images))
    #expect(a.train.labels == (0..<50).map { UInt32($0 % 10) })
  }

  /// The mean over a class's images of pixel - E[noise] is its pattern; patterns of two classes differ.
  @Test func classesDiffer() throws {
    let data = try ImageDataset.synthetic(trainCount: 2_000, testCount: 1)
    let means = (0..<10).map { label in
      (0..<784).map { pixel in
        stride(from: label, to: 2_000, by: 10).reduce(0.0) { $0 + Double(data.train.images[$1 * 784 + pixel]) } / 200
      }
    }
    for a in 0..<10 {
      for b in 0..<a {
        let distance = zip(means[a], means[b]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) } / 784
        // Two uniform patterns on 0 ..< 96 differ by 96^2 / 6 = 1536 in the mean square; equal ones by the noise, 21.
        #expect(distance > 500, "\(a) \(b)")
      }
    }
  }

  @Test func normalizationFitsItsLaw() throws {
    let data = try ImageDataset.synthetic(trainCount: 1_000, testCount: 1)
    let law = try DatasetCatalog.description(of: "synthetic").normalization
    let values = data.train.images.map { Double($0) / 255 }
    let mean = values.reduce(0, +) / Double(values.count)
    let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count)
    // The mean of 490 cells uniform in 0 ..< 96 has a standard deviation of 27.7 / sqrt(490) / 255 = 0.005.
    #expect(abs(mean - Double(law.mean[0])) < 4 * 0.005)
    #expect(abs(variance.squareRoot() - Double(law.deviation[0])) < 0.01)
  }

  @Test func otherShapesAndBadSizes() throws {
    let data = try ImageDataset.synthetic(
      trainCount: 7, testCount: 2, classes: 100, channels: 3, height: 5, width: 9)
    #expect(data.train.images.count == 7 * 3 * 5 * 9 && data.classes == 100)
    message(of: .usage) { _ = try ImageDataset.synthetic(trainCount: 0) }
    message(of: .usage) { _ = try ImageDataset.synthetic(height: -1) }
  }
}

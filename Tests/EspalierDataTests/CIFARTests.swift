import EspalierCore
import EspalierData
import TestSupport
import Testing

/// Files in CIFAR's exact format, made by hand.
struct CIFARFolder {
  let folder: IDXFolder
  let labelBytes: Int
  var name: String { labelBytes == 1 ? "cifar10" : "cifar100" }
  var classes: Int { labelBytes == 1 ? 10 : 100 }
  var subfolder: String { labelBytes == 1 ? "cifar-10-batches-bin" : "cifar-100-binary" }
  var trainFiles: [String] { labelBytes == 1 ? (1...5).map { "data_batch_\($0).bin" } : ["train.bin"] }
  var testFile: String { labelBytes == 1 ? "test_batch.bin" : "test.bin" }

  init(labelBytes: Int, records: Int) throws {
    folder = try IDXFolder()
    self.labelBytes = labelBytes
    for (index, file) in (trainFiles + [testFile]).enumerated() {
      let bytes = (0..<records).flatMap { record(index * records + $0) }
      try folder.write(bytes, to: subfolder + "/" + file)
    }
  }

  func label(_ image: Int) -> UInt8 { UInt8(image * 7 % classes) }

  static func pixel(_ image: Int, _ index: Int) -> UInt8 {
    UInt8(truncatingIfNeeded: image &* 37 &+ index &* index &* 13 &+ index >> 3)
  }

  func record(_ image: Int) -> [UInt8] {
    (labelBytes == 2 ? [UInt8(image % 20)] : []) + [label(image)] + (0..<3072).map { Self.pixel(image, $0) }
  }

  func load() throws -> ImageDataset {
    try DatasetCatalog.load(name: name, directory: folder.path, allowsSubsets: true)
  }
}

@Suite struct CIFARTests {
  @Test(arguments: [1, 2])
  func readsTheFilesInOrder(labelBytes: Int) throws {
    let cifar = try CIFARFolder(labelBytes: labelBytes, records: 6)
    let data = try cifar.load()
    let count = 6 * cifar.trainFiles.count
    #expect(data.train.count == count && data.test.count == 6 && data.classes == cifar.classes)
    #expect(data.train.labels == (0..<count).map { UInt32(cifar.label($0)) })
    #expect(data.test.labels == (0..<6).map { UInt32(cifar.label(count + $0)) })
    #expect(data.train.images.elementsEqual((0..<count * 3072).map { CIFARFolder.pixel($0 / 3072, $0 % 3072) }))
    #expect(data.test.images[5 * 3072 + 99] == CIFARFolder.pixel(count + 5, 99))
  }

  /// Zero-pad by 4, crop 32 x 32, flip half, divide by 255, subtract the mean, divide by the deviation: bit for bit in Float.
  @Test(arguments: [1, 2], InstructionSet.available)
  func thePipelineIsExact(labelBytes: Int, isa: InstructionSet) throws {
    let cifar = try CIFARFolder(labelBytes: labelBytes, records: 20)
    let data = try cifar.load()
    let law = try DatasetCatalog.description(of: cifar.name).normalization
    let context = try ComputeContext(threads: 2, instructionSet: isa)
    let packing = ImagePacking(
      sourceChannels: 3, sourceHeight: 32, sourceWidth: 32, channels: 3, height: 32, width: 32, mean: law.mean,
      deviation: law.deviation)
    let samples: [UInt32] = (0..<19).map { $0 * 7 % 20 }
    let placements = Augmentation().placements(of: samples, epoch: 2, random: CounterRandom(seed: 4))
    let batch = data.train.images.withUnsafeBufferPointer {
      context.pack(images: $0, indices: samples, placements: placements, packing: packing)
    }
    var wrong = 0
    for (n, (sample, placement)) in zip(samples, placements).enumerated() {
      for c in 0..<3 {
        // [40][40], the image in the middle.
        var padded = [[UInt8]](repeating: [UInt8](repeating: 0, count: 40), count: 40)
        for i in 0..<1024 { padded[4 + i / 32][4 + i % 32] = CIFARFolder.pixel(Int(sample), c * 1024 + i) }
        for i in 0..<32 {
          var row = Array(padded[4 + Int(placement.shiftY) + i][(4 + Int(placement.shiftX))...].prefix(32))
          if placement.flip { row.reverse() }
          for j in 0..<32 {
            let expected = (Float(row[j]) / 255 - law.mean[c]) / law.deviation[c]
            if batch[sample: n, feature: c * 1024 + i * 32 + j] != expected { wrong += 1 }
          }
        }
      }
    }
    #expect(wrong == 0)
  }

  @Test(arguments: [1, 2])
  func refusesOtherLengths(labelBytes: Int) throws {
    let cifar = try CIFARFolder(labelBytes: labelBytes, records: 3)
    let text = message { _ = try DatasetCatalog.load(name: cifar.name, directory: cifar.folder.path) }
    #expect(text.contains("expected \(labelBytes == 1 ? 10_000 : 50_000) records") && text.contains(".bin"))
    let bytes = (0..<3).flatMap { cifar.record($0) }
    for count in stride(from: 0, to: bytes.count, by: 997) where count % (3072 + labelBytes) != 0 || count == 0 {
      try cifar.folder.write(Array(bytes[..<count]), to: cifar.subfolder + "/" + cifar.testFile)
      #expect(message { _ = try cifar.load() }.contains(cifar.testFile))
    }
  }

  @Test(arguments: [1, 2])
  func refusesLabelsOutOfRange(labelBytes: Int) throws {
    let cifar = try CIFARFolder(labelBytes: labelBytes, records: 3)
    for byte in 0..<labelBytes {
      var bytes = (0..<3).flatMap { cifar.record($0) }
      bytes[2 * (3072 + labelBytes) + byte] = 100
      try cifar.folder.write(bytes, to: cifar.subfolder + "/" + cifar.testFile)
      let text = message { _ = try cifar.load() }
      #expect(text.contains("record 2") && text.contains("100") && text.contains(cifar.testFile))
    }
  }

  /// One file of the full size, the others absent.
  @Test func reportsWhatIsThere() throws {
    let folder = try IDXFolder()
    try folder.write([UInt8](repeating: 3, count: 10_000 * 3073), to: "data_batch_2.bin")
    let report = try DatasetCatalog.inspect(name: "cifar10", directory: folder.path)
    #expect(!report.isWhole && report.files.map(\.isWhole) == [false, true, false, false, false, false])
    #expect(report.files[1].images == 10_000 && report.description.checks.contains("c32a1d4ab5d03f1284b67883e8d87530"))
  }
}

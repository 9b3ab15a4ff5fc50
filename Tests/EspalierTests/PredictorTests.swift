import Espalier
import EspalierCore
import EspalierData
import Foundation
import Testing

/// Logits that PyTorch recorded, by way of NumPy files and batches of any size.
@Suite struct PredictorTests {
  private let recording: SafetensorsFile
  private let model: Model
  private let context: ComputeContext
  private let images: [Float]
  private let folder: SafetensorsFolder

  init() throws {
    let fixtures = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    let path = fixtures.appendingPathComponent("Fixtures/resnet20.safetensors").path
    recording = try SafetensorsFile(path: path)
    context = try ComputeContext(threads: 2)
    model = try Checkpoint(path: path).sparseModel(context: context)
    images = try recording.bytes(of: "recorded.images").map { (Float($0) / 255 - 0.5) / 0.25 }
    folder = try SafetensorsFolder()
  }

  private func store(_ numbers: [Float], _ shape: [Int]) throws -> NumPyFile {
    let path = folder.file("x.npy")
    try NumPyFile.write(.float32, shape: shape, to: path) { sink in try numbers.withUnsafeBytes { try sink($0) } }
    return try NumPyFile(path: path)
  }

  @Test(arguments: [1, 3, 7, 8, 9, 128]) func logitsAreAsRecorded(batchSize: Int) throws {
    let input = try store(images, [8, 3, 32, 32])
    let output = folder.file("y.npy")
    let predictor = try Predictor(model, batchSize: batchSize, context: context)
    #expect(try predictor.predict(input, to: output) == 8)
    let file = try NumPyFile(path: output)
    #expect(file.type == .float32 && file.shape == [8, 10])
    var logits = [Float](repeating: .nan, count: 80)
    try logits.withUnsafeMutableBytes { try file.read(into: $0) }
    let expected = try recording.bytes(of: "recorded.logits").withUnsafeBytes {
      Array($0.assumingMemoryBound(to: Float.self))
    }
    let largest = expected.map { abs($0) }.max() ?? 0
    let difference = zip(logits, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(largest > 0 && difference <= 1e-4 * largest)
    #expect(try images.withUnsafeBufferPointer { try predictor.logits(of: $0) } == logits)
  }

  /// Batches are as large as 1 GiB of activations allows, whatever the memory and the threads of the machine.
  @Test func largeImagesComeInSmallBatches() throws {
    #expect(try Predictor(model, context: context).batchSize == 128)
    #expect(try Predictor(model, batchSize: 3, context: context).batchSize == 3)
    // Input and output of the convolution take 0.8 MB and 19 MB a sample, and what else is alive not as much again.
    for (side, expected) in [(100, [128]), (500, [16, 32])] {
      let spec = try ModelSpec(
        name: "wide", input: FeatureSize(channels: 3, height: side, width: side), classes: 2,
        layers: [
          .convolution(name: "conv", outChannels: 16, geometry: ConvolutionGeometry(kernel: 3, padding: 1)), .relu,
          .averagePool(PoolGeometry(kernel: side)), .flatten, .linear(name: "linear", outputs: 2),
        ])
      let sizes = try [1, 3].map { threads in
        let context = try ComputeContext(threads: threads)
        let model = try Model(sparse: spec, sparsity: 0.5, random: CounterRandom(seed: 1), context: context)
        return try Predictor(model, context: context).batchSize
      }
      #expect(expected.contains(sizes[0]) && sizes[0] == sizes[1], "\(side) x \(side): \(sizes)")
    }
  }

  @Test func noSamplesMakeNoLogits() throws {
    let output = folder.file("y.npy")
    #expect(try Predictor(model, context: context).predict(store([], [0, 3, 32, 32]), to: output) == 0)
    #expect(try NumPyFile(path: output).shape == [0, 10])
  }

  @Test func inputsThatDoNotFitAreRefused() throws {
    let predictor = try Predictor(model, context: context)
    let output = folder.file("y.npy")
    for shape in [[8, 3072], [8, 32, 32, 3], [24, 1, 32, 32], [3, 32, 32], [2, 3, 64, 64], []] {
      let input = try store([Float](repeating: 0, count: shape.reduce(1, *)), shape)
      expectError(.input, naming: input.path, saying: "[N, 3, 32, 32]") { try predictor.predict(input, to: output) }
    }
    var damaged = images
    damaged[3072 * 5 + 1] = .nan
    let input = try store(damaged, [8, 3, 32, 32])
    expectError(.input, naming: input.path, saying: "sample 5 holds nan") { try predictor.predict(input, to: output) }
    var huge = images
    for i in 3072 * 2..<3072 * 3 { huge[i] = i % 2 == 0 ? 3e38 : -3e38 }
    let overflowing = try store(huge, [8, 3, 32, 32])
    expectError(.diverged, naming: overflowing.path, saying: "the logits of sample 2 are not finite") {
      try predictor.predict(overflowing, to: output)
    }
    #expect(!FileManager.default.fileExists(atPath: output))
    for size in [0, -1, 65_537] { expectError(.usage) { _ = try Predictor(model, batchSize: size, context: context) } }
    expectError(.usage) { try images.dropLast().withUnsafeBufferPointer { _ = try predictor.logits(of: $0) } }
    for place in [folder.path, folder.file("absent/y.npy"), "/proc/y.npy"] {
      expectError(.write, naming: place) { try predictor.predict(store(images, [8, 3, 32, 32]), to: place) }
    }
  }
}

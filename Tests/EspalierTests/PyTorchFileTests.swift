import Espalier
import EspalierCore
import EspalierData
import Foundation
import Testing

/// A pruned model as PyTorch's users store it: a state_dict in half precision by the library safetensors, images and logits by NumPy.
/// `Tests/Fixtures/record_masked.py` made the files.
@Suite struct PyTorchFileTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  private func numbers(_ path: String) throws -> [Float] {
    let file = try NumPyFile(path: path)
    var result = [Float](repeating: .nan, count: file.count)
    try result.withUnsafeMutableBytes { try file.read(into: $0) }
    return result
  }

  @Test func aPrunedModelComputesWhatPyTorchComputed() throws {
    let context = try ComputeContext(threads: 2)
    let request = ModelCatalog.Request(
      name: "resnet20", width: 0.25, images: FeatureSize(channels: 3, height: 32, width: 32), classes: 10)
    let weights = try WeightsFile(path: Self.folder + "/masked-resnet20.safetensors")
    let model = try Model(ModelCatalog.spec(request), weights: weights, context: context)
    #expect(model.connections == 2532)
    let output = try SafetensorsFolder()
    let images = try NumPyFile(path: Self.folder + "/masked-images.npy")
    try Predictor(model, context: context).predict(images, to: output.file("y.npy"))
    let (found, expected) = (try numbers(output.file("y.npy")), try numbers(Self.folder + "/masked-logits.npy"))
    let largest = expected.map { abs($0) }.max() ?? 0
    let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(found.count == 20 && largest > 0.1 && difference <= 1e-5 * largest, "off by \(difference) of \(largest)")
    try context.meter.check()
  }
}

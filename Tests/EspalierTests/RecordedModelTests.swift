import Espalier
import EspalierCore
import Foundation
import TestSupport
import Testing

/// What PyTorch computed with the same weights: logits, losses of six steps of SGD, weights after them. `Tests/Fixtures/record.py` made it.
@Suite struct RecordedModelTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fixtures").path

  private struct Recording {
    let path: String
    let file: SafetensorsFile
    let images: OracleTensor
    let labels: [UInt32]

    init(_ name: String) throws {
      path = "\(RecordedModelTests.folder)/\(name).safetensors"
      file = try SafetensorsFile(path: path)
      let shape = try #require(file.entry(named: "recorded.images")?.shape)
      images = OracleTensor(
        samples: shape[0], channels: shape[1], height: shape[2], width: shape[3],
        values: try file.bytes(of: "recorded.images").map { (Double($0) / 255 - 0.5) / 0.25 })
      labels = try Self.numbers(file, "recorded.labels", as: Int32.self).map(UInt32.init)
    }

    static func numbers<T: BitwiseCopyable>(_ file: SafetensorsFile, _ name: String, as: T.Type) throws -> [T] {
      let bytes = try file.bytes(of: name)
      return bytes.withUnsafeBytes { raw in
        (0..<bytes.count / MemoryLayout<T>.size).map {
          raw.loadUnaligned(fromByteOffset: $0 * MemoryLayout<T>.size, as: T.self)
        }
      }
    }

    func numbers(_ name: String) throws -> [Float] { try Self.numbers(file, "recorded." + name, as: Float.self) }
  }

  /// Of each family; the bound is wider for the deepest.
  @Test(arguments: [
    ("resnet20", 1e-4), ("vgg16-small", 1e-4), ("simple-vit-tiny", 1e-4), ("resnet18", 1e-4),
    ("vgg11", 1e-4), ("resnet50", 2e-4),
  ])
  func logitsAreAsRecorded(_ name: String, bound: Float) throws {
    let recording = try Recording(name)
    let expected = try recording.numbers("logits")
    for instructionSet in InstructionSet.available {
      let context = try ComputeContext(threads: 2, instructionSet: instructionSet)
      let model = try Checkpoint(path: recording.path).sparseModel(context: context)
      let x = ModelPass.activations(recording.images, context)
      let logits = try model(Variable(x), on: Tape(context: context, mode: .evaluation))
      expectClose(ModelPass.numbers(logits.value), expected, within: bound, "logits, \(instructionSet)")
      try context.meter.check()
    }
  }

  /// Six steps; ResNet-50's loss before the first.
  @Test(arguments: ["resnet20", "simple-vit-tiny", "resnet18", "resnet50"])
  func stepsAreAsRecorded(_ name: String) throws {
    let recording = try Recording(name)
    let context = try ComputeContext(threads: 2)
    let model = try Checkpoint(path: recording.path).sparseModel(context: context)
    let x = ModelPass.activations(recording.images, context)
    let losses = try Recording.numbers(recording.file, "recorded.losses", as: Double.self)
    let learningRate = try #require(recording.file.metadata["learning_rate"].flatMap { Double($0) })
    let optimizer = SGD(momentum: 0.9, weightDecay: 1e-4)
    for (step, expected) in losses.enumerated() {
      let loss = try self.step(model, x, recording.labels, step: step, context)
      #expect(abs(loss - expected) <= 1e-4 * expected, "step \(step): \(loss), expected \(expected)")
      optimizer.step(model.parameters, number: step + 1, learningRate: learningRate, context: context)
    }
    #expect(losses.count == (name == "resnet50" ? 1 : 6))
    let finals = Set(recording.file.names)
    for tensor in model.state where finals.contains("recorded.final." + tensor.name) {
      let found: [Float] =
        switch tensor {
        case .sparse(let parameter): parameter.matrix.withValues { Array($0) }
        case .dense(_, _, let values): values.array
        }
      expectClose(found, try recording.numbers("final." + tensor.name), within: 1e-3, tensor.name)
    }
    let kept = ["resnet50": 0, "resnet18": 13][name, default: model.state.count]
    #expect(finals.count { $0.hasPrefix("recorded.final.") } == kept)
    try context.meter.check()
  }

  private func step(
    _ model: Model, _ x: Activations, _ labels: [UInt32], step: Int, _ context: ComputeContext
  ) throws -> Double {
    let tape = Tape(context: context, mode: .training(step: step))
    let logits = try model(Variable(x), on: tape)
    let delta = context.pool.activations(logits.shape)
    let loss = labels.withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    try tape.backward(from: logits, gradient: delta)
    return loss.mean
  }

  /// Expects each number within `fraction` of the largest.
  private func expectClose(_ found: [Float], _ expected: [Float], within fraction: Float, _ name: String) {
    let largest = expected.map { abs($0) }.max() ?? 0
    let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(found.count == expected.count && largest > 0, "\(name)")
    #expect(difference <= fraction * largest, "\(name): off by \(difference) of \(largest)")
  }
}

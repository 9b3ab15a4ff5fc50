import Espalier
import EspalierBaselines
import EspalierCore
import Foundation
import Testing

@Suite struct CheckpointTests {
  static let models = [
    CheckpointFixture.information(), CheckpointFixture.information(hidden: []),
    CheckpointFixture.information("vgg11-small", width: 0.25), CheckpointFixture.information("resnet20", width: 0.25),
    CheckpointFixture.information("simple-vit-tiny", width: 0.25),
  ]

  @Test(arguments: models)
  func sparseModelsComeBackBitForBit(_ information: Checkpoint.Information) throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 2)
    let model = try CheckpointFixture.model(information, context: context)
    let path = folder.path + "/checkpoints/step-00000120"
    try Checkpoint.save(model, information, to: path, temporary: folder.path)
    for opened in [path, path + "/model.safetensors"] {
      let checkpoint = try Checkpoint(path: opened)
      #expect(checkpoint.information == information)
      #expect(checkpoint.isSparse)
      let loaded = try checkpoint.sparseModel(context: context)
      #expect(loaded.weightsSHA256 == model.weightsSHA256)
      #expect(loaded.activeConnections == model.activeConnections)
      #expect(loaded.state.map(\.name) == model.state.map(\.name))
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["checkpoints"])
    #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["model.safetensors"])
    try context.meter.check()
  }

  @Test(arguments: models)
  func denseModelsComeBackBitForBit(_ information: Checkpoint.Information) throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 2)
    let model = try CheckpointFixture.model(information, dense: true, context: context)
    try Checkpoint.save(model, information, to: folder.path + "/dense", temporary: folder.path)
    let checkpoint = try Checkpoint(path: folder.path + "/dense")
    #expect(!checkpoint.isSparse)
    let factory = DenseLayerFactory(random: CounterRandom(seed: 0), context: context)
    #expect(try checkpoint.model(factory: factory, context: context).weightsSHA256 == model.weightsSHA256)
  }

  /// A trained network comes back too, and computes the same.
  @Test func aTrainedModelEvaluatesTheSame() throws {
    let setup = try TrainingSetup.perceptron(steps: 40)
    let (run, result, _) = try setup.train()
    let folder = try SafetensorsFolder()
    var information = CheckpointFixture.information(hidden: [96, 64])
    information.batchSize = setup.options.batchSize
    try Checkpoint.save(run.model, information, to: folder.path + "/a", temporary: folder.path)
    let context = try ComputeContext(threads: 3)
    let loaded = try Checkpoint(path: folder.path + "/a").sparseModel(context: context)
    let evaluator = try Evaluator(
      dataset: setup.dataset, normalization: TrainingSetup.normalization, spec: loaded.spec,
      batchSize: information.batchSize, context: context)
    let loss = try evaluator(loaded)
    #expect(loss.mean == result.testLoss)
    #expect(Double(loss.correct) / Double(loss.samples) == result.testAccuracy)
  }

  /// A matrix's shape for CSR, and beside it that of the layer in PyTorch, which weights of before had not.
  @Test func convolutionsAreStoredWithBothShapes() throws {
    let run = try TrainingSetup.convolutional().make()
    let folder = try SafetensorsFolder()
    try run.model.writeSafetensors(to: folder.file())
    try Checkpoint.save(run.model, CheckpointFixture.information(), to: folder.path + "/c")
    for path in [folder.file(), folder.path + "/c/model.safetensors"] {
      let metadata = try SafetensorsFile(path: path).metadata
      #expect(metadata["conv1.weight.shape"] == "[8, 9]")
      #expect(metadata["conv1.weight.dense_shape"] == "[8, 1, 3, 3]")
      #expect(metadata["conv2.weight.dense_shape"] == "[16, 8, 3, 3]")
      #expect(metadata["linear1.weight.shape"] != nil && metadata["linear1.weight.dense_shape"] == nil)
    }
    let again = try Model(run.model.spec, weights: WeightsFile(path: folder.file()), context: run.context)
    #expect(again.weightsSHA256 == run.model.weightsSHA256)
    try run.model.writeSafetensors(to: folder.file(), layout: .maskedDense)
    #expect(try SafetensorsFile(path: folder.file()).metadata.isEmpty)
  }

  @Test func sparseLayersAreStoredSparse() throws {
    let fixture = try CheckpointFixture()
    let weights = [("layers.0", 784, 24), ("layers.2", 24, 16), ("layers.4", 16, 10)].map { $0.0 + ".weight" }
    for name in weights {
      #expect(fixture.tensors[name] == nil)
      for part in ["crow_indices", "col_indices", "values"] { #expect(fixture.tensors["\(name).\(part)"] != nil) }
    }
    #expect(fixture.metadata["layers.0.weight.shape"] == "[24, 784]")
    #expect(fixture.tensors["layers.0.bias"]?.shape == [24])
    let connections = weights.reduce(0) { $0 + (fixture.tensors[$1 + ".values"]?.shape[0] ?? 0) }
    #expect(connections == 1936)  // a tenth of 19,360
    let bytes = fixture.tensors.values.reduce(0) { $0 + $1.bytes.count }
    let expected = 8 * connections + 4 * (25 + 17 + 11) + 4 * (24 + 16 + 10)
    #expect(bytes == expected)
    let size = try FileManager.default.attributesOfItem(atPath: fixture.folder.path + "/whole/model.safetensors")[.size]
    #expect(try #require(size as? Int) < bytes + 4096)
    #expect(try #require(size as? Int) < 19_360 * 4 / 3)
  }

  @Test func savingWhereThereIsSomethingFails() throws {
    let folder = try SafetensorsFolder()
    let context = try ComputeContext(threads: 1)
    let information = CheckpointFixture.information()
    let model = try CheckpointFixture.model(information, context: context)
    try Checkpoint.save(model, information, to: folder.path + "/a", temporary: folder.path)
    let before = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a/model.safetensors"))
    expectError(.write, naming: folder.path + "/a") {
      try Checkpoint.save(model, information, to: folder.path + "/a", temporary: folder.path)
    }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["a"])
    #expect(try Data(contentsOf: URL(fileURLWithPath: folder.path + "/a/model.safetensors")) == before)
  }

  @Test func savingWhereNothingCanBeWrittenLeavesNoDebris() throws {
    let folder = try SafetensorsFolder()
    let file = try folder.store([1, 2, 3])
    let context = try ComputeContext(threads: 1)
    let information = CheckpointFixture.information()
    let model = try CheckpointFixture.model(information, context: context)
    // The target, the temporary name, both: below a regular file, or in a file system that takes no folders.
    let places = [
      (file + "/a", folder.path), (folder.path + "/a", file), (file + "/a", file), ("/proc/a", "/proc"),
      ("/proc/a", folder.path),
    ]
    for (target, temporary) in places {
      expectError(.write) { try Checkpoint.save(model, information, to: target, temporary: temporary) }
      #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["model.safetensors"])
    }
    #expect(try [UInt8](Data(contentsOf: URL(fileURLWithPath: file))) == [1, 2, 3])
  }

  @Test func whatIsNotACheckpointIsRefused() throws {
    let folder = try SafetensorsFolder()
    expectError(.input, naming: folder.path + "/absent: no such file") {
      _ = try Checkpoint(path: folder.path + "/absent")
    }
    expectError(.input, naming: folder.path) { _ = try Checkpoint(path: folder.path) }
    let file = folder.file()
    try SafetensorsWriter(entries: [.init("x", .float32, [1], bytes: [0, 0, 0, 0])]).write(to: file)
    expectError(.input, naming: file, saying: "not an Espalier checkpoint") { _ = try Checkpoint(path: file) }
  }
}

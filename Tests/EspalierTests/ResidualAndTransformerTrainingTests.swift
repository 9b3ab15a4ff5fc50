import Espalier
import EspalierCore
import EspalierData
import Testing

/// The catalogue's residual networks and transformers, narrow ones, in training.
@Suite struct ResidualAndTransformerTrainingTests {
  static let models = ["resnet20", "simple-vit-tiny"]

  private func setup(_ name: String, steps: Int) throws -> TrainingSetup {
    let images = FeatureSize(channels: 1, height: 28, width: 28)
    let spec = try ModelCatalog.spec(ModelCatalog.Request(name: name, width: 0.25, images: images, classes: 4))
    var options = TrainingOptions(epochs: nil, maxSteps: steps)
    options.batchSize = 24
    options.warmupEpochs = 0
    options.learningRate = ModelCatalog.learningRate(of: name)
    let dataset = try ImageDataset.synthetic(trainCount: 120, testCount: 24, seed: 5, classes: 4)
    return TrainingSetup(spec: spec, dataset: dataset, sparsity: 0.9, interval: 4, options: options)
  }

  /// On one batch again and again, which it learns by heart.
  @Test(arguments: models)
  func lossesFallAndNothingIsDense(_ name: String) throws {
    var setup = try setup(name, steps: 40)
    setup.dataset = try ImageDataset.synthetic(trainCount: 24, testCount: 24, seed: 5, classes: 4)
    setup.options.milestones = []
    setup.interval = 8
    let (run, result, recorder) = try setup.train()
    let losses = recorder.steps.map(\.trainLoss)
    let (first, last) = (losses.prefix(5).reduce(0, +) / 5, losses.suffix(5).reduce(0, +) / 5)
    #expect(last < 0.8 * first, "\(losses)")
    #expect(result.updates == 4)
    #expect(run.model.connections == Int((0.1 * Double(run.model.spec.sparsifiableWeights)).rounded()))
    try run.context.meter.check()
  }

  @Test(arguments: models)
  func threadsDoNotMatter(_ name: String) throws {
    let hashes = try [1, 2, 3].map { threads in
      var setup = try setup(name, steps: 6)
      setup.threads = threads
      return try setup.train().run.model.weightsSHA256
    }
    #expect(Set(hashes).count == 1, "\(hashes)")
  }

  @Test(arguments: models)
  func stepsAllocateNothing(_ name: String) throws {
    var setup = try setup(name, steps: 10)
    setup.method = .static
    let run = try setup.make()
    let recorder = TrainingRecorder()
    var allocations: [Int] = []
    recorder.onStep = { _ in allocations.append(run.context.meter.reading.allocations) }
    _ = try run.trainer.run(observer: recorder)
    #expect(Set(allocations[6...]).count == 1 && Set(allocations[1..<4]).count == 1, "\(allocations)")
  }
}

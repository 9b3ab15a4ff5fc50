import EspalierCore
import EspalierData
import EspalierTopology
import TestSupport
import Testing

import Espalier

/// Batches that are summed up make one larger batch.
@Suite struct AccumulationTests {
  private static func setup(batch: Int, accumulate: Int, mode: UpdateMode? = nil) throws -> TrainingSetup {
    var setup = try TrainingSetup.perceptron(steps: 40)
    setup.options.batchSize = batch
    setup.options.accumulate = accumulate
    setup.options.warmupEpochs = 0
    setup.method = mode == nil ? .static : .gse
    setup.mode = mode ?? .replace
    setup.interval = 10
    return setup
  }

  @Test(arguments: [2, 3, 4])
  func equalsTheLargerBatch(parts: Int) throws {
    let whole = try Self.setup(batch: 96, accumulate: 1).train()
    let parted = try Self.setup(batch: 96 / parts, accumulate: parts).train()
    #expect(parted.result.steps == 40 && parted.result.epochs == whole.result.epochs)
    #expect(parted.run.trainer.timetable == whole.run.trainer.timetable)
    for (a, b) in zip(whole.recorder.steps, parted.recorder.steps) {
      #expect(abs(a.trainLoss - b.trainLoss) <= 1e-4 * abs(a.trainLoss))
    }
    // Sums of 96 samples in two orders, over 40 steps.
    for (a, b) in zip(whole.run.model.parameters, parted.run.model.parameters) {
      let (x, y) = (a.withMutableValues { Array($0) }, b.withMutableValues { Array($0) })
      let scale = x.map(abs).max() ?? 0
      #expect(zip(x, y).allSatisfy { abs($0 - $1) <= 2e-4 * scale })
      #expect(scale > 0)
    }
    #expect(whole.run.model.weightsSHA256 != parted.run.model.weightsSHA256, "another order of additions")
    #expect(abs(whole.result.testLoss - parted.result.testLoss) <= 1e-4 * whole.result.testLoss)
  }

  @Test(arguments: UpdateMode.allCases)
  func updatesKeepTheBudgetAndTheThreadsOutOfIt(mode: UpdateMode) throws {
    var hashes: Set<String> = []
    for threads in [1, 3] {
      var setup = try Self.setup(batch: 32, accumulate: 3, mode: mode)
      setup.threads = threads
      let (run, result, _) = try setup.train()
      #expect(result.updates == 3)
      #expect(run.trainer.progress.optimizerSteps == (mode == .replace ? 37 : 40))
      #expect(run.model.connections == Int((0.1 * Double(setup.spec.sparsifiableWeights)).rounded()))
      try run.context.meter.check()
      hashes.insert(run.model.weightsSHA256)
    }
    #expect(hashes.count == 1)
  }

  /// Dropout's masks differ between the batches of a step: with one mask for both, twice the same batch would be the batch itself.
  @Test func eachBatchHasAMaskOfItsOwn() throws {
    var losses: [Double] = []
    for accumulate in [1, 2] {
      var setup = try TrainingSetup.convolutional(steps: 1)
      setup.dataset = try Self.repeated(setup.dataset, count: 40)
      setup.options.accumulate = accumulate
      setup.options.augments = false
      setup.options.shuffles = false
      setup.method = .static
      losses.append(try setup.train().recorder.steps[0].trainLoss)
    }
    #expect(losses[0] != losses[1])
  }

  /// The first `count` images twice.
  private static func repeated(_ dataset: ImageDataset, count: Int) throws -> ImageDataset {
    let size = dataset.channels * dataset.height * dataset.width
    let pixels = try PixelBuffer(count: 2 * count * size) { target in
      for i in target.indices { target[i] = dataset.train.images[i % (count * size)] }
    }
    let labels = (0..<2 * count).map { dataset.train.labels[$0 % count] }
    return ImageDataset(
      name: dataset.name, isSynthetic: true, classes: dataset.classes, channels: dataset.channels,
      height: dataset.height, width: dataset.width, train: ImageSplit(images: pixels, labels: labels),
      test: dataset.test)
  }

  @Test func timetablesCountSteps() throws {
    var options = TrainingOptions(epochs: 4)
    options.batchSize = 100
    options.accumulate = 3
    let timetable = try TrainingTimetable(options, trainingSamples: 1000)
    #expect(timetable.stepsPerEpoch == 3 && timetable.steps == 12)
    options.accumulate = 11
    expectError(.usage, naming: "accumulate:") { _ = try TrainingTimetable(options, trainingSamples: 1000) }
  }
}

@Suite struct ValidationTests {
  @Test func heldOutImagesAreEvaluatedEachEpoch() throws {
    var setup = try TrainingSetup.perceptron(steps: 80)
    setup.options.validation = 0.2
    let (run, result, recorder) = try setup.train()
    #expect(run.trainer.timetable.stepsPerEpoch == 1600 / 64)
    #expect(result.epochs == 4)
    #expect(recorder.epochs.allSatisfy { $0.validationAccuracy != nil && ($0.validationLoss ?? 0) > 0 })
    #expect(recorder.epochs.last?.validationAccuracy ?? 0 > 0.6)
    #expect(recorder.epochs.allSatisfy { $0.validationAccuracy != $0.testAccuracy })
    #expect(recorder.epochs.allSatisfy { $0.testTop5Accuracy == nil }, "ten classes")
    #expect(result.history == recorder.epochs)
    setup.options.validation = 0
    #expect(try setup.train().recorder.epochs.allSatisfy { $0.validationAccuracy == nil })
  }

  /// The evaluator's numbers on the split that the seed makes.
  @Test func theLastEpochsNumbersAreThoseOfTheSplit() throws {
    var setup = try TrainingSetup.perceptron(steps: 30)
    setup.options.validation = 0.1
    setup.options.seed = 9
    let (run, result, _) = try setup.train()
    let split = try setup.dataset.train.heldOut(fraction: 0.1, random: CounterRandom(seed: 9)).validation
    #expect(split.count == 200)
    let evaluator = try Evaluator(
      dataset: setup.dataset, split: split, normalization: TrainingSetup.normalization, spec: setup.spec, batchSize: 64,
      context: run.context)
    let loss = try evaluator(run.model)
    #expect(loss.samples == 200)
    #expect(result.history.last?.validationLoss == loss.mean)
    #expect(result.history.last?.validationAccuracy == loss.accuracy)
  }

  @Test func theBestEpochIsTheFirstOfTheMostAccurate() {
    func record(_ epoch: Int, _ correct: Int, _ loss: Double, validated: Bool = true, nnz: Int? = 9) -> EpochRecord {
      let result = LossResult(total: loss * 10, correct: correct, samples: 10)
      return EpochRecord(epoch: epoch, trainLoss: 1, test: result, validation: validated ? result : nil, nnz: nnz)
    }
    #expect([EpochRecord]().bestByValidation == nil)
    #expect([record(1, 5, 1, validated: false)].bestByValidation == nil)
    let history = [record(1, 5, 0.5), record(2, 7, 0.9), record(3, 7, 0.8), record(4, 7, 0.8), record(5, 6, 0.1)]
    #expect(history.bestByValidation?.epoch == 3)
    // Denser ones do not count, whatever they are like; those of which it is not known do.
    let denser = [record(6, 10, 0.1, nnz: 30), record(7, 9, 0.1, nnz: 10)]
    #expect((denser + history).bestByValidation?.epoch == 3 && denser.bestByValidation?.epoch == 7)
    #expect(([record(1, 8, 0.5, nnz: nil)] + history).bestByValidation?.epoch == 1)
    #expect([record(1, 8, 0.5, nnz: nil), record(2, 9, 0.5, nnz: nil)].bestByValidation?.epoch == 2)
  }

  @Test func fractionsOutOfRangeAreNamed() {
    for fraction in [-0.1, 1, .nan] {
      var options = TrainingOptions()
      options.validation = fraction
      expectError(.usage, naming: "validation:") { _ = try TrainingTimetable(options, trainingSamples: 1000) }
    }
    var options = TrainingOptions()
    options.validation = 1e-6
    expectError(.usage, naming: "validation:") { _ = try TrainingTimetable(options, trainingSamples: 1000) }
  }
}

@Suite struct TopFiveTests {
  /// 120 classes, of which the model has no idea yet: the definition, sample by sample.
  @Test func isCountedFromAHundredClassesUp() throws {
    let dataset = try ImageDataset.synthetic(
      trainCount: 240, testCount: 130, seed: 3, classes: 120, height: 8, width: 8)
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(
        name: "mlp", hidden: [64], images: FeatureSize(channels: 1, height: 8, width: 8), classes: 120))
    let context = try ComputeContext(threads: 2)
    let model = try Model(sparse: spec, sparsity: 0.5, random: CounterRandom(seed: 2), context: context)
    let evaluator = try Evaluator(
      dataset: dataset, normalization: TrainingSetup.normalization, spec: spec, batchSize: 48, context: context)
    let loss = try evaluator(model)

    let packed = ImagePacking(
      sourceChannels: 1, sourceHeight: 8, sourceWidth: 8, channels: 1, height: 8, width: 8, mean: [0.4971],
      deviation: [0.2112])
    let images = dataset.test.images.withUnsafeBufferPointer { bytes in
      context.pack(images: bytes, indices: (0..<130).map { UInt32($0) }, placements: [], packing: packed)
    }
    let logits = ModelPass.numbers(try model(Variable(images), on: Tape(context: context, mode: .evaluation)).value)
    let expected = (0..<130).count { n in
      let row = logits[n * 120..<(n + 1) * 120]
      let own = row[n * 120 + Int(dataset.test.labels[n])]
      return row.count { $0 > own } < 5
    }
    #expect(loss.correctInTopFive == expected)
    #expect(expected >= loss.correct)
    #expect(loss.topFiveAccuracy == Double(expected) / 130)
  }
}

import EspalierCore
import TestSupport
import Testing

import Espalier

/// What torch.optim.AdamW did (PyTorch 2.15), from weights 1, -0.5, 0.25, 2.
private enum RecordedAdamW {
  static let start: [Float] = [1, -0.5, 0.25, 2]
  static let gradients: [[Float]] = [
    [0.5, -0.25, 1, -2], [-0.125, 0.5, 0, 1], [0.75, 0.25, -1.5, 0.5], [1e-3, -4, 0.0625, 0],
    [0.3125, 0.3125, -0.5, 8],
  ]
  static let rates = [0.01, 0.02, 0.02, 0.005, 0.005]
  static let weights: [Double: [[Float]]] = [
    0.01: [
      [0.989899993, -0.489950001, 0.23997499, 2.00979996], [0.980312705, -0.497174084, 0.226525843, 2.01472473],
      [0.965475798, -0.507459462, 0.231372073, 2.01554966], [0.962426066, -0.504883349, 0.232260868, 2.01570034],
      [0.959092081, -0.502918661, 0.233711958, 2.01303554],
    ],
    0.1: [
      [0.989000022, -0.489500016, 0.239749998, 2.00800014], [0.977632701, -0.495843112, 0.225869343, 2.00931096],
      [0.961036623, -0.505236268, 0.230309144, 2.00652027], [0.957554638, -0.502432942, 0.231094345, 2.00576854],
      [0.953789949, -0.500242293, 0.232441485, 2.00220156],
    ],
  ]
  static let first: [Float] = [0.115782499, -0.288452506, -0.100265004, 0.782180011]
  static let second: [Float] = [0.000923612562, 0.016455533, 0.00349541055, 0.0692305267]
}

@Suite struct AdamWTests {
  @Test(arguments: [0.01, 0.1])
  func followsPyTorchsRecordedSteps(weightDecay: Double) throws {
    for instructionSet in InstructionSet.available {
      let context = try ComputeContext(threads: 2, instructionSet: instructionSet)
      let parameter = VectorParameter(name: "bias", count: 4, meter: context.meter)
      parameter.withMutableValues { _ = $0.update(fromContentsOf: RecordedAdamW.start) }
      let optimizer = AdamW(weightDecay: weightDecay)
      for (step, gradient) in RecordedAdamW.gradients.enumerated() {
        _ = parameter.gradient.buffer.update(fromContentsOf: gradient)
        optimizer.step([parameter], number: step + 1, learningRate: RecordedAdamW.rates[step], context: context)
        let expected = try #require(RecordedAdamW.weights[weightDecay])[step]
        // A step rounds some five times, at magnitudes up to 2.
        for (found, expected) in zip(parameter.values.array, expected) {
          #expect(abs(found - expected) <= 6 * Float(step + 1) * .ulpOfOne)
        }
      }
      let state = parameter.optimizerState.map(\.array)
      for (found, expected) in zip(state[0] + state[1], RecordedAdamW.first + RecordedAdamW.second) {
        #expect(abs(found - expected) <= 8 * .ulpOfOne * abs(expected))
      }
    }
  }

  /// Survivors keep both moments, grown connections start with zeros; their first step follows from the present step's number.
  @Test func momentsGoAlongWithTheTopology() throws {
    var setup = try TrainingSetup.perceptron(steps: 12)
    setup.options.optimizer = .adamw
    setup.options.learningRate = 1e-3
    setup.interval = 10
    let run = try setup.make()
    let recorder = TrainingRecorder()
    let parameter = run.model.sparseParameters[0]
    var before: [[Connection: Float]] = []
    recorder.onStep = {
      if $0.step == 10 { before = parameter.optimizerState.map { parameter.byConnection($0.array) } }
    }
    recorder.onUpdate = { record in
      #expect(record.step == 11)
      let after = parameter.optimizerState.map { parameter.byConnection($0.array) }
      #expect(before.count == 2 && after.count == 2)
      for (old, new) in zip(before, after) {
        #expect(new.allSatisfy { $0.value == old[$0.key] ?? 0 })
        #expect(new.keys.contains { old[$0] == nil })
      }
    }
    _ = try run.trainer.run(observer: recorder)
    #expect(recorder.updates.count == 1)
    #expect(run.trainer.progress.optimizerSteps == 11)
    try run.context.meter.check()
    #expect(parameter.bytes >= 4 * parameter.count * 3)
  }

  @Test func aSparsePerceptronLearnsWithIt() throws {
    var setup = try TrainingSetup.perceptron(steps: 120)
    setup.options.optimizer = .adamw
    setup.options.learningRate = 2e-3
    setup.options.schedule = .cosine
    setup.interval = 10
    #expect(try setup.train().result.testAccuracy > 0.8)
  }
}

@Suite struct GradientClippingTests {
  /// torch.nn.utils.clip_grad_norm_ of these two gradients says 5.612485885620117.
  @Test(arguments: [(1.0, true), (10, false)] as [(Double, Bool)])
  func clipsAsPyTorchDoes(maximum: Double, clips: Bool) throws {
    let context = try ComputeContext(threads: 3)
    let (a, b) = (
      VectorParameter(name: "a", count: 3, meter: context.meter),
      VectorParameter(name: "b", count: 2, meter: context.meter)
    )
    _ = a.gradient.buffer.update(fromContentsOf: [3, -4, 0.5])
    _ = b.gradient.buffer.update(fromContentsOf: [1.5, -2])
    let norm = GradientClipping(maximum: maximum)([a, b], context: context)
    #expect(abs(norm - 5.612485885620117) < 1e-6)
    let expected: [Float] =
      clips
      ? [0.5345224142074585, -0.7126965522766113, 0.08908706903457642, 0.26726120710372925, -0.35634827613830566]
      : [3, -4, 0.5, 1.5, -2]
    for (found, expected) in zip(a.gradient.array + b.gradient.array, expected) {
      #expect(abs(found - expected) <= 2 * .ulpOfOne * abs(expected))
    }
  }

  @Test func threadsDoNotMatterToAClippedRun() throws {
    var hashes: Set<String> = []
    for threads in [1, 2, 5] {
      var setup = try TrainingSetup.convolutional()
      setup.options.clipNorm = 0.5
      setup.threads = threads
      hashes.insert(try setup.train().run.model.weightsSHA256)
    }
    #expect(hashes.count == 1)
    #expect(hashes != [try TrainingSetup.convolutional().train().run.model.weightsSHA256])
  }
}

@Suite struct CosineScheduleTests {
  /// torch.optim.lr_scheduler.CosineAnnealingLR(T_max: 8) from 0.2.
  @Test(arguments: [0, 5])
  func followsPyTorchsAfterTheWarmup(warmup: Int) {
    let recorded = [
      0.2, 0.19238795325112867, 0.17071067811865476, 0.138268343236509, 0.1, 0.06173165676349103, 0.029289321881345254,
      0.007612046748871327, 0,
    ]
    let schedule = LearningRateSchedule(base: 0.2, warmupSteps: warmup, decay: .cosine(end: warmup + 8))
    for (step, rate) in recorded.enumerated() { #expect(abs(schedule.rate(at: warmup + step) - rate) < 1e-15) }
    for step in 0..<warmup {
      #expect(abs(schedule.rate(at: step) - 0.2 * (1e-4 + 0.9999 * Double(step) / 5)) < 1e-15)
    }
    #expect(schedule.rate(at: warmup + 9) == 0)
  }

  @Test func theHorizonIsTheRunsEnd() throws {
    var options = TrainingOptions(epochs: 10)
    options.schedule = .cosine
    let timetable = try TrainingTimetable(options, trainingSamples: 60_000)
    #expect(timetable.learningRate.decay == .cosine(end: 4680))
    #expect(timetable.learningRate.rate(at: 4679) < 1e-7)
    #expect(timetable.learningRate.rate(at: 4679) > 0)
  }

  @Test func aWarmupBeyondTheEndStaysFinite() {
    let schedule = LearningRateSchedule(base: 1, warmupSteps: 20, decay: .cosine(end: 10))
    #expect((0..<30).allSatisfy { (0...1).contains(schedule.rate(at: $0)) })
  }
}

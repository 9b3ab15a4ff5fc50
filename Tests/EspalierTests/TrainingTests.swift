import Espalier
import EspalierCore
import EspalierTopology
import Testing

@Suite struct TrainingTests {
  /// Ten equally frequent classes: chance is 0.1.
  @Test(arguments: [TrainingSetup.Method.static, .gse, .set])
  func aSparsePerceptronLearns(_ method: TrainingSetup.Method) throws {
    var setup = try TrainingSetup.perceptron(steps: 120)
    setup.method = method
    setup.interval = 10
    let (_, result, recorder) = try setup.train()
    #expect(result.testAccuracy > 0.8)
    #expect(result.testLoss < 1)
    #expect(result.history.count == 4)
    #expect(result.updates == (method == .static ? 0 : 10))
    let losses = recorder.steps.map(\.trainLoss)
    let (first, last) = (losses.prefix(10).reduce(0, +), losses.suffix(10).reduce(0, +))
    #expect(last < first / 2)
  }

  @Test func aConvolutionalNetworkLearns() throws {
    var setup = try TrainingSetup.convolutional(steps: 150)
    setup.options.augments = false
    setup.sparsity = 0.7
    setup.interval = 20
    let (_, result, _) = try setup.train()
    #expect(result.testAccuracy > 0.6)  // chance is 0.25
  }

  @Test func recordsAreComplete() throws {
    var setup = try TrainingSetup.perceptron(steps: 70)
    setup.interval = 20
    setup.options.logEvery = 3
    let (run, result, recorder) = try setup.train()
    #expect(recorder.steps.map(\.step) == Array(1...70))
    #expect(recorder.loggedSteps == Array(stride(from: 3, through: 70, by: 3)))
    #expect(recorder.epochs.map(\.epoch) == [1, 2, 3])
    let samples = (1...8).map { min(64 * $0, 500) }
    #expect(recorder.evaluated.map(\.samples) == samples + samples + samples)
    #expect(recorder.evaluated.allSatisfy { $0.count == 500 })
    #expect(recorder.evaluated.map(\.epoch) == [1, 2, 3].flatMap { [Int](repeating: $0, count: 8) })
    #expect(recorder.updates.map(\.step) == [21, 41, 61])
    #expect(result.steps == 70)
    #expect(result.epochs == 3)
    #expect(recorder.epochs.last?.testLoss == result.testLoss)
    #expect(recorder.steps.map(\.learningRate) == (0..<70).map { run.trainer.timetable.learningRate.rate(at: $0) })
    #expect(recorder.steps[30].epoch == 1)
    let first = recorder.steps.prefix(31).reduce(0) { $0 + $1.trainLoss } / 31
    #expect(abs(recorder.epochs[0].trainLoss - first) < 1e-12)
    #expect(result.trainSeconds > 0)
    #expect(result.stepMillisecondsMedian > 0)
    #expect(try #require(result.updateMillisecondsMedian) > 0)
    setup.method = .static
    #expect(try setup.train().1.updateMillisecondsMedian == nil)
  }

  /// Phases lie within the steps; activations are there once the forward pass has made them.
  @Test func phasesAreCounted() throws {
    let setup = try TrainingSetup.convolutional()
    let (run, result, _) = try setup.train()
    #expect(result.phases.map(\.name) == TrainingPhase.allCases.map(\.name))
    #expect(result.phases.allSatisfy { $0.seconds > 0 })
    #expect(result.phases.reduce(0) { $0 + $1.seconds } <= result.trainSeconds)
    let bytes = Dictionary(uniqueKeysWithValues: result.phases.map { ($0.name, $0.peakBytes) })
    let (data, forward) = (try #require(bytes["data"]), try #require(bytes["forward"]))
    // 40 samples of 8 channels of 8 x 8: the first convolution's output and its norm's, kept for backward.
    let kept = 2 * 4 * 40 * 8 * 64
    #expect(forward - data >= kept)
    let reading = run.context.meter.reading
    #expect(result.phases.allSatisfy { $0.peakBytes <= reading.peakWeightBytes + reading.peakActivationBytes })
    #expect(result.phases.allSatisfy { $0.peakBytes >= reading.weightBytes / 2 })
  }

  @Test func phasesWithinPhasesCountOnce() throws {
    let context = try ComputeContext(threads: 1)
    let clock = PhaseClock(context: context, seconds: [1, 2, 3, 4, 5, 6], peakBytes: [0, 0, 0, 0, 0, 1_000_000_000])
    let started = ContinuousClock.now
    try #require(throws: CancellationError.self) {
      try clock.measure(.inputGradient) {
        clock.measure(.weightGradient) {
          let kept = context.pool.activations(ActivationShape(samples: 8, channels: 1 << 12))
          clock.measure(.growth) { while ContinuousClock.now - started < .milliseconds(3) {} }
          withExtendedLifetime(kept) {}
        }
        throw CancellationError()
      }
    }
    let elapsed = (ContinuousClock.now - started).components
    let added = zip(clock.seconds, [1, 2, 3, 4, 5, 6]).map { $0 - $1 }
    #expect(added[TrainingPhase.growth.rawValue] > 0 && added[TrainingPhase.inputGradient.rawValue] > 0)
    let seconds = Double(elapsed.seconds) + Double(elapsed.attoseconds) * 1e-18
    #expect(added.reduce(0, +) <= seconds + 1e-9)
    #expect(added[TrainingPhase.data.rawValue] == 0 && added[TrainingPhase.optimizer.rawValue] == 0)
    #expect(clock.peakBytes[TrainingPhase.growth.rawValue] >= 131_072)
    #expect(clock.peakBytes[TrainingPhase.data.rawValue] == 0)
    #expect(clock.peakBytes[TrainingPhase.optimizer.rawValue] == 1_000_000_000)
  }

  @Test(arguments: [TrainingSetup.Method.gse, .set], SelectionScope.allCases)
  func theBudgetIsMetExactlyAfterEveryUpdate(_ method: TrainingSetup.Method, scope: SelectionScope) throws {
    var setup = try TrainingSetup.convolutional(steps: 40)
    setup.method = method
    setup.scope = scope
    let run = try setup.make()
    let counts = run.model.connectionCounts
    let budget = counts.reduce(0, +)
    #expect(budget == Int((0.2 * Double(setup.spec.sparsifiableWeights)).rounded()))
    let before = run.model.activeConnections
    let recorder = TrainingRecorder()
    recorder.onUpdate = { record in
      #expect(record.nnz == budget)
      #expect(run.model.connections == budget)
      #expect(run.model.activeConnections.count == budget)
      for (parameter, layer) in zip(run.model.sparseParameters, record.layers) {
        try parameter.matrix.structure.check(name: layer.name)
        #expect(layer.name == parameter.layerName)
        #expect(layer.nnz == parameter.count)
        #expect(layer.nnz >= 1)
        #expect(parameter.gradient.count == parameter.count)
        #expect(parameter.optimizerState.allSatisfy { $0.count == parameter.count })
      }
      if scope == .local { #expect(run.model.connectionCounts == counts) }
    }
    let result = try run.trainer.run(observer: recorder)
    #expect(result.updates == 7)
    #expect(recorder.updates.allSatisfy { $0.grown > 0 })
    #expect(run.model.activeConnections != before)
  }

  @Test func aStaticTopologyNeverChanges() throws {
    var setup = try TrainingSetup.convolutional()
    setup.method = .static
    let run = try setup.make()
    let structures = run.model.sparseParameters.map(\.matrix.structure)
    let weights = run.model.sparseParameters.map(\.weights)
    let result = try run.trainer.run(observer: TrainingRecorder())
    #expect(zip(run.model.sparseParameters, structures).allSatisfy { $0.matrix.structure === $1 })
    #expect(zip(run.model.sparseParameters, weights).allSatisfy { $0.weights != $1 }, "but its weights do")
    #expect(result.updates == 0)
  }

  @Test func dataOfOtherClassesAreRefused() throws {
    var setup = try TrainingSetup.perceptron(steps: 1)
    setup.dataset = try .synthetic(trainCount: 100, testCount: 10, classes: 3)
    expectError(.usage, naming: "mlp: has 10 classes, data set synthetic has 3") { _ = try setup.make() }
  }

  // MARK: Divergence

  @Test func aRateThatIsMuchTooHighDiverges() throws {
    var setup = try TrainingSetup.perceptron(steps: 200)
    setup.options.learningRate = 1e6
    setup.options.warmupEpochs = 0
    let run = try setup.make()
    let recorder = TrainingRecorder()
    let error = #expect(throws: EspalierError.self) { try run.trainer.run(observer: recorder) }
    #expect(error?.kind == .diverged)
    #expect(error?.message.contains("diverged at step \(recorder.steps.count + 1):") == true)
    #expect(recorder.steps.allSatisfy { $0.trainLoss.isFinite })
  }

  @Test(arguments: [Float.nan, .infinity])
  func aWeightThatIsNotFiniteDiverges(_ value: Float) throws {
    let run = try TrainingSetup.perceptron(steps: 10).make()
    run.model.sparseParameters[2].withMutableValues { $0[0] = value }
    expectError(.diverged, naming: "diverged at step 1:") {
      _ = try run.trainer.run(observer: TrainingRecorder())
    }
  }

  @Test func anErrorOfTheObserverEndsTheRun() throws {
    let run = try TrainingSetup.perceptron(steps: 10).make()
    let recorder = TrainingRecorder()
    recorder.onStep = { if $0.step == 4 { throw EspalierError.write("disk full") } }
    expectError(.write, saying: "disk full") { _ = try run.trainer.run(observer: recorder) }
    #expect(recorder.steps.count == 4)
  }
}

import Espalier
import EspalierCore
import Testing

/// Optimizers and models that the library does not know.
@Suite struct OwnOptimizerTests {
  /// SGD of the library, `factor` times as fast.
  private struct Wrapped: Optimizer {
    let base = SGD()
    var factor = 1.0
    var stateNames: [String] { base.stateNames }

    func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext) {
      base.step(parameters, number: number, learningRate: factor * learningRate, context: context)
    }
  }

  /// Two states, and the number of the step, in a rule of no merit.
  private struct Odd: Optimizer {
    var stateNames = ["slow", "fast"]
    /// How many of them it makes.
    var buffers = 2

    func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext) {
      for parameter in parameters {
        if parameter.optimizerState.isEmpty {
          parameter.optimizerState = (0..<buffers).map { _ in parameter.makeOptimizerState() }
        }
        let (gradient, state) = (parameter.gradient, parameter.optimizerState)
        parameter.withMutableValues { values in
          for i in values.indices {
            for (buffer, part) in zip(state, [Float(0.1), 0.5]) { buffer[i] += part * (gradient[i] - buffer[i]) }
            values[i] -= Float(learningRate) * (state[0][i] + state[buffers - 1][i] / Float(number))
          }
        }
      }
    }
  }

  /// A run of a model that the catalogue does not have.
  private func saved(_ optimizer: (any Optimizer)?) throws -> SavedRun {
    let spec = try ModelSpec(
      name: "own", input: FeatureSize(channels: 1, height: 28, width: 28), classes: 10,
      layers: [.flatten, .linear(name: "first", outputs: 40), .gelu, .linear(name: "second", outputs: 10)])
    return try SavedRun {
      $0.optimizer = optimizer
      $0.spec = spec
    }
  }

  private func save(_ saved: SavedRun, after step: Int) throws -> TrainingRun {
    let run = try saved.setup.make()
    _ = try run.trainer.run(observer: StoppingObserver(after: step))
    var information = saved.information
    information.model.name = "own"
    try saved.store.save(run.trainer, information, configuration: "", data: "", best: nil)
    return run
  }

  @Test func isTheOneThatMovesTheWeights() throws {
    var setup = try TrainingSetup.perceptron(steps: 25, hidden: [32, 16])
    let hash = try setup.train().run.model.weightsSHA256
    setup.optimizer = Wrapped()
    #expect(try setup.train().run.model.weightsSHA256 == hash)
    setup.optimizer = Wrapped(factor: 1.5)
    #expect(try setup.train().run.model.weightsSHA256 != hash)
  }

  @Test(arguments: [1, 35]) func aResumedRunEndsAsIfItHadNeverStopped(_ step: Int) throws {
    let saved = try saved(Odd())
    let whole = try saved.setup.train().run
    let stopped = try save(saved, after: step)
    let path = saved.store.path(step: step)
    let context = try ComputeContext(threads: 3)
    let second = try saved.setup.make(
      model: Checkpoint(path: path, spec: saved.setup.spec).sparseModel(context: context), context)
    let state = try #require(saved.store.newest { _, reason in Issue.record("\(reason)") })
    try saved.store.restore(second.trainer, step: step, state: state.state)
    for (a, b) in zip(second.model.parameters, stopped.model.parameters) {
      #expect(a.optimizerState.count == 2 && a.optimizerState.map(\.array) == b.optimizerState.map(\.array))
    }
    #expect(try second.trainer.run().isFinished)
    #expect(second.model.weightsSHA256 == whole.model.weightsSHA256)
    #expect(second.trainer.progress.peakWeightStateBytes == whole.trainer.progress.peakWeightStateBytes)
  }

  @Test func anotherOptimizersStateIsRefused() throws {
    let saved = try saved(Odd())
    _ = try save(saved, after: 20)
    let state = try #require(saved.store.newest { _, _ in })
    for other: (any Optimizer)? in [nil, AdamW(), Odd(stateNames: ["slow", "quick"])] {
      var setup = saved.setup
      setup.optimizer = other
      expectError(.input, naming: saved.store.path(step: 20), saying: #"["fast", "slow"] of another optimizer"#) {
        try saved.store.restore(setup.make().trainer, step: 20, state: state.state)
      }
    }
  }

  @Test func stateThatHasNoNameIsRefused() throws {
    let saved = try saved(Odd(stateNames: ["slow"]))
    expectError(.usage, naming: "Odd", saying: "first.weight") { _ = try save(saved, after: 3) }
    let twice = try self.saved(Odd(stateNames: ["slow", "slow"]))
    expectError(.usage, naming: "Odd", saying: "different") { _ = try twice.setup.make() }
  }

  @Test func aCheckpointOfAModelWithoutANameNeedsItsDescription() throws {
    let saved = try saved(nil)
    let run = try save(saved, after: 5)
    let path = saved.store.path(step: 5)
    expectError(.input, naming: path, saying: "'own' is unknown") { _ = try Checkpoint(path: path) }
    let context = try ComputeContext(threads: 1)
    let opened = try Checkpoint(path: path, spec: saved.setup.spec)
    #expect(opened.spec == saved.setup.spec && opened.information.model.name == "own" && opened.isSparse)
    #expect(try opened.sparseModel(context: context).weightsSHA256 == run.model.weightsSHA256)
    let other = try Checkpoint(path: path, spec: TrainingSetup.perceptron(steps: 1).spec)
    expectError(.input, naming: path) { _ = try other.sparseModel(context: context) }
  }
}

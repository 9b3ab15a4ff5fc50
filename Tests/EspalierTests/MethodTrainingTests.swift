import Espalier
import EspalierCore
import EspalierTopology
import Testing

/// Every method in the trainer: budgets at every step, memory, operations, threads.
@Suite struct MethodTrainingTests {
  private static let schedule = UpdateSchedule(interval: 5, end: 22, fraction: 0.3)

  enum Method: CaseIterable {
    case grabo, graest, exact, originalSET, dsr, deepr, mest, itop, rigl, globalRigL, granet, snfs, topkast

    func updater(for model: Model) throws -> any TopologyUpdater {
      let schedule = MethodTrainingTests.schedule
      return switch self {
      case .grabo: try GSE(schedule: schedule, guide: .grabo)
      case .graest: try GSE(schedule: schedule, guide: .graest, scope: .global)
      case .exact: try GSE(schedule: schedule, guide: .grabo, subsetSize: .exact)
      case .originalSET: try SET(schedule: schedule, rule: .original)
      case .dsr: DSR(schedule: schedule, threshold: 0.05)
      case .deepr: DeepR(recordEvery: 5, decay: 0.02, temperature: 1e-6)
      case .mest: MEST(schedule: schedule)
      case .itop: SET(schedule: ITOP.schedule(interval: 5, end: 22))
      case .rigl: RigL(schedule: schedule)
      case .globalRigL: RigL(schedule: schedule, scope: .global)
      case .granet:
        try GraNet(
          schedule: schedule, startConnections: model.connections, finalConnections: model.connections / 2)
      case .snfs: try SNFS(schedule: schedule)
      case .topkast: TopKAST(schedule: schedule)
      }
    }

    /// A model to begin with.
    func model(_ setup: TrainingSetup, _ context: ComputeContext) throws -> Model {
      let random = CounterRandom(seed: setup.options.seed)
      guard self == .topkast else {
        return try Model(sparse: setup.spec, sparsity: setup.sparsity, random: random, context: context)
      }
      return try Model(
        topKAST: setup.spec, sparsity: setup.sparsity, backwardSparsity: 2 * setup.sparsity - 1, random: random,
        context: context)
    }

    /// Whether connections move after steps of the optimizer, not in their place.
    var movesAfterSteps: Bool { self == .deepr || self == .topkast }
  }

  private struct Run {
    let model: Model
    let trainer: Trainer
    let context: ComputeContext
  }

  private func make(
    _ method: Method, mode: UpdateMode, threads: Int, _ setup: TrainingSetup
  ) throws -> Run {
    let context = try ComputeContext(threads: threads)
    let model = try method.model(setup, context)
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      updater: method.updater(for: model), updateMode: mode, context: context)
    return Run(model: model, trainer: trainer, context: context)
  }

  @Test(arguments: Method.allCases, UpdateMode.allCases)
  func keepsItsBudgetAndTheBitsOfOneThread(method: Method, mode: UpdateMode) throws {
    let setup = try TrainingSetup.convolutional()
    var hashes: Set<String> = []
    for threads in [1, 2, 3] {
      let run = try make(method, mode: mode, threads: threads, setup)
      let start = run.model.connections
      let updater = try method.updater(for: run.model)
      let recorder = TrainingRecorder()
      var moved = 0
      recorder.onUpdate = { record in
        #expect(record.nnz == updater.connections(afterStep: record.step - 1, startingWith: start))
        #expect(record.layers.allSatisfy { $0.nnz > 0 })
        moved += record.grown
      }
      var budget = start
      recorder.onStep = { record in
        if updater.schedule.isUpdate(step: record.step - 1) {
          budget = updater.connections(afterStep: record.step - 1, startingWith: start)
        }
        #expect(run.model.connections == budget)
      }
      let result = try run.trainer.run(observer: recorder)
      #expect(recorder.updates.map(\.step) == (method.movesAfterSteps ? [5, 10, 15, 20] : [6, 11, 16, 21]))
      #expect(moved > 0)
      if method == .granet { #expect(run.model.connections == start / 2) }
      #expect(result.testLoss.isFinite)
      hashes.insert(run.model.weightsSHA256)
    }
    #expect(hashes.count == 1)
  }

  /// Large enough for the rule against dense buffers to bite, and for tiles to be lower than the layer.
  @Test(arguments: Method.allCases)
  func neverGoesDense(method: Method) throws {
    var setup = try TrainingSetup.perceptron(steps: 24, hidden: [256, 64])
    setup.sparsity = 0.97
    let run = try make(method, mode: .replace, threads: 2, setup)
    _ = try run.trainer.run(observer: TrainingRecorder())
    #expect(run.context.meter.reading.violations.isEmpty)
    // The first layer's dense form takes 256 * 784 * 4 bytes.
    #expect(run.context.meter.reading.largestWeightBuffer < 256 * 784 * 4)
  }

  /// What an update looks at, by hand. 8 x 8 and 4 x 4 positions, then linear layers.
  @Test(arguments: [Method.grabo, .graest, .originalSET, .mest, .rigl, .deepr])
  func operationsAreCounted(method: Method) throws {
    let setup = try TrainingSetup.convolutional()
    let run = try make(method, mode: .replace, threads: 1, setup)
    let (rows, columns, positions) = ([8, 16, 32, 4], [9, 72, 64, 32], [64, 16, 1, 1])
    func flops(_ counts: [Int]) -> Int {
      var sum = 0
      for (count, uses) in zip(counts, positions) { sum += 2 * count * uses }
      return sum
    }
    var counts = run.model.connectionCounts
    let recorder = TrainingRecorder()
    let result = try run.trainer.run(observer: recorder)
    var total = 0
    for step in 1...24 {
      let update = method == .deepr ? nil : recorder.updates.first { $0.step == step }
      guard let update else {
        total += 3 * flops(counts)
        continue
      }
      total += 2 * flops(counts)
      switch method {
      case .grabo: total += flops(update.layers.map(\.candidates)) + flops(rows) + 2 * (64 + 128 + 64 + 32)
      case .graest: total += flops(update.layers.map(\.candidates)) + flops(rows) + flops(columns)
      case .mest: total += flops(counts)
      case .rigl: total += flops(zip(rows, columns).map { $0 * $1 })
      default: break
      }
      counts = update.layers.map(\.nnz)
    }
    #expect(abs(result.trainFlopsPerSample - Double(total) / 24) < 1e-6 * Double(total))
  }

  /// Two thirds of a step's operations on what is used, one third on what is trained.
  @Test func topKASTCountsBothSets() throws {
    let setup = try TrainingSetup.convolutional()
    let run = try make(.topkast, mode: .replace, threads: 1, setup)
    func flops(_ counts: [Int]) -> Int { zip(counts, [64, 16, 1, 1]).reduce(0) { $0 + 2 * $1.0 * $1.1 } }
    let used = run.model.connectionCounts
    let unused = try run.model.sparseParameters.map { try #require($0.backward).count }
    #expect(unused == zip(used, [72, 1152, 2048, 128]).map { min(2 * $0, $1) - $0 })
    let recorder = TrainingRecorder()
    recorder.onUpdate = { record in
      #expect(record.layers.map(\.backward) == (record.step < 20 ? unused : [nil, nil, nil, nil]))
      #expect(zip(record.layers, unused).allSatisfy { $0.candidates >= $1 })
    }
    let result = try run.trainer.run(observer: recorder)
    #expect(result.updates == 4)
    let expected = Double(24 * 3 * flops(used) + 20 * flops(unused)) / 24
    #expect(abs(result.trainFlopsPerSample - expected) < 1e-9 * expected)
  }

  /// What is saved is what is used: evaluated again, it gives the run's last loss.
  @Test func topKASTSavesWhatIsUsed() throws {
    let setup = try TrainingSetup.perceptron(steps: 12, hidden: [32, 16])
    let run = try make(.topkast, mode: .replace, threads: 2, setup)
    let result = try run.trainer.run(observer: TrainingRecorder())
    #expect(run.model.sparseParameters.allSatisfy { $0.backward != nil }, "it still explores")
    let folder = try SafetensorsFolder()
    let information = Checkpoint.Information(
      model: ModelCatalog.Request(
        name: "mlp", hidden: [32, 16], images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10),
      dataset: "synthetic", method: "topkast", seed: 0, step: 12, batchSize: 64)
    try Checkpoint.save(run.model, information, to: folder.path + "/saved")
    let saved = try Checkpoint(path: folder.path + "/saved").sparseModel(context: run.context)
    #expect(saved.connections == run.model.connections && saved.weightsSHA256 == run.model.weightsSHA256)
    #expect(saved.sparseParameters.allSatisfy { $0.backward == nil })
    let evaluator = try Evaluator(
      dataset: setup.dataset, normalization: TrainingSetup.normalization, spec: setup.spec, batchSize: 64,
      context: run.context)
    #expect(try evaluator(saved).mean == result.testLoss)
  }

  /// Weights that are not used are drawn to zero 1 / density times as strongly as others.
  @Test(arguments: OptimizerKind.allCases)
  func weightDecayIsStrongerOnWhatIsNotUsed(kind: OptimizerKind) throws {
    let setup = try TrainingSetup.perceptron(steps: 12, hidden: [32, 16])
    let run = try make(.topkast, mode: .replace, threads: 1, setup)
    let layer = run.model.sparseParameters[0]
    let backward = try #require(layer.backward)
    let optimizer: any Optimizer =
      kind == .sgd ? SGD(momentum: 0, weightDecay: 0.001) : AdamW(weightDecay: 0.001)
    let (used, unused) = (layer.matrix.withValues { $0[0] }, backward.weights.values[0])
    optimizer.step([layer, backward], number: 1, learningRate: 0.5, context: run.context)
    let density = layer.matrix.density
    #expect(abs(layer.matrix.withValues { $0[0] } / used - (1 - 0.0005)) < 1e-6)
    #expect(abs(backward.weights.values[0] / unused - Float(1 - 0.0005 / density)) < 1e-6)
    // Never so that a step takes away more than there is.
    let strong: any Optimizer = kind == .sgd ? SGD(momentum: 0, weightDecay: 1) : AdamW(weightDecay: 1)
    backward.optimizerState = []
    strong.step([backward], number: 1, learningRate: 0.5, context: run.context)
    #expect(abs(backward.weights.values[0]) < 1e-6)
  }

  /// Inputs and outputs without a connection, and what was ever active, layer by layer.
  @Test func recordsTellOfEachLayer() throws {
    let setup = try TrainingSetup.convolutional()
    let run = try make(.rigl, mode: .replace, threads: 1, setup)
    var explored = run.model.activeConnections
    let recorder = TrainingRecorder()
    recorder.onUpdate = { record in
      let active = run.model.activeConnections
      explored.formUnion(active)
      for (i, layer) in record.layers.enumerated() {
        let matrix = run.model.sparseParameters[i].matrix
        let mine = active.filter { $0.layer == i }
        #expect(layer.nnz == mine.count)
        #expect(layer.emptyRows == matrix.rows - Set(mine.map(\.row)).count)
        #expect(layer.emptyColumns == matrix.columns - Set(mine.map(\.column)).count)
        let rate = Double(explored.count { $0.layer == i }) / Double(matrix.rows * matrix.columns)
        #expect(abs((layer.explorationRate ?? .nan) - rate) < 1e-12)
      }
    }
    _ = try run.trainer.run(observer: recorder)
    #expect(recorder.updates.count == 4)
  }
}

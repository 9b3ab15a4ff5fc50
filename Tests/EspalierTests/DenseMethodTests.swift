import EspalierBaselines
import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

import Espalier

/// Methods that are dense by nature: what they prune and grow against plain sorting, their budgets, and that they resume.
@Suite struct DenseMethodTests {
  enum Method: CaseIterable {
    case cubic, cosine, global, lottery, lateLottery, snfs

    var isLottery: Bool { self == .lottery || self == .lateLottery }

    /// Of gradual pruning to nine tenths.
    func sparsity(afterPruningAt step: Int, of last: Int) -> Double? {
      let done = Double(step) / Double(last)
      return switch self {
      case .cubic, .global: 0.9 * (1 - pow(1 - done, 3))
      case .cosine: 0.9 * (1 - cos(Double.pi * done)) / 2
      case .lottery, .lateLottery, .snfs: nil
      }
    }
  }

  private struct Run {
    let model: Model
    let method: any DenseMethod
    let trainer: Trainer
    let context: ComputeContext
  }

  private static let schedule = UpdateSchedule(interval: 5, end: 22, fraction: 0.3)

  private func setup() throws -> TrainingSetup {
    var setup = try TrainingSetup.convolutional(steps: 24)
    setup.sparsity = 0.9
    return setup
  }

  private func denseModel(_ setup: TrainingSetup, _ context: ComputeContext) throws -> Model {
    let random = CounterRandom(seed: setup.options.seed)
    return try Model(
      setup.spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
  }

  private func method(
    _ method: Method, _ model: Model, _ setup: TrainingSetup, isResumed: Bool = false, _ context: ComputeContext
  ) throws -> any DenseMethod {
    func gradual(_ decay: GradualPruning.Decay, _ scope: SelectionScope) throws -> GradualPruning {
      try GradualPruning(
        model, schedule: Self.schedule, sparsity: setup.sparsity, decay: decay, scope: scope, context: context)
    }
    func lottery(_ step: Int, _ scope: SelectionScope) throws -> LotteryTickets {
      try LotteryTickets(
        model, rounds: 3, stepsPerRound: 8, rewindStep: step, sparsity: setup.sparsity, scope: scope, context: context)
    }
    return switch method {
    case .cubic: try gradual(.cubic, .local)
    case .cosine: try gradual(.cosine, .local)
    case .global: try gradual(.cubic, .global)
    case .lottery: try lottery(0, .global)
    case .lateLottery: try lottery(3, .local)
    case .snfs:
      try ExactSNFS(
        model,
        start: isResumed
          ? nil
          : Model(
            sparse: setup.spec, sparsity: setup.sparsity, random: CounterRandom(seed: setup.options.seed),
            context: context),
        schedule: Self.schedule, context: context)
    }
  }

  private func make(
    _ method: Method, threads: Int = 2, checkpoint: (ComputeContext) throws -> Model? = { _ in nil }
  ) throws -> Run {
    var setup = try setup()
    if method.isLottery { setup.options.rounds = 3 }
    let context = try ComputeContext(threads: threads)
    let saved = try checkpoint(context)
    let model = try saved ?? denseModel(setup, context)
    let denseMethod = try self.method(method, model, setup, isResumed: saved != nil, context)
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      denseMethod: denseMethod, context: context)
    return Run(model: model, method: denseMethod, trainer: trainer, context: context)
  }

  /// Values of each layer, dense.
  private func values(_ model: Model) -> [[Float]] { model.denseWeights.map { $0.values.array } }

  /// Whether each weight lives, by layer.
  private func live(_ model: Model) -> [[Bool]] {
    model.denseWeights.map { parameter in
      guard let mask = parameter.mask else { return parameter.values.array.map { _ in true } }
      return (0..<mask.rows * mask.columns).map { mask[$0 / mask.columns, $0 % mask.columns] }
    }
  }

  /// The k largest magnitudes of the listed layers among those that live, each layer's first largest with them.
  private func largest(_ k: Int, of values: [[Float]], among live: [[Bool]], layers: [Int]) -> Set<[Int]> {
    let ranked = layers.flatMap { layer in
      values[layer].indices.filter { live[layer][$0] }.map {
        (score: abs(Double(values[layer][$0])), layer: layer, place: $0)
      }
    }.sorted { ($1.score, $0.layer, $0.place) < ($0.score, $1.layer, $1.place) }
    let first = layers.map { layer in ranked.firstIndex { $0.layer == layer }! }
    let rest = ranked.indices.filter { !first.contains($0) }.prefix(k - first.count)
    return Set((first + rest).map { [ranked[$0].layer, ranked[$0].place] })
  }

  private func set(_ live: [[Bool]]) -> Set<[Int]> {
    Set(live.enumerated().flatMap { layer, flags in flags.indices.filter { flags[$0] }.map { [layer, $0] } })
  }

  private func expectDeadAreZero(_ model: Model, state: Bool) {
    for (parameter, flags) in zip(model.denseWeights, live(model)) {
      let buffers = [parameter.values] + (state ? parameter.optimizerState : [])
      for buffer in buffers { #expect(zip(buffer.array, flags).allSatisfy { $1 || $0 == 0 }) }
    }
  }

  // MARK: Selections

  /// Each pruning by itself, between steps of an ordinary training.
  @Test(arguments: [Method.cubic, .cosine, .global]) func gradualPruningDropsTheSmallest(_ method: Method) throws {
    let setup = try setup()
    let context = try ComputeContext(threads: 2)
    let model = try denseModel(setup, context)
    let pruning = try self.method(method, model, setup, context)
    let sizes = setup.spec.weightLayers.map(\.shape.size)
    let total = sizes.reduce(0, +)
    var random = LayerRandom(seed: 3)
    for step in 0..<24 {
      for parameter in model.denseWeights {
        parameter.withMutableValues { for i in $0.indices where $0[i] != 0 { $0[i] += random.floats(1)[0] } }
      }
      let (before, living) = (values(model), live(model))
      let record = try pruning.didStep(step)
      guard let record else {
        #expect(live(model) == living && ![5, 10, 15, 20, 22].contains(step + 1))
        continue
      }
      #expect([5, 10, 15, 20, 22].contains(step + 1) && record.step == step + 1)
      let progress = Double(step + 1) / 22
      let sparsity = method == .cosine ? 0.45 * (1 - cos(Double.pi * progress)) : 0.9 * (1 - pow(1 - progress, 3))
      let k = Int(((1 - sparsity) * Double(total)).rounded())
      #expect(record.nnz == k)
      if method == .global {
        #expect(set(live(model)) == largest(k, of: before, among: living, layers: [0, 1, 2, 3]))
      } else {
        for (layer, nnz) in record.layers.map(\.nnz).enumerated() {
          #expect(abs(Double(nnz) - (1 - sparsity) * Double(sizes[layer])) <= 1)
          let expected = largest(nnz, of: before, among: living, layers: [layer])
          #expect(set(live(model)).filter { $0[0] == layer } == expected)
        }
      }
      for (old, (new, flags)) in zip(before, zip(values(model), live(model))) {
        #expect(zip(old, zip(new, flags)).allSatisfy { $1.1 ? $1.0 == $0 : $1.0 == 0 })
      }
    }
    #expect(model.connectionCounts.reduce(0, +) == Int((0.1 * Double(total)).rounded()))
  }

  @Test(arguments: [0, 3]) func ticketsAreRewound(rewindStep: Int) throws {
    var setup = try setup()
    setup.options.maxSteps = 8
    let context = try ComputeContext(threads: 2)
    let model = try denseModel(setup, context)
    let tickets = try LotteryTickets(
      model, rounds: 3, stepsPerRound: 8, rewindStep: rewindStep, sparsity: 0.9, scope: .global, context: context)
    let trainer = try Trainer(
      model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
      context: context)
    var start = values(model)
    var other = SpecOracle(model).numbers
    let recorder = TrainingRecorder()
    recorder.onStep = { record in
      guard record.step == rewindStep else { return }
      let restart = try tickets.willStep(record.step)
      #expect(restart == nil)
      start = values(model)
      other = SpecOracle(model).numbers
    }
    if rewindStep == 0 { recorder.onStep = { _ in } }
    _ = try trainer.run(observer: recorder)
    let trained = values(model)
    #expect(trained != start)
    let record = try #require(try tickets.willStep(8))
    let total = setup.spec.sparsifiableWeights
    let k = Int((0.1.squareRoot() * Double(total)).rounded())
    #expect(record.nnz == k && abs(tickets.sparsity(ofRound: 1) - (1 - 0.1.squareRoot())) < 1e-12)
    #expect(tickets.sparsity(ofRound: 0) == 0 && tickets.sparsity(ofRound: 2) == 0.9)
    let all = trained.map { $0.map { _ in true } }
    #expect(set(live(model)) == largest(k, of: trained, among: all, layers: [0, 1, 2, 3]))
    for (old, (new, flags)) in zip(start, zip(values(model), live(model))) {
      #expect(zip(old, zip(new, flags)).allSatisfy { $1.1 ? $1.0 == $0 : $1.0 == 0 })
    }
    let rewound = SpecOracle(model).numbers
    for name in ["bn1.weight", "bn1.running_mean", "bn2.running_var", "linear1.bias", "conv1.bias"] {
      #expect(rewound[name] == other[name] && rewound[name] != nil, "\(name)")
    }
  }

  /// One update of weights and momenta made up for it, by plain sorting.
  @Test func exactSNFSGrowsByTheMomentumOfAll() throws {
    let setup = try setup()
    let context = try ComputeContext(threads: 1)
    let model = try denseModel(setup, context)
    let snfs = try self.method(.snfs, model, setup, context)
    let start = try Model(
      sparse: setup.spec, sparsity: 0.9, random: CounterRandom(seed: setup.options.seed), context: context)
    #expect(model.connectionCounts == start.connectionCounts)
    let oracle = (SpecOracle(start).numbers, SpecOracle(model).numbers)
    #expect(oracle.0 == oracle.1)
    var random = LayerRandom(seed: 5)
    for parameter in model.denseWeights {
      let momentum = parameter.makeOptimizerState()
      for i in 0..<momentum.count { momentum[i] = random.floats(1)[0] }
      parameter.optimizerState = [momentum]
    }
    let (before, living) = (values(model), live(model))
    #expect(try snfs.didStep(4) == nil)
    let record = try #require(try snfs.didStep(5))
    let fraction = 0.15 * (1 + cos(Double.pi * 5 / 22))
    let counts = living.map { $0.count { $0 } }
    let dropped = counts.map { min($0 - 1, Int((fraction * Double($0)).rounded(.up))) }
    let means = zip(model.denseWeights, living).map { parameter, flags in
      zip(parameter.optimizerState[0].array, flags).reduce(0.0) { $1.1 ? $0 + Double(abs($1.0)) : $0 }
        / Double(flags.count { $0 })
    }
    #expect(record.layers.map(\.pruned) == dropped)
    #expect(record.nnz == counts.reduce(0, +) && record.grown == dropped.reduce(0, +))
    for (layer, grown) in record.layers.map(\.grown).enumerated() {
      let share = Double(dropped.reduce(0, +)) * means[layer] / means.reduce(0, +)
      #expect(abs(Double(grown) - share) <= 1)
      let kept = largest(counts[layer] - dropped[layer], of: before, among: living, layers: [layer])
      let momentum = model.denseWeights.map { $0.optimizerState[0].array }
      let dead = living.enumerated().map { l, flags in flags.indices.map { l == layer && !kept.contains([l, $0]) } }
      let new = largest(grown, of: momentum, among: dead, layers: [layer])
      #expect(set(live(model)).filter { $0[0] == layer } == kept.union(new))
      for place in new { #expect(values(model)[layer][place[1]] == 0) }
      for place in kept { #expect(values(model)[layer][place[1]] == before[layer][place[1]]) }
    }
  }

  // MARK: Runs

  @Test(arguments: Method.allCases) func budgetsOperationsAndThreads(_ method: Method) throws {
    var hashes: Set<String> = []
    for threads in [1, 2, 3] {
      let run = try make(method, threads: threads)
      let spec = run.model.spec
      let start = run.model.connectionCounts
      let recorder = TrainingRecorder()
      var flops = 0.0
      var counts = start
      recorder.onStep = { record in
        // Lottery tickets prune before a step, the others after it.
        let now = run.model.connectionCounts
        let used = method.isLottery ? now : counts
        let forward = Double(spec.forwardFlops(connections: used))
        flops += method == .snfs ? 2 * forward + Double(spec.denseForwardFlops) : 3 * forward
        counts = now
        if method == .snfs { #expect(now.reduce(0, +) == start.reduce(0, +)) }
        if let sparsity = method.sparsity(afterPruningAt: [5, 10, 15, 20, 22].last { $0 <= record.step } ?? 0, of: 22) {
          #expect(now.reduce(0, +) == Int(((1 - sparsity) * Double(spec.sparsifiableWeights)).rounded()))
        }
        expectDeadAreZero(run.model, state: method != .snfs)
      }
      let result = try run.trainer.run(observer: recorder)
      #expect(recorder.steps.count == 24 && result.isFinished)
      let perStep = flops / 24 * Double(method.isLottery ? 3 : 1)
      #expect(abs(result.trainFlopsPerSample - perStep) <= 1e-9 * perStep)
      #expect(run.model.connectionCounts.reduce(0, +) == Int((0.1 * Double(spec.sparsifiableWeights)).rounded()))
      #expect(run.model.connectionCounts.allSatisfy { $0 > 0 })
      let expected = method.isLottery ? [9, 17] : method == .snfs ? [6, 11, 16, 21] : [5, 10, 15, 20, 22]
      #expect(recorder.updates.map(\.step) == expected)
      #expect(result.updates == expected.count)
      if method.isLottery {
        // Each round has the learning rates of the first.
        let rates = recorder.steps.map(\.learningRate)
        #expect(Array(rates[..<8]) == Array(rates[8..<16]) && Array(rates[..<8]) == Array(rates[16...]))
      }
      if method == .snfs {
        // Momentum of what is dead.
        let parameter = run.model.denseWeights[1]
        #expect(zip(parameter.optimizerState[0].array, live(run.model)[1]).contains { !$1 && $0 != 0 })
      }
      hashes.insert(run.model.weightsSHA256)
    }
    #expect(hashes.count == 1)
  }

  private final class Stop: TrainingObserver {
    let step: Int
    private var taken = 0
    init(_ step: Int) { self.step = step }
    var wantsStop: Bool { taken >= step }
    func didStep(_ record: StepRecord, isLogged: Bool) { taken = record.step }
  }

  /// Before, at and after prunings and the ends of rounds.
  @Test(arguments: Method.allCases, [2, 8, 10, 21]) func resumesBitForBit(_ method: Method, step: Int) throws {
    let whole = try make(method, threads: 1)
    let expected = try whole.trainer.run()
    let first = try make(method)
    _ = try first.trainer.run(observer: Stop(step))
    let folder = try SafetensorsFolder()
    let store = CheckpointStore(run: folder.path)
    // What is named of the model is not read: the specification is handed over.
    let information = Checkpoint.Information(
      model: ModelCatalog.Request(
        name: "mlp", hidden: [4], images: FeatureSize(channels: 1, height: 8, width: 8), classes: 4),
      dataset: "synthetic", method: "dense", seed: 0, step: step, batchSize: 40)
    try store.save(first.trainer, information, configuration: "", data: "", best: nil)
    let (saved, state) = try #require(store.newest { _, reason in Issue.record("\(reason)") })
    let second = try make(method, threads: 3) { context in
      let model = try denseModel(try setup(), context)
      let file = try SafetensorsFile(path: store.path(step: saved) + "/model.safetensors")
      for case .dense(let name, _, let values) in model.state {
        try file.read(name, into: UnsafeMutableRawBufferPointer(values.buffer))
      }
      return model
    }
    try store.restore(second.trainer, step: saved, state: state)
    let result = try second.trainer.run()
    #expect(second.model.weightsSHA256 == whole.model.weightsSHA256)
    #expect(live(second.model) == live(whole.model))
    #expect(result.history == expected.history && result.updates == expected.updates)
    #expect(result.trainFlopsPerSample == expected.trainFlopsPerSample)
  }

  @Test func whatCannotBeIsRefused() throws {
    let setup = try setup()
    let context = try ComputeContext(threads: 1)
    let model = try denseModel(setup, context)
    expectError(.usage, naming: "rounds:") {
      _ = try LotteryTickets(model, rounds: 1, stepsPerRound: 8, sparsity: 0.9, context: context)
    }
    expectError(.usage, naming: "rewind-step:") {
      _ = try LotteryTickets(model, rounds: 2, stepsPerRound: 8, rewindStep: 8, sparsity: 0.9, context: context)
    }
    expectError(.usage, naming: "sparsity:") {
      _ = try LotteryTickets(model, rounds: 2, stepsPerRound: 8, sparsity: 0.9999, context: context)
    }
    expectError(.usage, naming: "update-until:") {
      _ = try GradualPruning(
        model, schedule: UpdateSchedule(interval: 5, end: 0, fraction: 0.2), sparsity: 0.5, context: context)
    }
    let sparse = try Model(sparse: setup.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    expectError(.usage, naming: "small: has sparse layers") {
      _ = try GradualPruning(sparse, schedule: Self.schedule, sparsity: 0.5, context: context)
    }
  }
}

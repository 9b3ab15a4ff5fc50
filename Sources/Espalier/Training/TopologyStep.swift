import EspalierCore
import EspalierTopology

/// Lets an updater look at the layers during backward passes and carries out its changes.
final class TopologyStep {
  private var updater: any TopologyUpdater
  private let mode: UpdateMode
  private let model: Model
  private let random: CounterRandom
  private let context: ComputeContext
  private let auditedRows: Int
  private let ranks: RankGroup
  private let firstSample: Int
  private var connections: Int
  var exploration: [ExplorationTracker]
  /// What changes after optimizer steps came to since the last record.
  private var sinceRecord: [(grown: Int, pruned: Int)]

  init(
    updater: any TopologyUpdater, mode: UpdateMode, model: Model, auditedRows: Int, random: CounterRandom,
    ranks: RankGroup, firstSample: Int, context: ComputeContext
  ) throws {
    guard !model.sparseParameters.isEmpty else {
      throw EspalierError.usage("\(model.spec.name): has no sparse layers whose connections could move")
    }
    self.updater = updater
    self.mode = mode
    self.model = model
    self.auditedRows = auditedRows
    self.random = random
    self.ranks = ranks
    self.firstSample = firstSample
    self.context = context
    connections = model.connections
    exploration = model.sparseParameters.map { ExplorationTracker($0.matrix) }
    sinceRecord = model.sparseParameters.map { _ in (0, 0) }
  }

  /// What the rest of a run depends on beside the layers: for checkpoints.
  var snapshot: TopologySnapshot {
    get {
      TopologySnapshot(
        updater: updater.state, connections: connections, grown: sinceRecord.map(\.grown),
        pruned: sinceRecord.map(\.pruned))
    }
    set {
      updater.state = newValue.updater
      connections = newValue.connections
      sinceRecord = zip(newValue.grown, newValue.pruned).map { ($0, $1) }
    }
  }

  /// Connections ever active in any layer.
  var explored: Int? {
    exploration.reduce(0) { sum, tracker in
      guard let sum, let count = tracker.count else { return nil }
      return sum + count
    }
  }

  /// One update in progress: collects what the updater saw, layer by layer.
  final class Update {
    let step: Int
    let mode: UpdateMode
    fileprivate var candidates: [LayerCandidates?]
    fileprivate var audits: [GradientAudit?]
    /// Floating-point operations a sample that the updater asked of the layers.
    var exploredFlops = 0.0
    fileprivate let owner: TopologyStep
    /// What the updater took during the backward pass.
    fileprivate var elapsed = Duration.zero

    fileprivate init(step: Int, owner: TopologyStep) {
      self.step = step
      self.owner = owner
      mode = owner.mode
      candidates = [LayerCandidates?](repeating: nil, count: owner.model.sparseParameters.count)
      audits = [GradientAudit?](repeating: nil, count: candidates.count)
    }

    /// Adds another batch's gradients at a layer's candidates to what they compete by.
    func addScores(of site: some GradientSite) {
      guard var layer = candidates[site.parameter.index], let gradients = layer.gradients else { return }
      let probe = UpdateProbe(site: owner.shared(site), networkConnections: 0, update: self)
      let more = probe.gradients(at: layer.connections)
      owner.context.add(layer.scores ?? gradients, to: more)
      layer.scores = more
      candidates[site.parameter.index] = layer
    }

    /// Time that belongs to the update.
    func count(_ duration: Duration) { elapsed += duration }

    func finish() throws -> UpdateRecord { try owner.apply(self) }
  }

  /// An update, if `step` is one; the tape then shows its layers to the updater.
  func begin(step: Int, on tape: Tape) -> Update? {
    guard updater.schedule.isUpdate(step: step) else { return nil }
    let update = Update(step: step, owner: self)
    tape.computesSparseGradients = mode == .add
    let connections = model.connections
    tape.gradientSiteVisitor = { [self, updater, random, auditedRows] own in
      let site = shared(own)
      let started = ContinuousClock.now
      update.candidates[site.parameter.index] = try updater.candidates(
        in: UpdateProbe(site: site, networkConnections: connections, update: update), step: step, random: random)
      update.elapsed += ContinuousClock.now - started
      guard auditedRows > 0, let gse = updater as? GSE else { return }
      update.audits[site.parameter.index] = GradientAudit(
        rows: auditedRows, of: UpdateProbe(site: site, networkConnections: connections, update: nil), guide: gse.guide,
        step: step, random: random)
    }
    return update
  }

  /// A layer as all ranks see it together.
  private func shared(_ site: any GradientSite) -> any GradientSite {
    guard ranks.size > 1 else { return site }
    return SharedSite(site: site, ranks: ranks, firstSample: firstSample, context: context)
  }

  /// After an optimizer step: what the updater does at every step. Returns a record at the schedule's interval, if it does anything.
  func didStep(_ step: Int, learningRate: Double) throws -> UpdateRecord? {
    let started = ContinuousClock.now
    let parameters = model.sparseParameters
    guard
      let changes = try updater.changes(
        afterStep: step, of: parameters, learningRate: learningRate, random: random)
    else { return nil }
    for (i, (parameter, change)) in zip(parameters, changes).enumerated()
    where change.prunedCount > 0 || change.grownCount > 0 {
      try exploration[i].add(change.grown, to: parameter.matrix)
      try parameter.apply(change, threads: context.threads)
      exploration[i].forget(beyond: parameter.matrix.site)
      sinceRecord[i].grown += change.grownCount
      sinceRecord[i].pruned += change.prunedCount
    }
    try checkBudget(step: step)
    guard (step + 1) % updater.schedule.interval == 0 else { return nil }
    defer { sinceRecord = parameters.map { _ in (0, 0) } }
    return record(step: step, elapsed: ContinuousClock.now - started) {
      (changes[$0].examined, sinceRecord[$0].grown, sinceRecord[$0].pruned)
    }
  }

  private func apply(_ update: Update) throws -> UpdateRecord {
    let started = ContinuousClock.now
    let candidates = update.candidates.compactMap { $0 }
    guard candidates.count == model.sparseParameters.count else {
      throw EspalierError.invariant("update at step \(update.step + 1): a sparse layer saw no gradient")
    }
    try checkFinite(candidates, step: update.step)
    let changes = try updater.changes(for: candidates, step: update.step, random: random)
    for (i, (parameter, change)) in zip(model.sparseParameters, changes).enumerated() {
      try exploration[i].add(change.grown, to: parameter.matrix)
      try parameter.apply(change, threads: context.threads)
      exploration[i].forget(beyond: parameter.matrix.site)
    }
    try checkBudget(step: update.step)
    let elapsed = update.elapsed + (ContinuousClock.now - started)
    let audits = zip(update.audits, changes).map { audit, change in audit?.result(grown: change.grown) }
    return record(step: update.step, elapsed: elapsed, audits: audits) {
      (candidates[$0].examined, changes[$0].grownCount, changes[$0].prunedCount)
    }
  }

  /// Where the update replaces the optimizer's step, nothing else looks at this step's gradients.
  private func checkFinite(_ candidates: [LayerCandidates], step: Int) throws {
    for layer in candidates {
      let gradients = [layer.gradients, layer.activeGradients, layer.scores].compactMap { $0 }
      guard gradients.allSatisfy({ context.allFinite($0) }) else {
        throw EspalierError.diverged(
          "diverged at step \(step + 1): a gradient of \(layer.weights.name) is not finite; try a lower learning rate")
      }
    }
  }

  /// The updater's own budget, met exactly, and no buffer too large.
  private func checkBudget(step: Int) throws {
    let expected = updater.connections(afterStep: step, startingWith: connections)
    guard model.connections == expected else {
      throw EspalierError.invariant(
        "update at step \(step + 1): \(model.connections) connections, expected \(expected)")
    }
    try context.meter.check()
  }

  private func record(
    step: Int, elapsed: Duration, audits: [GradientAudit.Result?] = [],
    _ moved: (_ layer: Int) -> (candidates: Int, grown: Int, pruned: Int)
  ) -> UpdateRecord {
    let layers = model.sparseParameters.enumerated().map { i, parameter in
      let matrix = parameter.matrix
      let (candidates, grown, pruned) = moved(i)
      let audit = audits.isEmpty ? nil : audits[i]
      return LayerUpdateRecord(
        name: parameter.layerName, nnz: parameter.count, candidates: candidates, grown: grown, pruned: pruned,
        backward: parameter.backward?.count, remembered: parameter.backward?.remembered.count,
        emptyRows: matrix.structure.emptyRows,
        emptyColumns: matrix.structure.emptyColumns(site: matrix.site, meter: context.meter),
        auditedRows: audit?.rows, recall: audit?.recall, rankCorrelation: audit?.rankCorrelation,
        explorationRate: exploration[i].count.map { Double($0) / (Double(matrix.rows) * Double(matrix.columns)) })
    }
    return UpdateRecord(
      step: step + 1, fraction: updater.schedule.fraction(at: step),
      seconds: elapsed.seconds, layers: layers)
  }
}

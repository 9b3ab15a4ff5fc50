import EspalierCore
import EspalierTopology

/// Lets an updater look at the layers during backward passes and carries out its changes.
final class TopologyStep {
  private let updater: any TopologyUpdater
  private let mode: UpdateMode
  private let model: Model
  private let random: CounterRandom
  private let context: ComputeContext
  private let connections: Int
  var exploration: [ExplorationTracker]

  init(
    updater: any TopologyUpdater, mode: UpdateMode, model: Model, random: CounterRandom, context: ComputeContext
  ) throws {
    guard !model.sparseParameters.isEmpty else {
      throw EspalierError.usage("\(model.spec.name): has no sparse layers whose connections could move")
    }
    self.updater = updater
    self.mode = mode
    self.model = model
    self.random = random
    self.context = context
    connections = model.connections
    exploration = model.sparseParameters.map { ExplorationTracker($0.matrix) }
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
    fileprivate let owner: TopologyStep
    fileprivate let started = ContinuousClock.now

    fileprivate init(step: Int, owner: TopologyStep) {
      self.step = step
      self.owner = owner
      mode = owner.mode
      candidates = [LayerCandidates?](repeating: nil, count: owner.model.sparseParameters.count)
    }

    /// Candidates of each layer, in order.
    var candidateCounts: [Int] { candidates.map { $0?.connections.count ?? 0 } }

    func finish() throws -> UpdateRecord { try owner.apply(self) }
  }

  /// An update, if `step` is one; the tape then shows its layers to the updater.
  func begin(step: Int, on tape: Tape) -> Update? {
    guard updater.schedule.isUpdate(step: step) else { return nil }
    let update = Update(step: step, owner: self)
    tape.computesSparseGradients = mode == .add
    tape.gradientSiteVisitor = { [updater, random, context] site in
      update.candidates[site.parameter.index] = try updater.candidates(
        in: Probe(site: site, meter: context.meter), step: step, random: random)
    }
    return update
  }

  private func apply(_ update: Update) throws -> UpdateRecord {
    let candidates = update.candidates.compactMap { $0 }
    guard candidates.count == model.sparseParameters.count else {
      throw EspalierError.invariant("update at step \(update.step + 1): a sparse layer saw no gradient")
    }
    let changes = try updater.changes(for: candidates, step: update.step, random: random)
    var layers: [LayerUpdateRecord] = []
    for (i, (parameter, change)) in zip(model.sparseParameters, changes).enumerated() {
      try exploration[i].add(change.grown, to: parameter.matrix)
      try parameter.apply(change, threads: context.threads)
      layers.append(
        LayerUpdateRecord(
          name: parameter.layerName, nnz: parameter.count, candidates: candidates[i].connections.count,
          grown: change.grownCount, pruned: change.prunedCount, emptyRows: parameter.matrix.structure.emptyRows))
    }
    guard model.connections == connections else {
      throw EspalierError.invariant(
        "update at step \(update.step + 1): \(model.connections) connections, expected \(connections)")
    }
    try context.meter.check()
    return UpdateRecord(
      step: update.step + 1, fraction: updater.schedule.fraction(at: update.step),
      seconds: (ContinuousClock.now - update.started).seconds, layers: layers)
  }

  /// A layer in its backward pass, as updaters see it.
  private struct Probe: LayerProbe {
    let site: any GradientSite
    let meter: AllocationMeter

    var weights: SparseParameter { site.parameter }

    func gradients(at connections: SparseStructure) -> MeteredBuffer<Float> {
      let gradients = MeteredBuffer<Float>(
        count: connections.count, tag: .candidates, site: weights.matrix.site, meter: meter)
      site.computeGradients(at: connections, into: gradients)
      return gradients
    }
  }
}

import Espalier
import Testing

// snippet
/// Exchanges a layer's smallest weights for candidates with large gradients whose units have few connections.
///
/// Candidates compete by |gradient| / sqrt(1 + fan-in of the unit). Time and memory O(n + nnz).
struct BalancedGrowth: TopologyUpdater {
  let schedule: UpdateSchedule

  func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    let (weights, matrix) = (layer.weights, layer.weights.matrix)
    let subset = matrix.structure.randomInactiveSubset(
      draws: weights.count, stream: random.stream(.candidates, layer: weights.index, step: step), site: matrix.site,
      meter: matrix.meter)
    return LayerCandidates(weights: weights, connections: subset, gradients: layer.gradients(at: subset))
  }

  func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) throws -> [TopologyChange] {
    try layers.map { layer in
      let (weights, matrix) = (layer.weights, layer.weights.matrix)
      let count = min(schedule.count(of: weights.count, at: step), layer.connections.count)
      let best = MagnitudeSelection(meter: matrix.meter).select(
        count, .largest, of: try scores(of: layer), site: matrix.site)
      return layer.change(pruned: weights.smallestWeights(count), grown: best)
    }
  }

  private func scores(of layer: LayerCandidates) throws -> MeteredBuffer<Float> {
    let matrix = layer.weights.matrix
    guard let gradients = layer.gradients else {
      throw EspalierError.invariant("\(matrix.name): no gradients at the candidates")
    }
    let scores = MeteredBuffer<Float>(
      count: layer.connections.count, tag: .selection, site: matrix.site, meter: matrix.meter)
    for row in 0..<matrix.rows {
      let fanIn = matrix.structure.positions(ofRow: row).count
      for position in layer.connections.positions(ofRow: row) {
        scores[position] = gradients[position] / Float(1 + fanIn).squareRoot()
      }
    }
    return scores
  }
}
// end

@Suite struct WritingYourOwnTopologyUpdater {
  @Test func anUpdaterIsExactAndRepeats() throws {
    let run = try SmallRun()
    let (dataset, normalization, spec, options) = (run.dataset, run.normalization, run.spec, run.options)
    // snippet
    func train(threads: Int) throws -> (connections: Int, weights: String) {
      let context = try ComputeContext(threads: threads)
      let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: options.seed), context: context)
      let trainer = try Trainer(
        model: model, dataset: dataset, normalization: normalization, options: options,
        updater: BalancedGrowth(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: context)
      try trainer.run()
      try context.meter.check()
      return (model.connections, model.weightsSHA256)
    }
    let (one, three) = (try train(threads: 1), try train(threads: 3))
    print(one == three)
    // end
    #expect(one == three)
    #expect(one.connections == run.budget)
  }
}

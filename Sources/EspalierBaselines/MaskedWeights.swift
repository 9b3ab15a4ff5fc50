import Espalier
import EspalierCore
import EspalierTopology

/// A dense model's weights with a mask each: what pruning methods work on.
///
/// Memory: the dense weights, their gradient and optimizer state, as `--method dense`, and a bit a weight.
final class MaskedWeights {
  let parameters: [VectorParameter]
  let shapes: [SparseLayerShape]
  let context: ComputeContext

  /// Gives the model's weights masks under which all live.
  ///
  /// - Throws: `EspalierError.usage` for a model whose weights are sparse.
  init(_ model: Model, context: ComputeContext) throws {
    parameters = model.denseWeights
    shapes = model.spec.weightLayers.map(\.shape)
    self.context = context
    guard parameters.count == shapes.count else {
      throw EspalierError.usage("\(model.spec.name): has sparse layers; expected a model with dense weights")
    }
    for (parameter, shape) in zip(parameters, shapes) {
      let site = WeightSite(layer: shape.name, rows: shape.rows, columns: shape.columns, connections: shape.size)
      parameter.mask = ConnectionMask(rows: shape.rows, columns: shape.columns, site: site, meter: context.meter)
    }
  }

  var size: Int { shapes.reduce(0) { $0 + $1.size } }
  var counts: [Int] { parameters.map { $0.mask?.count ?? $0.count } }

  /// Weights of the network at a sparsity.
  func budget(sparsity: Double) -> Int { Int(((1 - sparsity) * Double(size)).rounded()) }

  /// Sets the dead weights' gradients to zero, so that nothing moves them and no norm knows them.
  func clearGradients() { for parameter in parameters { parameter.mask?.clear(parameter.gradient.pointer) } }

  /// Sets dead weights to zero, and where `optimizer` their optimizer state.
  func clear(optimizer: Bool) {
    for parameter in parameters {
      parameter.withMutableValues { values in values.baseAddress.map { parameter.mask?.clear($0) } }
      if optimizer { for state in parameter.optimizerState { parameter.mask?.clear(state.pointer) } }
    }
  }

  /// Lets the largest weights live on: of each layer as many as its share of `sparsity`, or of the whole network; then clears the dead ones.
  ///
  /// Each layer keeps at least one weight; of equal weights the first stay.
  /// - Throws: `EspalierError.usage` for a sparsity that leaves fewer weights than layers.
  func prune(to sparsity: Double, scope: SelectionScope, step: Int) throws -> UpdateRecord {
    let started = ContinuousClock.now
    let before = counts
    let budgets = try UniformDistribution().budgets(for: shapes, sparsity: sparsity)
    try blaming(step: step) {
      switch scope {
      case .global: try keep(budgets.reduce(0, +), of: Array(parameters.indices))
      case .local:
        // Rounding may give a layer one weight more than the pruning before has left it: others keep that one.
        let kept = apportion(budgets.reduce(0, +), weights: budgets.map(Double.init), capacities: before)
        for (layer, count) in kept.enumerated() { try keep(count, of: [layer]) }
      }
    }
    let expected = min(budgets.reduce(0, +), before.reduce(0, +))
    guard counts.reduce(0, +) == expected else {
      throw EspalierError.invariant("step \(step + 1): \(counts.reduce(0, +)) weights live, expected \(expected)")
    }
    clear(optimizer: true)
    return record(
      step: step, fraction: sparsity, seconds: started, candidates: before, grown: before.map { _ in 0 },
      pruned: zip(before, counts).map { $0 - $1 })
  }

  /// Says where weights are not finite, if that is why `body` cannot choose among them.
  private func blaming(step: Int, _ body: () throws -> Void) throws {
    do {
      try body()
    } catch let error as EspalierError where error.kind == .diverged {
      let broken = parameters.first { !context.allFinite($0.values) }
      throw EspalierError.diverged(
        "diverged by step \(step + 1): \(broken?.name ?? "a weight") is not finite; try a lower learning rate")
    }
  }

  /// The k largest weights of the listed layers live on.
  private func keep(_ k: Int, of layers: [Int]) throws {
    let streams = layers.map { layer -> ScoreSelection.Stream in
      { body in
        let parameter = self.parameters[layer]
        try parameter.withMutableValues {
          guard let values = $0.baseAddress else { return }
          try self.forEachTile(of: layer, values: values, mask: parameter.mask, body)
        }
      }
    }
    try ScoreSelection(context: context).select(k, from: streams) { number, tile, places in
      parameters[layers[number]].mask?.keep(places, of: tile)
    }
  }

  /// Shows magnitudes of a layer's numbers [rows, columns], those that `mask` lets live.
  func forEachTile(
    of layer: Int, values: UnsafePointer<Float>, mask: ConnectionMask?, _ body: (ScoreTile) throws -> Void
  ) rethrows {
    let shape = shapes[layer]
    let site = WeightSite(layer: shape.name, rows: shape.rows, columns: shape.columns, connections: shape.size)
    let tile = ScoreTile(
      height: min(64, shape.rows), columns: shape.columns, tag: .dense, site: site, meter: context.meter)
    for first in stride(from: 0, to: shape.rows, by: 64) {
      tile.gather(
        rows: first..<min(shape.rows, first + 64), columns: shape.columns, mask: mask, from: values, context: context)
      tile.score(.magnitude, gradients: nil, context: context)
      try body(tile)
    }
  }

  /// A line of topology.jsonl.
  func record(
    step: Int, fraction: Double, seconds started: ContinuousClock.Instant, candidates: [Int], grown: [Int],
    pruned: [Int]
  ) -> UpdateRecord {
    let layers = parameters.indices.map { i in
      let (rows, columns) = parameters[i].mask?.emptyLines ?? (0, 0)
      return LayerUpdateRecord(
        name: shapes[i].name, nnz: counts[i], candidates: candidates[i], grown: grown[i], pruned: pruned[i],
        emptyRows: rows, emptyColumns: columns, explorationRate: nil)
    }
    return UpdateRecord(
      step: step, fraction: fraction, seconds: (ContinuousClock.now - started).seconds, layers: layers)
  }
}

import Espalier
import EspalierCore
import EspalierTopology

/// Sparse networks from scratch, exactly (Dettmers & Zettlemoyer, arXiv 1907.04840, section 3): each layer drops a fraction of its smallest weights; what was
/// dropped in all is regrown in proportion to the layers' mean momentum magnitude, by the largest momentum of all weights that are zero.
///
/// The momentum of all weights is what makes it dense: materialises weights, gradient and momentum of a dense network, and a bit a weight. Time: dense steps;
/// operations as METHODS counts them, forward and input gradient of the live weights and the weight gradient of all. `SNFS` is the same over sampled
/// candidates, and always sparse. What was just dropped may grow again, from zero. A layer grows at most to 0.99 of its size; what it cannot take goes to the
/// others, so that the number of weights stays (the authors' code lets it drift).
public final class ExactSNFS: DenseMethod {
  private let weights: MaskedWeights
  private let schedule: UpdateSchedule

  /// - Parameters:
  ///   - model: has dense weights.
  ///   - start: a sparse model whose structure, weights and biases it begins with; nil for a model that goes on, whose masks a checkpoint brings.
  /// - Throws: `EspalierError.usage` where the models do not fit.
  public init(_ model: Model, start: Model?, schedule: UpdateSchedule, context: ComputeContext) throws {
    self.schedule = schedule
    weights = try MaskedWeights(model, context: context)
    guard let start else { return }
    let sparse = start.sparseParameters
    guard sparse.map(\.layerName) == weights.shapes.map(\.name) else {
      throw EspalierError.usage("\(model.spec.name): the start has other layers")
    }
    for (parameter, source) in zip(weights.parameters, sparse) { parameter.take(source) }
    let vectors = Dictionary(uniqueKeysWithValues: start.state.map { ($0.name, $0) })
    for case .dense(let name, _, let values) in model.state {
      guard case .dense(_, _, let other) = vectors[name], other.count == values.count else { continue }
      values.pointer.update(from: other.pointer, count: values.count)
    }
  }

  public var takesDenseGradients: Bool { true }
  public var explorationRate: Double? { nil }
  public func willMoveWeights() {}

  public func didStep(_ step: Int) throws -> UpdateRecord? {
    weights.clear(optimizer: false)
    return schedule.isUpdate(step: step) ? try update(step) : nil
  }

  private func update(_ step: Int) throws -> UpdateRecord {
    let started = ContinuousClock.now
    let before = weights.counts
    let dropped = before.map { min(schedule.count(of: $0, at: step), $0 - 1) }
    let room = zip(weights.shapes, zip(before, dropped)).map {
      max(0, min(Int(0.99 * Double($0.size)), $0.size) - ($1.0 - $1.1))
    }
    let total = min(dropped.reduce(0, +), room.reduce(0, +))
    let pruned = apportion(total, weights: dropped.map(Double.init), capacities: dropped)
    // What is dead once `pruned` are: where the cap leaves too little room, the number of weights comes first.
    let dead = zip(weights.shapes, zip(before, pruned)).map { $0.size - $1.0 + $1.1 }
    let capped = zip(room, dead).map { min($0, $1) }
    let grown = apportion(
      total, weights: weights.parameters.map(\.meanLiveMomentum),
      capacities: capped.reduce(0, +) >= total ? capped : dead)
    for layer in before.indices {
      try drop(pruned[layer], of: layer)
      try grow(grown[layer], in: layer)
    }
    weights.clear(optimizer: false)
    return weights.record(
      step: step + 1, fraction: schedule.fraction(at: step), seconds: started,
      candidates: zip(weights.shapes, before).map { $0.size - $1 }, grown: grown, pruned: pruned)
  }

  private func drop(_ k: Int, of layer: Int) throws {
    let parameter = weights.parameters[layer]
    guard k > 0, let mask = parameter.mask else { return }
    try select(mask.count - k, in: layer, of: UnsafePointer(parameter.values.pointer), mask: mask) { tile, places in
      mask.keep(places, of: tile)
    }
    mask.clear(parameter.values.pointer)
  }

  private func grow(_ k: Int, in layer: Int) throws {
    let parameter = weights.parameters[layer]
    guard k > 0, let mask = parameter.mask, let momentum = parameter.momenta else { return }
    var grown: [(row: Int, column: Int)] = []
    mask.invert()
    try select(k, in: layer, of: UnsafePointer(momentum.pointer), mask: mask) { tile, places in
      grown += tile.places(places)
    }
    mask.invert()
    for (row, column) in grown { mask.insert(row: row, column: column) }
  }

  /// The k > 0 numbers of a layer with the largest magnitudes, among those that `mask` shows.
  private func select(
    _ k: Int, in layer: Int, of values: UnsafePointer<Float>, mask: ConnectionMask,
    _ collect: (ScoreTile, UnsafeBufferPointer<UInt32>) throws -> Void
  ) throws {
    let stream: ScoreSelection.Stream = { try self.weights.forEachTile(of: layer, values: values, mask: mask, $0) }
    try ScoreSelection(context: weights.context).select(k, from: [stream]) { try collect($1, $2) }
  }
}

extension VectorParameter {
  /// Takes a sparse layer's structure as mask, and its weights.
  fileprivate func take(_ source: SparseParameter) {
    guard let mask else { return }
    values.buffer.update(repeating: 0)
    let structure = source.matrix.structure
    source.matrix.withValues { weights in
      for row in 0..<structure.rows {
        mask.clear(row: row)
        for k in structure.positions(ofRow: row) {
          let column = Int(structure.columnIndices[k])
          mask.insert(row: row, column: column)
          values.pointer[row * structure.columns + column] = weights[k]
        }
      }
    }
  }

  /// All weights' momentum, or Adam's direction; nil before the optimizer's first step.
  fileprivate var momenta: MeteredBuffer<Float>? {
    guard optimizerState.count == 2 else { return optimizerState.first }
    let (result, momentum) = (makeOptimizerState(), momentum)
    for i in 0..<count { result.pointer[i] = momentum(i) }
    return result
  }

  /// Mean magnitude of the live weights' momentum; 0 before the optimizer's first step.
  fileprivate var meanLiveMomentum: Double {
    guard let mask, let momentum = momenta else { return 0 }
    var sum = 0.0
    for row in 0..<mask.rows {
      for column in 0..<mask.columns where mask[row, column] {
        sum += Double(abs(momentum.pointer[row * mask.columns + column]))
      }
    }
    return sum / Double(max(1, mask.count))
  }
}

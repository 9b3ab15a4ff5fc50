/// Some connections of a layer and a weight for each.
public struct WeightList {
  /// Which connections.
  public let structure: SparseStructure
  /// [structure.count]
  public let values: MeteredBuffer<Float>

  /// A list that shares its buffers.
  public init(structure: SparseStructure, values: MeteredBuffer<Float>) {
    precondition(values.count == structure.count)
    self.structure = structure
    self.values = values
  }

  /// Number of connections.
  public var count: Int { structure.count }
}

/// Top-KAST's weights of one layer that are trained and not used: the gradient reaches them, the forward pass does not; and what is known of
/// the weights that are neither.
///
/// A layer's own matrix is the forward set A; `weights` are B \ A; `remembered` are those that have been in B, or were looked up
/// in the field ahead of time; all others stand as the field made them, at a level below `frontier`. The three are disjoint.
public final class BackwardSet: Parameter {
  /// The layer's name, e.g. `features.0`.
  public let layerName: String
  /// Weights that are trained and not used.
  public private(set) var weights: WeightList
  /// The gradient at `weights`.
  public private(set) var gradient: MeteredBuffer<Float>
  /// What the optimizer keeps of `weights`.
  public var optimizerState: [MeteredBuffer<Float>] = []
  /// One over the layer's density: weights that are not used are drawn to zero that much more strongly.
  public let weightDecayScale: Double
  /// Weights that are neither used nor trained, and no longer, or not yet, as the field has them.
  public var remembered: WeightList
  /// Where all other weights stand.
  public let field: StartingField
  /// Connections of this level or a higher one are in one of the sets, or forgotten.
  public var frontier: Int
  private let forwardCount: Int
  private let meter: AllocationMeter

  /// The backward set of the layer whose forward set is `matrix`; the three sets are disjoint.
  public init(
    of matrix: SparseMatrix, weights: WeightList, remembered: WeightList, field: StartingField, frontier: Int
  ) {
    layerName = matrix.name
    self.weights = weights
    self.remembered = remembered
    self.field = field
    self.frontier = frontier
    forwardCount = matrix.count
    meter = matrix.meter
    weightDecayScale = 1 / matrix.density
    gradient = .zeros(
      count: weights.count, tag: .gradient, site: Self.site(of: matrix, unused: weights.count), meter: matrix.meter)
  }

  /// What the meter knows a layer with so many unused weights as: the whole backward set is what it stores.
  public static func site(of matrix: SparseMatrix, unused: Int) -> WeightSite {
    WeightSite(layer: matrix.name, rows: matrix.rows, columns: matrix.columns, connections: matrix.count + unused)
  }

  /// What the meter knows the layer as.
  public var site: WeightSite {
    WeightSite(layer: layerName, rows: field.rows, columns: field.columns, connections: forwardCount + count)
  }

  /// The name in files.
  public var name: String { layerName + ".weight.backward" }
  /// Number of weights that are trained and not used.
  public var count: Int { weights.count }

  /// Changes the unused weights in place.
  public func withMutableValues<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R {
    try body(weights.values.buffer)
  }

  /// Zeros, one an unused weight.
  public func makeOptimizerState() -> MeteredBuffer<Float> {
    .zeros(count: count, tag: .optimizer, site: site, meter: meter)
  }

  /// Puts other connections, with their optimizer state, in place of the present ones.
  public func replace(weights: WeightList, optimizerState: [MeteredBuffer<Float>]) {
    self.weights = weights
    self.optimizerState = optimizerState
    gradient = .zeros(count: weights.count, tag: .gradient, site: site, meter: meter)
  }

  /// Bytes of the sets, gradient and optimizer state.
  public var bytes: Int {
    weights.structure.bytes + remembered.structure.bytes + 4 * remembered.count + 4 * count * (2 + optimizerState.count)
  }
}

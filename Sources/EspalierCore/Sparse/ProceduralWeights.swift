import EspSampling
import EspSparseConv

/// A layer's input and the gradient of its output in one batch: what its weight gradient, delta input', is the product of.
public struct GradientFactors {
  let input: Activations
  let delta: Activations
  /// Of a convolution, the whole layer's.
  let shape: esp_conv_shape?

  /// Rows of the batch a sample: output positions, or tokens.
  public var positions: Int { shape == nil ? delta.shape.tokens : delta.shape.positions }
}

/// Dense weights [rows, columns] that are computed tile by tile, each time that they are needed, and stored nowhere.
///
/// Weight (o, i) is number o * columns + i of a random stream, uniform: the weights that a dense layer would start with. A product with them costs
/// the random numbers of all of them, O(rows * columns) time, and the memory of one tile.
public final class ProceduralWeights {
  /// A multiple of a gradient, added to the weights.
  public struct Perturbation {
    /// What the gradient is multiplied with.
    public let scale: Float
    /// The gradient is their sum.
    public let factors: [GradientFactors]

    /// `scale` times the sum of the products of `factors`.
    public init(scale: Float, factors: [GradientFactors]) {
      self.scale = scale
      self.factors = factors
    }
  }

  /// The layer's name, e.g. `features.0`.
  public let name: String
  /// The layer's number among those with weights.
  public let index: Int
  /// Outputs, or output channels.
  public let rows: Int
  /// Inputs: channels * taps.
  public let columns: Int
  /// Kernel positions of a convolution, 1 of a linear layer.
  public let taps: Int
  /// What the meter knows the layer as.
  public let site: WeightSite
  let meter: AllocationMeter
  /// Which weights live; nil: all. Dead ones are zero.
  public let mask: ConnectionMask?
  /// What is added to the weights; only where there is no mask.
  public var perturbation: Perturbation? {
    didSet {
      precondition(perturbation.map { mask == nil && !$0.factors.isEmpty } ?? true, "\(name): all weights live")
    }
  }
  private var kernel: esp_procedural
  /// Whether |w| stands in place of w.
  public var takesMagnitudes: Bool {
    get { kernel.absolute != 0 }
    set { kernel.absolute = newValue ? 1 : 0 }
  }

  /// Weights [rows, columns] drawn from `stream`, uniform in `range`, all alive.
  ///
  /// `connections` is about how many will survive: what the rule that keeps memory sparse takes for the size of tiles.
  public init(
    name: String, index: Int, rows: Int, columns: Int, taps: Int, connections: Int, stream: CounterRandom.Stream,
    range: Range<Float>, takesMagnitudes: Bool = false, isMasked: Bool = false, meter: AllocationMeter
  ) {
    self.name = name
    self.index = index
    self.rows = rows
    self.columns = columns
    self.taps = taps
    self.meter = meter
    site = WeightSite(layer: name, rows: rows, columns: columns, connections: connections)
    mask = isMasked ? ConnectionMask(rows: rows, columns: columns, site: site, meter: meter) : nil
    kernel = esp_procedural(
      key: stream.key, rows: rows, columns: columns, low: range.lowerBound, high: range.upperBound,
      absolute: takesMagnitudes ? 1 : 0, alive: mask.map { UnsafePointer($0.words.pointer) })
  }

  /// Numbers that one buffer may have.
  var largestBuffer: Int { site.largestBuffer(gamma: meter.gamma) }

  /// The perturbation of a linear layer, if a product of it with `samples` rows of a batch is cheaper by itself than made part of every weight.
  ///
  /// A gradient d x' of few samples has a low rank: (d x') z = d (x' z) costs rows + columns a pair of samples, not rows * columns a sample. Operations
  /// are compared, not times.
  func perturbationAside(samples: Int) -> Perturbation? {
    let isCheaper = Double(samples) * Double(rows + columns) < Double(rows) * Double(columns)
    return taps == 1 && isCheaper && (perturbation?.factors.allSatisfy { $0.shape == nil } ?? false)
      ? perturbation : nil
  }

  /// The live weights of a rectangle, without the perturbation; column indices are those of the whole matrix.
  func compute(
    rows: Range<Int>, columns: Range<Int>, rowStarts: UnsafeMutablePointer<UInt64>,
    columnIndices: UnsafeMutablePointer<UInt32>, values: UnsafeMutablePointer<Float>?,
    context: ComputeContext
  ) {
    let tile = esp_tile(
      first_row: rows.lowerBound, rows: rows.count, first_column: columns.lowerBound, columns: columns.count)
    withUnsafePointer(to: kernel) {
      esp_procedural_tile(context.isa, $0, tile, rowStarts, columnIndices, values, context.threadCount)
    }
  }
}

/// A rectangle of procedural weights, as a CSR matrix of its own rows and the layer's columns; and its transpose.
final class ProceduralTile {
  private let weights: ProceduralWeights
  private let context: ComputeContext
  private let rowStarts: MeteredBuffer<UInt64>
  private let columnIndices: MeteredBuffer<UInt32>
  let values: MeteredBuffer<Float>
  private let gradients: MeteredBuffer<Float>?
  private var rows = 0..<0
  private var columns = 0..<0

  /// Room for rectangles of `height` x `width`, with the perturbation where `isPerturbed`.
  init(_ weights: ProceduralWeights, height: Int, width: Int, isPerturbed: Bool, context: ComputeContext) {
    (self.weights, self.context) = (weights, context)
    let (site, meter) = (weights.site, weights.meter)
    rowStarts = MeteredBuffer(count: height + 1, tag: .candidates, site: site, meter: meter)
    columnIndices = MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter)
    values = MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter)
    gradients =
      weights.perturbation != nil && isPerturbed
      ? MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter) : nil
  }

  /// Number of live weights.
  var count: Int { Int(rowStarts.pointer[rows.count]) }

  var csr: esp_csr {
    esp_csr(
      rows: rows.count, columns: weights.columns, row_starts: UnsafePointer(rowStarts.pointer),
      column_indices: UnsafePointer(columnIndices.pointer), tiles: esp_csr_tiles())
  }

  func fill(rows: Range<Int>, columns: Range<Int>) {
    (self.rows, self.columns) = (rows, columns)
    weights.compute(
      rows: rows, columns: columns, rowStarts: rowStarts.pointer, columnIndices: columnIndices.pointer,
      values: values.pointer, context: context)
    guard let perturbation = weights.perturbation, let gradients else { return }
    context.sumGradients(of: perturbation.factors, rows: rows, columns: columns, at: csr, into: gradients.pointer)
    for k in 0..<count { values.pointer[k] += perturbation.scale * gradients.pointer[k] }
  }

  /// The transpose with the rectangle's own columns as rows, for the input gradient; for a convolution channels by (output, flipped tap).
  final class Transposed {
    private let rowStarts: MeteredBuffer<UInt64>
    private let columnIndices: MeteredBuffer<UInt32>
    private let permutation: MeteredBuffer<UInt32>
    let values: MeteredBuffer<Float>
    private var shape = (rows: 0, columns: 0)
    private let taps: Int

    init(_ weights: ProceduralWeights, height: Int, width: Int) {
      let (site, meter) = (weights.site, weights.meter)
      taps = weights.taps
      rowStarts = MeteredBuffer(count: width / taps + 1, tag: .candidates, site: site, meter: meter)
      columnIndices = MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter)
      permutation = MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter)
      values = MeteredBuffer(count: height * width, tag: .candidates, site: site, meter: meter)
    }

    var csr: esp_csr {
      esp_csr(
        rows: shape.columns / taps, columns: shape.rows * taps, row_starts: UnsafePointer(rowStarts.pointer),
        column_indices: UnsafePointer(columnIndices.pointer), tiles: esp_csr_tiles())
    }

    /// Where all weights live, the structure follows from the shape alone.
    fileprivate func set(_ tile: ProceduralTile) {
      let shape = (tile.rows.count, tile.columns.count)
      if tile.weights.mask != nil || self.shape != shape {
        let first = UInt32(tile.columns.lowerBound)
        for k in 0..<tile.count { tile.columnIndices.pointer[k] -= first }
        self.shape = shape
        var local = tile.csr
        local.columns = shape.1
        withUnsafePointer(to: local) {
          esp_csr_transpose($0, taps, rowStarts.pointer, columnIndices.pointer, permutation.pointer)
        }
      }
      esp_permute_f32(
        tile.values.pointer, permutation.pointer, tile.count, values.pointer, tile.context.threadCount)
    }
  }

  /// Transposes into `result`; after this the tile's own structure is spent.
  func transpose(into result: Transposed) { result.set(self) }
}

extension ProceduralWeights {
  /// Shows the scores of all live weights, some rows at a time.
  ///
  /// - Parameters:
  ///   - rule: what a weight's score is.
  ///   - gradient: what its factors sum up to is the weights' gradient, less the sum of `less`; none for magnitudes.
  ///   - less: factors whose sum is taken off the gradient; none for nothing.
  ///   - factor: what scores are multiplied with.
  ///   - context: what computes.
  ///   - body: is shown each tile, which is valid until it returns.
  /// - Complexity: the products of `gradient` and of `less`, and all weights' random numbers; memory of some rows.
  public func forEachScoreTile(
    _ rule: ScoreTile.Rule, gradient: [GradientFactors] = [], less: [GradientFactors] = [], factor: Float = 1,
    context: ComputeContext, _ body: (ScoreTile) throws -> Void
  ) rethrows {
    let height = max(1, min(64, rows, largestBuffer / columns))
    let tile = ScoreTile(height: height, columns: columns, tag: .candidates, site: site, meter: meter)
    let room = gradient.isEmpty ? 0 : height * columns
    let sum = MeteredBuffer<Float>(count: room, tag: .candidates, site: site, meter: meter)
    let subtrahend = MeteredBuffer<Float>(
      count: less.isEmpty ? 0 : room, tag: .candidates, site: site, meter: meter)
    for first in stride(from: 0, to: rows, by: height) {
      let range = first..<min(rows, first + height)
      tile.rows = range
      compute(
        rows: range, columns: 0..<columns, rowStarts: tile.rowStarts.pointer,
        columnIndices: tile.columnIndices.pointer, values: tile.values.pointer, context: context)
      let csr = esp_csr(
        rows: range.count, columns: columns, row_starts: UnsafePointer(tile.rowStarts.pointer),
        column_indices: UnsafePointer(tile.columnIndices.pointer), tiles: esp_csr_tiles())
      // Where all weights live, the rectangle is computed as one.
      func sumUp(_ factors: [GradientFactors], into place: UnsafeMutablePointer<Float>) {
        let whole = mask == nil ? 0..<columns : nil
        context.sumGradients(of: factors, rows: range, columns: whole, at: csr, into: place)
      }
      if !gradient.isEmpty { sumUp(gradient, into: sum.pointer) }
      if !less.isEmpty {
        sumUp(less, into: subtrahend.pointer)
        for k in 0..<tile.count { sum.pointer[k] -= subtrahend.pointer[k] }
      }
      tile.score(rule, gradients: gradient.isEmpty ? nil : sum.pointer, factor: factor, context: context)
      try withExtendedLifetime((sum, subtrahend)) { try body(tile) }
    }
  }
}

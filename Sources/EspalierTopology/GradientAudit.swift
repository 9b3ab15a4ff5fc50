import EspalierCore

/// How GSE's choice in one layer compares with the layer's true gradient, seen at every connection of some rows chosen at random.
///
/// Materialises the inactive connections of these rows, as many rows as the rule that keeps memory sparse allows, never the matrix. Time: a
/// dense weight gradient of the rows, and two sorts.
public struct GradientAudit {
  /// What came of it.
  public struct Result: Sendable {
    /// Rows looked at.
    public let rows: Int
    /// The fraction of the true largest gradients at inactive connections that grew: of the rows' share of as many as the layer grew. nil
    /// where it grew none.
    public let recall: Double?
    /// Spearman's rank correlation of what the guide draws by, the product of an input's and an output's activity, with the true
    /// gradient's magnitude. nil where either does not vary, as with the uniform guide.
    public let rankCorrelation: Double?
  }

  private let rows: Int
  /// The rows' inactive connections, and how many the layer has.
  private let inactive: SparseStructure
  private let inactiveOfLayer: Int
  /// The true gradient there.
  private let gradients: MeteredBuffer<Float>
  private let rankCorrelation: Double?
  private let site: WeightSite
  private let meter: AllocationMeter

  /// Looks at `rows` rows, at least 1 and no more than the layer has and the meter's rule allows, of a layer in its
  /// backward pass.
  public init(rows: Int, of layer: some LayerProbe, guide: Guide, step: Int, random: CounterRandom) {
    let matrix = layer.weights.matrix
    (site, meter) = (matrix.site, matrix.meter)
    let room = max(1, site.largestBuffer(gamma: meter.gamma) / matrix.columns)
    self.rows = min(rows, matrix.rows, room)
    let order = random.stream(.audit, layer: layer.weights.index, step: step).permutation(count: matrix.rows)
    inactive = Self.wholeRows(order.prefix(self.rows).sorted(), of: matrix)
      .subtracting(matrix.structure, site: site, meter: meter)
    inactiveOfLayer = matrix.rows * matrix.columns - matrix.count
    gradients = layer.gradients(at: inactive)
    rankCorrelation = guide.activity(in: layer, step: step, random: random).flatMap { [inactive, gradients] in
      Self.rankCorrelation(of: $0, with: gradients, at: inactive, site: matrix.site, meter: matrix.meter)
    }
  }

  /// - Parameter grown: what the layer grew.
  public func result(grown: SparseStructure) -> Result {
    let share = Double(grown.count) * Double(inactive.count) / Double(max(1, inactiveOfLayer))
    let count = min(inactive.count, max(1, Int(share.rounded())))
    guard grown.count > 0, inactive.count > 0 else {
      return Result(rows: rows, recall: nil, rankCorrelation: rankCorrelation)
    }
    let chosen = withExtendedLifetime(gradients) {
      MagnitudeSelection(meter: meter).select(
        count, .largest, of: [SelectionScores(gradients.prefix(inactive.count), site: site)])[0]
    }
    let largest = inactive.subset(positions: chosen.buffer, site: site, meter: meter)
    let missed = largest.subtracting(grown, site: site, meter: meter).count
    return Result(
      rows: rows, recall: Double(count - missed) / Double(count), rankCorrelation: rankCorrelation)
  }

  /// Every connection of the listed rows, ascending.
  private static func wholeRows(_ rows: [UInt32], of matrix: SparseMatrix) -> SparseStructure {
    let (columns, site, meter) = (matrix.columns, matrix.site, matrix.meter)
    let starts = MeteredBuffer<UInt64>(count: matrix.rows + 1, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: rows.count * columns, tag: .candidates, site: site, meter: meter)
    for place in 0..<indices.count { indices.pointer[place] = UInt32(place % columns) }
    var passed = 0
    for row in 0...matrix.rows {
      starts.pointer[row] = UInt64(passed * columns)
      if passed < rows.count, rows[passed] == row { passed += 1 }
    }
    return SparseStructure(rows: matrix.rows, columns: columns, rowStarts: starts, columnIndices: indices)
  }
}

// MARK: Ranks

extension GradientAudit {
  private static func rankCorrelation(
    of activity: LayerActivity, with gradients: MeteredBuffer<Float>, at connections: SparseStructure,
    site: WeightSite, meter: AllocationMeter
  ) -> Double? {
    let count = connections.count
    let products = MeteredBuffer<Double>(count: count, tag: .candidates, site: site, meter: meter)
    let magnitudes = MeteredBuffer<Double>(count: count, tag: .candidates, site: site, meter: meter)
    for row in 0..<connections.rows {
      for position in connections.positions(ofRow: row) {
        let column = Int(connections.columnIndices.pointer[position])
        products.pointer[position] = abs(activity.outputs.pointer[row] * activity.inputs.pointer[column])
        magnitudes.pointer[position] = Double(abs(gradients.pointer[position]))
      }
    }
    guard products.buffer.allSatisfy(\.isFinite), magnitudes.buffer.allSatisfy(\.isFinite) else { return nil }
    replaceByRanks(products, site: site, meter: meter)
    replaceByRanks(magnitudes, site: site, meter: meter)
    let mean = Double(count + 1) / 2
    var (covariance, first, second) = (0.0, 0.0, 0.0)
    for i in 0..<count {
      let (a, b) = (products.pointer[i] - mean, magnitudes.pointer[i] - mean)
      covariance += a * b
      first += a * a
      second += b * b
    }
    return first > 0 && second > 0 ? covariance / (first * second).squareRoot() : nil
  }

  /// Ranks from 1; equal numbers share the mean of theirs.
  private static func replaceByRanks(_ numbers: MeteredBuffer<Double>, site: WeightSite, meter: AllocationMeter) {
    let order = MeteredBuffer<UInt32>(count: numbers.count, tag: .selection, site: site, meter: meter)
    for i in 0..<order.count { order.pointer[i] = UInt32(i) }
    var sorted = order.buffer
    sorted.sort { numbers.pointer[Int($0)] < numbers.pointer[Int($1)] }
    var first = 0
    while first < order.count {
      let number = numbers.pointer[Int(order.pointer[first])]
      var end = first + 1
      while end < order.count, numbers.pointer[Int(order.pointer[end])] == number { end += 1 }
      for place in first..<end { numbers.pointer[Int(order.pointer[place])] = Double(first + 1 + end) / 2 }
      first = end
    }
  }
}

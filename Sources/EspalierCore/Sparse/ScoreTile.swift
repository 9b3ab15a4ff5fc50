import EspSampling

/// Some rows of a layer with a score for each of their live weights, in order of (row, column).
public final class ScoreTile {
  /// What a weight's score is, of its value w and its gradient g.
  public enum Rule: Sendable {
    /// |w|
    case magnitude
    /// |w g|
    case saliency
    /// w g
    case signed

    fileprivate var kernel: esp_score {
      switch self {
      case .magnitude: ESP_SCORE_MAGNITUDE
      case .saliency: ESP_SCORE_SALIENCY
      case .signed: ESP_SCORE_SIGNED
      }
    }
  }

  /// Which rows of the layer these are.
  public internal(set) var rows = 0..<0
  /// [rows + 1], from 0.
  public let rowStarts: MeteredBuffer<UInt64>
  /// [count]
  public let columnIndices: MeteredBuffer<UInt32>
  /// [count]
  public let values: MeteredBuffer<Float>
  /// [count]: numbers that ascend with the score; see `esp_score_orders`.
  let orders: MeteredBuffer<UInt32>
  /// [count], where scores are made of gradients; valid while the tile is shown.
  public private(set) var gradients: UnsafePointer<Float>?
  let selected: MeteredBuffer<UInt32>

  /// Room for `height` rows.
  public init(height: Int, columns: Int, tag: AllocationTag, site: WeightSite, meter: AllocationMeter) {
    let room = height * columns
    rowStarts = MeteredBuffer(count: height + 1, tag: tag, site: site, meter: meter)
    columnIndices = MeteredBuffer(count: room, tag: tag, site: site, meter: meter)
    values = MeteredBuffer(count: room, tag: tag, site: site, meter: meter)
    orders = MeteredBuffer(count: room, tag: tag, site: site, meter: meter)
    selected = MeteredBuffer(count: room, tag: tag, site: site, meter: meter)
  }

  /// Live weights in these rows.
  public var count: Int { Int(rowStarts.pointer[rows.count]) }

  /// Rows and columns of the weights at ascending `places`.
  public func places(_ places: UnsafeBufferPointer<UInt32>) -> [(row: Int, column: Int)] {
    var row = 0
    return places.map { place in
      while rowStarts.pointer[row + 1] <= UInt64(place) { row += 1 }
      return (rows.lowerBound + row, Int(columnIndices.pointer[Int(place)]))
    }
  }

  /// The score at a place.
  package func score(at place: Int) -> Float {
    let order = orders[place]
    return Float(bitPattern: order & 0x8000_0000 == 0 ? ~order : order & 0x7FFF_FFFF)
  }

  /// Scores the live weights, whose structure and values are in place, by `rule` times `factor`, which is not negative.
  ///
  /// `gradients` [count] are needed where the rule takes them.
  public func score(
    _ rule: Rule, gradients: UnsafePointer<Float>?, factor: Float = 1, context: ComputeContext
  ) {
    self.gradients = gradients
    esp_score_orders(
      rule.kernel, values.pointer, gradients, factor, count, orders.pointer, context.threadCount)
  }

  /// Sets the rows and their structure: the live weights of `mask`, all where nil; and takes their values from `dense` [layer's rows, columns].
  public func gather(
    rows: Range<Int>, columns: Int, mask: ConnectionMask?, from dense: UnsafePointer<Float>, context: ComputeContext
  ) {
    self.rows = rows
    var kernel = esp_procedural()
    (kernel.rows, kernel.columns) = (rows.upperBound, columns)
    kernel.alive = mask.map { UnsafePointer($0.words.pointer) }
    let tile = esp_tile(first_row: rows.lowerBound, rows: rows.count, first_column: 0, columns: columns)
    withUnsafePointer(to: kernel) {
      esp_procedural_tile(context.isa, $0, tile, rowStarts.pointer, columnIndices.pointer, nil, context.threadCount)
    }
    for row in 0..<rows.count {
      let source = dense + (rows.lowerBound + row) * columns
      for k in Int(rowStarts.pointer[row])..<Int(rowStarts.pointer[row + 1]) {
        values.pointer[k] = source[Int(columnIndices.pointer[k])]
      }
    }
  }
}

/// Plain loops in Double over dense matrices.
public enum DenseOracle {
  /// W x + bias for every sample, [samples, rows].
  public static func product(_ w: SparseCase, _ x: SparseActivations, bias: [Float]?) -> Expectation {
    let dense = w.dense
    var expected = Expectation(count: x.samples * w.rows)
    for sample in 0..<x.samples {
      for row in 0..<w.rows {
        let index = sample * w.rows + row
        if let bias { expected.add(Double(bias[row]), to: index) }
        for column in 0..<w.columns {
          guard let weight = dense[row * w.columns + column] else { continue }
          expected.add(Double(weight) * Double(x[sample, column]), to: index)
        }
      }
    }
    return expected
  }

  /// Sum over samples of d[row] * x[column], for every connection.
  public static func weightGradient(_ w: SparseCase, _ x: SparseActivations, _ d: SparseActivations) -> Expectation {
    var expected = Expectation(count: w.count)
    for (k, (row, column)) in w.connections.enumerated() {
      for sample in 0..<x.samples { expected.add(Double(d[sample, row]) * Double(x[sample, column]), to: k) }
    }
    return expected
  }
}

import EspalierCore

extension SparseStructure {
  /// A uniformly random graph with exactly `count` of a layer's possible connections.
  public static func random(
    _ layer: SparseLayerShape, count: Int, stream: CounterRandom.Stream, meter: AllocationMeter
  ) -> SparseStructure {
    .random(name: layer.name, rows: layer.rows, columns: layer.columns, count: count, stream: stream, meter: meter)
  }
}

/// Draws weights and biases by each output's actual fan-in: uniform in (-b, b) with b = sqrt(3 / max(1, fan-in)), so that their
/// variance is 1 / fan-in (Heddes et al., arXiv 2401.06898, reference code).
public struct FanInInitialization: Sendable {
  private let random: CounterRandom

  /// Draws from streams of `random`, keyed by the layer's number.
  public init(random: CounterRandom) { self.random = random }

  package static func range(fanIn: Int) -> Range<Float> {
    let bound = Float((3 / Double(max(1, fanIn))).squareRoot())
    return -bound..<bound
  }

  /// Fills a sparse layer's values and biases.
  public func callAsFunction(_ parameter: SparseParameter, bias: VectorParameter?) {
    let structure = parameter.matrix.structure
    let weights = random.stream(.weights, layer: parameter.index)
    parameter.matrix.withMutableValues { values in
      for row in 0..<structure.rows {
        let positions = structure.positions(ofRow: row)
        weights.fill(
          UnsafeMutableBufferPointer(rebasing: values[positions]), from: UInt64(positions.lowerBound),
          in: Self.range(fanIn: positions.count))
      }
    }
    guard let bias else { return }
    let biases = random.stream(.biases, layer: parameter.index)
    for row in 0..<structure.rows {
      biases.fill(
        UnsafeMutableBufferPointer(rebasing: bias.values.buffer[row...row]), from: UInt64(row),
        in: Self.range(fanIn: structure.positions(ofRow: row).count))
    }
  }

  /// Fills the weights [outputs, fan-in] and biases of a layer whose outputs all have the same fan-in.
  public func callAsFunction(dense values: VectorParameter, fanIn: Int, index: Int, bias: VectorParameter?) {
    random.stream(.weights, layer: index).fill(values.values.buffer, in: Self.range(fanIn: fanIn))
    if let bias { self(bias: bias, fanIn: fanIn, index: index) }
  }

  /// Fills the biases of a layer whose outputs all have the same fan-in.
  public func callAsFunction(bias: VectorParameter, fanIn: Int, index: Int) {
    random.stream(.biases, layer: index).fill(bias.values.buffer, in: Self.range(fanIn: fanIn))
  }
}

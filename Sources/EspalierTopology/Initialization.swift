import EspSampling
import EspalierCore

extension SparseStructure {
  /// A uniformly random graph with exactly `count` of a layer's possible connections: G(n, M).
  ///
  /// - Precondition: count <= layer.size.
  /// - Complexity: O(count + rows)
  public static func random(
    _ layer: SparseLayerShape, count: Int, stream: CounterRandom.Stream, meter: AllocationMeter
  ) -> SparseStructure {
    precondition(count >= 0 && count <= layer.size)
    let site = WeightSite(layer: layer.name, rows: layer.rows, columns: layer.columns, connections: count)
    let starts = MeteredBuffer<UInt64>(count: layer.rows + 1, tag: .structure, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    let workspace = MeteredBuffer<UInt64>(
      count: 2 * min(count, layer.size - count), tag: .selection, site: site, meter: meter)
    esp_random_structure(
      stream.key, layer.rows, layer.columns, count, workspace.pointer, starts.pointer, indices.pointer)
    return SparseStructure(rows: layer.rows, columns: layer.columns, rowStarts: starts, columnIndices: indices)
  }
}

/// Draws weights and biases by each output's actual fan-in: uniform in (-b, b) with b = sqrt(3 / max(1, fan-in)), so that their
/// variance is 1 / fan-in (Heddes et al., reference code).
public struct FanInInitialization: Sendable {
  public init() {}

  static func bound(fanIn: Int) -> Float { Float((3 / Double(max(1, fanIn))).squareRoot()) }

  /// Fills a sparse layer's values and biases.
  public func initialize(
    _ parameter: SparseParameter, bias: VectorParameter?, random: CounterRandom
  ) {
    let structure = parameter.matrix.structure
    let weights = random.stream(.weights, layer: parameter.index).key
    let biases = random.stream(.biases, layer: parameter.index).key
    parameter.matrix.withMutableValues { values in
      for row in 0..<structure.rows {
        let positions = structure.positions(ofRow: row)
        let bound = Self.bound(fanIn: positions.count)
        if let start = values.baseAddress {
          esp_random_uniform_f32(
            weights, UInt64(positions.lowerBound), positions.count, -bound, bound, start + positions.lowerBound)
        }
        if let bias { esp_random_uniform_f32(biases, UInt64(row), 1, -bound, bound, bias.values.pointer + row) }
      }
    }
  }

  /// Fills dense values [rows, columns] and biases.
  package func initialize(
    dense values: UnsafeMutableBufferPointer<Float>, rows: Int, columns: Int, bias: VectorParameter?, index: Int,
    random: CounterRandom
  ) {
    let bound = Self.bound(fanIn: columns)
    esp_random_uniform_f32(
      random.stream(.weights, layer: index).key, 0, values.count, -bound, bound, values.baseAddress)
    if let bias {
      esp_random_uniform_f32(
        random.stream(.biases, layer: index).key, 0, rows, -bound, bound, bias.values.pointer)
    }
  }
}

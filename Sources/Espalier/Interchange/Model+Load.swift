import EspalierCore

extension Model {
  /// A sparse model with the weights of a file, whose structure fixes each layer's number of connections.
  ///
  /// - Parameters:
  ///   - spec: what the model is.
  ///   - weights: the file; all of the description's tensors are in it.
  ///   - random: keys what training draws later.
  ///   - context: counts the model's memory.
  /// - Throws: as `load`.
  /// - Complexity: O(bytes of the file); memory in proportion to the connections.
  public init(
    _ spec: ModelSpec, weights: WeightsFile, random: CounterRandom = CounterRandom(seed: 0), context: ComputeContext
  ) throws {
    let budgets = [Int](repeating: 0, count: spec.weightLayers.count)
    let factory = SparseLayerFactory(budgets: budgets, random: random, context: context)
    try self.init(spec, factory: factory, random: random, context: context)
    try load(weights)
  }

  /// Puts a file's weights in place of the model's: structure and values of sparse layers, all values of dense ones.
  ///
  /// Gradients and optimizer state of sparse layers start anew. Running statistics of batch norms stay as they are where the file has
  /// none at all; `num_batches_tracked` is ignored.
  ///
  /// - Throws: `EspalierError.input` that names the tensors which are missing, unknown or of another shape; before anything has changed.
  ///   For numbers that are not finite, negative variances and damaged structures, after which the weights are undefined.
  public func load(_ weights: WeightsFile) throws {
    try weights.check(against: self)
    let meter = sparseParameters.first?.matrix.meter ?? AllocationMeter()
    let layers = Dictionary(uniqueKeysWithValues: spec.weightLayers.map { ($0.parameterName, $0) })
    for tensor in state {
      let isSparse = weights.isSparse(tensor.name)
      switch tensor {
      case .sparse(let parameter):
        if isSparse {
          try weights.file.readSparse(into: parameter)
        } else {
          try weights.readMaskedDense(into: parameter)
        }
      case .dense(let name, let shape, let values):
        if isSparse, let layer = layers[name] {
          try weights.scatter(layer, into: values, meter: meter)
        } else if !WeightsFile.isStatistic(name) || weights.file.entry(named: name) != nil {
          try weights.file.readDense(name, shape: shape, into: values, meter: meter)
          if name.hasSuffix(".running_var"), let variance = values.array.first(where: { $0 < 0 }) {
            throw EspalierError.input("\(weights.path): '\(name)' holds \(variance); a variance is not negative")
          }
        }
      }
    }
  }
}

extension WeightsFile {
  /// Finds the active weights of a masked dense tensor and puts them in place, in two passes over the file.
  fileprivate func readMaskedDense(into parameter: SparseParameter) throws {
    let (name, matrix) = (parameter.name, parameter.matrix)
    let (rows, columns, meter) = (matrix.rows, matrix.columns, matrix.meter)
    var site = WeightSite(layer: matrix.name, rows: rows, columns: columns, connections: 0)
    let starts = MeteredBuffer<UInt64>.zeros(count: rows + 1, tag: .structure, site: site, meter: meter)
    try forEachActive(name, site: site, meter: meter) { row, _, _ in starts.pointer[row + 1] += 1 }
    for row in 0..<rows { starts.pointer[row + 1] += starts.pointer[row] }
    let count = Int(starts[rows])
    guard count < Int(UInt32.max) else {
      throw EspalierError.input(
        "\(path): '\(name)' has \(count) weights that are not zero; a sparse layer holds fewer than \(UInt32.max)")
    }
    site = WeightSite(layer: matrix.name, rows: rows, columns: columns, connections: count)
    let indices = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    let values = MeteredBuffer<Float>(count: count, tag: .values, site: site, meter: meter)
    var position = 0
    try forEachActive(name, site: site, meter: meter) { _, column, number in
      guard position < count else { return }
      indices.pointer[position] = UInt32(truncatingIfNeeded: column)
      values.pointer[position] = number
      position += 1
    }
    guard position == count else { throw EspalierError.input("\(path): '\(name)' changed while it was read") }
    let structure = SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
    try structure.check(name: "\(path): '\(name)'")
    parameter.replace(structure: structure, values: values)
  }

  /// Shows row, column and number of each weight that is not zero, in order.
  @inline(__always)
  private func forEachActive(
    _ name: String, site: WeightSite, meter: AllocationMeter, _ body: (_ row: Int, _ column: Int, Float) -> Void
  ) throws {
    var (row, column) = (0, 0)
    try file.forEachPiece(of: name, site: site, meter: meter) { _, numbers in
      for number in numbers {
        if number != 0 { body(row, column, number) }
        column += 1
        if column == site.columns { (row, column) = (row + 1, 0) }
      }
    }
  }

  /// Writes a matrix in CSR into dense values [rows, columns]: what a method that is dense by nature starts from.
  fileprivate func scatter(_ layer: WeightLayer, into dense: MeteredBuffer<Float>, meter: AllocationMeter) throws {
    let (rows, columns) = (layer.shape.rows, layer.shape.columns)
    let (structure, values) = try file.readCSR(
      layer.parameterName, layer: layer.shape.name, rows: rows, columns: columns, meter: meter)
    dense.buffer.update(repeating: 0)
    for row in 0..<rows {
      for position in structure.positions(ofRow: row) {
        dense.pointer[row * columns + Int(structure.columnIndices.pointer[position])] = values.pointer[position]
      }
    }
  }
}

import EspalierCore

extension Model {
  /// How a safetensors file holds sparse weights.
  public enum SafetensorsLayout: Sendable {
    /// Row starts, column indices and values: lossless, and as small as the model.
    case csr
    /// As PyTorch's state_dict, with zeros where there is no connection. Connections whose weight is zero are lost (`zeroConnections`).
    case maskedDense
  }

  /// Writes all weights, biases, norms and running statistics into a safetensors file, under PyTorch's names.
  ///
  /// The file appears, or takes the place of an older one, when it is whole. Masked dense weights are written row by row; no dense matrix is
  /// made. PyTorch loads them with `safetensors.torch.load_file` and `load_state_dict`. A weight in CSR becomes a PyTorch tensor by
  ///
  /// ```python
  /// with safetensors.safe_open("W.safetensors", "pt") as file:
  ///   name = "features.0.weight"
  ///   parts = [file.get_tensor(f"{name}.{part}") for part in ("crow_indices", "col_indices", "values")]
  ///   shape = json.loads(file.metadata()[f"{name}.shape"])
  ///   weight = torch.sparse_csr_tensor(*parts, shape)
  /// ```
  ///
  /// whose shape is [outputs, inputs], a convolution's inputs being (channel, kernel row, kernel column). What PyTorch's layer has as its
  /// weight's shape is `{name}.dense_shape` of a convolution: `weight.to_dense().reshape(...)`.
  ///
  /// - Parameters:
  ///   - path: the file's name.
  ///   - layout: how sparse weights are stored.
  ///   - metadata: further texts for the file's header; with `Checkpoint.Information.metadata`, CSR weights are a checkpoint.
  /// - Throws: `EspalierError.write` that names the path.
  public func writeSafetensors(
    to path: String, layout: SafetensorsLayout = .csr, metadata: [String: String] = [:]
  ) throws {
    var metadata = layout == .csr ? metadata.merging(denseShapes) { given, _ in given } : metadata
    let shapes = Dictionary(uniqueKeysWithValues: spec.weightLayers.map { ($0.parameterName, $0.denseShape) })
    let entries = state.flatMap { tensor -> [SafetensorsWriter.Entry] in
      guard layout == .maskedDense, case .sparse(let parameter) = tensor else {
        return tensor.safetensors(metadata: &metadata)
      }
      let matrix = parameter.matrix
      let shape = shapes[tensor.name] ?? [matrix.rows, matrix.columns]
      return [.init(name: tensor.name, type: .float32, shape: shape) { try matrix.writeRows(to: $0) }]
    }
    try SafetensorsWriter(entries: entries, metadata: metadata).write(to: path)
  }

  /// PyTorch's shapes of convolutions in CSR, as metadata: a matrix's own is [outputs, inputs].
  var denseShapes: [String: String] {
    let sparse = Set(sparseParameters.map(\.name))
    return Dictionary(
      uniqueKeysWithValues: spec.weightLayers.filter { $0.geometry != nil && sparse.contains($0.parameterName) }.map {
        ("\($0.parameterName).dense_shape", "\($0.denseShape)")
      })
  }

  /// Connections whose weight is exactly zero, as grown ones start: what a masked dense file cannot hold.
  public var zeroConnections: Int {
    sparseParameters.reduce(0) { sum, parameter in
      sum + parameter.matrix.withValues { values in values.count { $0 == 0 } }
    }
  }
}

extension SparseMatrix {
  /// Passes the matrix's dense form on, row by row.
  func writeRows(to sink: SafetensorsWriter.Entry.Sink) throws {
    let row = MeteredBuffer<Float>.zeros(count: columns, tag: .transfer, site: site, meter: meter)
    for index in 0..<rows {
      let positions = structure.positions(ofRow: index)
      try withValues { values in
        for position in positions { row.pointer[Int(structure.columnIndices.pointer[position])] = values[position] }
        try sink(UnsafeRawBufferPointer(row.buffer))
      }
      for position in positions { row.pointer[Int(structure.columnIndices.pointer[position])] = 0 }
    }
  }
}

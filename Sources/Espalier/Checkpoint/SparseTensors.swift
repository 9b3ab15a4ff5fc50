import EspalierCore

extension StateTensor {
  /// As entries of a safetensors file; a sparse tensor's dense shape goes into the metadata.
  func safetensors(metadata: inout [String: String]) -> [SafetensorsWriter.Entry] {
    switch self {
    case .dense(let name, let shape, let values):
      return [.init(name: name, type: .float32, shape: shape) { try $0(UnsafeRawBufferPointer(values.buffer)) }]
    case .sparse(let parameter):
      let matrix = parameter.matrix
      let structure = matrix.structure
      metadata[name + ".shape"] = "[\(matrix.rows), \(matrix.columns)]"
      let wide = structure.count > Int(Int32.max) || matrix.columns > Int(Int32.max)
      return [
        .init(name: name + ".crow_indices", type: wide ? .int64 : .int32, shape: [matrix.rows + 1]) { sink in
          try Self.write(structure.rowStarts.buffer, as: wide, to: sink)
        },
        .init(name: name + ".col_indices", type: wide ? .int64 : .int32, shape: [matrix.count]) { sink in
          let indices = UnsafeMutableBufferPointer(rebasing: structure.columnIndices.buffer[..<structure.count])
          try Self.write(indices, as: wide, to: sink)
        },
        .init(name: name + ".values", type: .float32, shape: [matrix.count]) { sink in
          try matrix.withValues { try sink(UnsafeRawBufferPointer($0)) }
        },
      ]
    }
  }

  /// Writes unsigned numbers as I64 or I32, in pieces.
  private static func write<T: FixedWidthInteger>(
    _ numbers: UnsafeMutableBufferPointer<T>, as wide: Bool, to sink: SafetensorsWriter.Entry.Sink
  ) throws {
    for start in stride(from: 0, to: numbers.count, by: 4096) {
      let piece = numbers[start..<min(start + 4096, numbers.count)]
      if wide {
        try piece.map { Int64($0).littleEndian }.withUnsafeBytes { try sink($0) }
      } else {
        try piece.map { Int32($0).littleEndian }.withUnsafeBytes { try sink($0) }
      }
    }
  }
}

extension SafetensorsFile {
  /// - Throws: `EspalierError.input` where the tensor is missing or has another type or shape.
  func expect(_ name: String, shape: [Int], types: [SafetensorsType]) throws {
    guard let entry = entry(named: name) else { throw EspalierError.input("\(path): tensor '\(name)' is missing") }
    guard entry.shape == shape, types.contains(entry.type) else {
      throw EspalierError.input(
        "\(path): tensor '\(name)' is \(entry.type.rawValue) \(entry.shape), expected \(types.map(\.rawValue).joined(separator: " or ")) \(shape)"
      )
    }
  }

  /// Reads a sparse weight's structure and values, checks them, and puts them in place.
  func readSparse(into parameter: SparseParameter) throws {
    let (name, matrix) = (parameter.name, parameter.matrix)
    try expect(name + ".crow_indices", shape: [matrix.rows + 1], types: [.int32, .int64])
    guard let values = entry(named: name + ".values"), values.shape.count == 1, let count = values.shape.first else {
      throw EspalierError.input("\(path): tensor '\(name).values' is missing or not one-dimensional")
    }
    try expect(name + ".values", shape: [count], types: [.float32])
    try expect(name + ".col_indices", shape: [count], types: [.int32, .int64])
    guard count <= matrix.rows * matrix.columns else {
      throw EspalierError.input(
        "\(path): '\(name)' has \(count) connections, more than its \(matrix.rows) x \(matrix.columns)")
    }
    let site = WeightSite(layer: matrix.name, rows: matrix.rows, columns: matrix.columns, connections: count)
    let starts: MeteredBuffer<UInt64> = try readIndices(name + ".crow_indices", count: matrix.rows + 1, site, matrix)
    let columns: MeteredBuffer<UInt32> = try readIndices(name + ".col_indices", count: count, site, matrix)
    guard starts[matrix.rows] == UInt64(count) else {
      throw EspalierError.input("\(path): '\(name)' has \(count) values, its row starts end at \(starts[matrix.rows])")
    }
    let structure = SparseStructure(
      rows: matrix.rows, columns: matrix.columns, rowStarts: starts, columnIndices: columns)
    try structure.check(name: "\(path): '\(name)'")
    let numbers = MeteredBuffer<Float>(count: count, tag: .values, site: site, meter: matrix.meter)
    try read(name + ".values", into: UnsafeMutableRawBufferPointer(numbers.buffer))
    parameter.replace(structure: structure, values: numbers)
  }

  /// Reads I32 or I64 numbers as unsigned ones.
  private func readIndices<T: FixedWidthInteger & BitwiseCopyable>(
    _ name: String, count: Int, _ site: WeightSite, _ matrix: SparseMatrix
  ) throws -> MeteredBuffer<T> {
    let result = MeteredBuffer<T>(count: count, tag: .structure, site: site, meter: matrix.meter)
    func convert<S: FixedWidthInteger & BitwiseCopyable>(_: S.Type) throws {
      let raw = MeteredBuffer<S>(count: count, tag: .transfer, site: site, meter: matrix.meter)
      try read(name, into: UnsafeMutableRawBufferPointer(raw.buffer))
      for i in 0..<count {
        guard let index = T(exactly: S(littleEndian: raw.pointer[i])) else {
          throw EspalierError.input("\(path): tensor '\(name)' has the index \(raw.pointer[i]) at \(i)")
        }
        result.pointer[i] = index
      }
    }
    if entry(named: name)?.type == .int64 { try convert(Int64.self) } else { try convert(Int32.self) }
    return result
  }
}

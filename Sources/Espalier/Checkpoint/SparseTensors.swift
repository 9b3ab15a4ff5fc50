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
      let wide = structure.needsWideIndices
      return [
        .init(name: name + ".crow_indices", type: wide ? .int64 : .int32, shape: [matrix.rows + 1]) { sink in
          try structure.writeRowStarts(wide: wide, to: sink)
        },
        .init(name: name + ".col_indices", type: wide ? .int64 : .int32, shape: [matrix.count]) { sink in
          try structure.writeColumnIndices(wide: wide, to: sink)
        },
        .init(name: name + ".values", type: .float32, shape: [matrix.count]) { sink in
          try matrix.withValues { try sink(UnsafeRawBufferPointer($0)) }
        },
      ]
    }
  }
}

extension SparseStructure {
  /// Whether signed 32-bit numbers are too small for its positions or columns.
  var needsWideIndices: Bool { count > Int(Int32.max) || columns > Int(Int32.max) }

  /// Passes the row starts on as signed numbers of 64 bits where `wide`, else of 32.
  func writeRowStarts(wide: Bool, to sink: SafetensorsWriter.Entry.Sink) throws {
    try Self.write(rowStarts.buffer, as: wide, to: sink)
  }

  /// Passes the column indices on likewise.
  func writeColumnIndices(wide: Bool, to sink: SafetensorsWriter.Entry.Sink) throws {
    try Self.write(UnsafeMutableBufferPointer(rebasing: columnIndices.buffer[..<count]), as: wide, to: sink)
  }

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

  /// Reads a dense tensor, of any type of numbers.
  func readDense(_ name: String, shape: [Int], into values: MeteredBuffer<Float>, meter: AllocationMeter) throws {
    try expect(name, shape: shape, types: SafetensorsType.floatingPoint)
    try forEachPiece(of: name, site: nil, meter: meter) { first, numbers in
      (values.pointer + first).update(from: numbers.baseAddress!, count: numbers.count)
    }
  }

  /// Reads a sparse weight's structure and values, checks them, and puts them in place.
  func readSparse(into parameter: SparseParameter) throws {
    let matrix = parameter.matrix
    let (structure, values) = try readCSR(
      parameter.name, layer: matrix.name, rows: matrix.rows, columns: matrix.columns, meter: matrix.meter)
    parameter.replace(structure: structure, values: values)
  }

  /// Reads and checks the matrix that is stored as `name`.crow_indices, .col_indices and .values.
  func readCSR(
    _ name: String, layer: String, rows: Int, columns: Int, meter: AllocationMeter
  ) throws -> (structure: SparseStructure, values: MeteredBuffer<Float>) {
    try expect(name + ".crow_indices", shape: [rows + 1], types: [.int32, .int64])
    guard let entry = entry(named: name + ".values"), entry.shape.count == 1, let count = entry.shape.first else {
      throw EspalierError.input("\(path): tensor '\(name).values' is missing or not one-dimensional")
    }
    try expect(name + ".values", shape: [count], types: SafetensorsType.floatingPoint)
    try expect(name + ".col_indices", shape: [count], types: [.int32, .int64])
    guard count <= rows * columns else {
      throw EspalierError.input("\(path): '\(name)' has \(count) connections, more than its \(rows) x \(columns)")
    }
    let site = WeightSite(layer: layer, rows: rows, columns: columns, connections: count)
    let starts: MeteredBuffer<UInt64> = try readIndices(name + ".crow_indices", count: rows + 1, site, meter)
    let indices: MeteredBuffer<UInt32> = try readIndices(name + ".col_indices", count: count, site, meter)
    guard starts[rows] == UInt64(count) else {
      throw EspalierError.input("\(path): '\(name)' has \(count) values, its row starts end at \(starts[rows])")
    }
    let structure = SparseStructure(rows: rows, columns: columns, rowStarts: starts, columnIndices: indices)
    try structure.check(name: "\(path): '\(name)'")
    let values = MeteredBuffer<Float>(count: count, tag: .values, site: site, meter: meter)
    try forEachPiece(of: name + ".values", site: site, meter: meter) { first, numbers in
      (values.pointer + first).update(from: numbers.baseAddress!, count: numbers.count)
    }
    return (structure, values)
  }

  /// Reads I32 or I64 numbers as unsigned ones.
  private func readIndices<T: FixedWidthInteger & BitwiseCopyable>(
    _ name: String, count: Int, _ site: WeightSite, _ meter: AllocationMeter
  ) throws -> MeteredBuffer<T> {
    let result = MeteredBuffer<T>(count: count, tag: .structure, site: site, meter: meter)
    func convert<S: FixedWidthInteger & BitwiseCopyable>(_: S.Type) throws {
      let raw = MeteredBuffer<S>(count: count, tag: .transfer, site: site, meter: meter)
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

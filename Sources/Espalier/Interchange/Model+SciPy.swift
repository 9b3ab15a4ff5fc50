import EspalierCore
import EspalierData

extension Model {
  /// Writes a new folder with one `NAME.npz` a sparse layer, which `scipy.sparse.load_npz` reads as a CSR matrix [outputs, inputs], and
  /// `dense.npz` with everything else, which `numpy.load` reads.
  ///
  /// The folder appears when it is whole. Nothing is there where it shall be, or an empty folder.
  ///
  /// - Throws: `EspalierError.write` that names the path; `EspalierError.usage` for a layer whose name is no file's name of its own, and
  ///   for arrays of 4 GiB and more, which these archives do not hold.
  public func writeSciPy(toFolder folder: String) throws {
    let files = try sparseParameters.map { ("\(try Self.fileName($0.layerName)).npz", $0.matrix.sciPyArrays) }
    let dense = state.compactMap { tensor -> NumPyArray? in
      guard case .dense(let name, let shape, let values) = tensor else { return nil }
      return NumPyArray(
        name: name, type: NumPyFile.ElementType.float32.rawValue, shape: shape, byteCount: 4 * values.count
      ) {
        try $0(UnsafeRawBufferPointer(values.buffer))
      }
    }
    try NewFolder.make(at: folder) { temporary in
      for (name, arrays) in files + [("dense.npz", dense)] {
        try ZipArchive(arrays.map(\.member)).write(to: "\(temporary)/\(name)")
      }
    }
  }

  /// A layer's name as that of a file beside `dense.npz`.
  private static func fileName(_ layer: String) throws -> String {
    guard !layer.isEmpty, layer != "dense", !layer.hasPrefix("."), !layer.contains("/"), !layer.contains("\0") else {
      throw EspalierError.usage(
        "layer '\(layer)': its name cannot be that of a file beside dense.npz; rename the layer")
    }
    return layer
  }
}

/// An array of an .npz archive.
private struct NumPyArray {
  let name: String
  /// As NumPy's headers name it.
  let type: String
  let shape: [Int]
  let byteCount: Int
  let write: (ZipArchive.Sink) throws -> Void

  var member: ZipArchive.Member {
    let header = NumPyFile.headerBytes(type: type, shape: shape)
    return ZipArchive.Member(name: name + ".npy", byteCount: header.count + byteCount) { sink in
      try header.withUnsafeBytes { try sink($0) }
      try write(sink)
    }
  }
}

extension SparseMatrix {
  /// What `scipy.sparse.save_npz` stores of a CSR matrix.
  fileprivate var sciPyArrays: [NumPyArray] {
    let (matrix, structure, wide) = (self, structure, structure.needsWideIndices)
    let (type, width) = wide ? ("<i8", 8) : ("<i4", 4)
    return [
      NumPyArray(name: "indices", type: type, shape: [count], byteCount: width * count) {
        try structure.writeColumnIndices(wide: wide, to: $0)
      },
      NumPyArray(name: "indptr", type: type, shape: [rows + 1], byteCount: width * (rows + 1)) {
        try structure.writeRowStarts(wide: wide, to: $0)
      },
      NumPyArray(name: "format", type: "|S3", shape: [], byteCount: 3) { sink in
        try Array("csr".utf8).withUnsafeBytes { try sink($0) }
      },
      NumPyArray(name: "shape", type: "<i8", shape: [2], byteCount: 16) { sink in
        try [Int64(matrix.rows), Int64(matrix.columns)].withUnsafeBytes { try sink($0) }
      },
      NumPyArray(name: "data", type: "<f4", shape: [count], byteCount: 4 * count) { sink in
        try matrix.withValues { try sink(UnsafeRawBufferPointer($0)) }
      },
    ]
  }
}

import EspalierCore
import EspalierData
import EspalierProtobuf
import Foundation

extension Model {
  /// How an ONNX file holds sparse weights.
  public enum ONNXInitializers: Sendable {
    /// With zeros where there is no connection, as every program reads them.
    case dense
    /// Values and places of the connections (`sparse_initializer`): as small as the model. onnxruntime makes them dense as it loads.
    case sparse
  }

  /// Writes the model as an ONNX file (operator set 17, IR version 8) that computes logits [batch, classes], `logits`, from images
  /// [batch, channels, height, width], `input`, in evaluation mode.
  ///
  /// The file appears, or takes the place of an older one, when it is whole. Dense weights are passed on row by row; no dense matrix is
  /// made. ONNX files end at 2 GiB: weights of a larger model go to a second file, `PATH.data`, which belongs beside the
  /// first. It is replaced first: where writing ends between the two, an older file at `path` finds new numbers in it.
  ///
  /// The operators are those of the description, so a model of `init(_:layers:)`, whose layers may compute something
  /// else, is refused. So is one with weights that the description knows nothing of; apart from that, what a
  /// `WeightLayerFactory` makes is taken to compute what the description says.
  ///
  /// - Parameters:
  ///   - path: the file's name.
  ///   - initializers: how sparse weights are stored.
  ///   - metadata: further texts for the file.
  /// - Throws: `EspalierError.write` that names the path; `EspalierError.usage` for sparse weights of more than 2 GiB, and
  ///   for a model of given layers or of weights that its description lacks.
  /// - Complexity: O(size of the file); holds one row.
  public func writeONNX(
    to path: String, initializers: ONNXInitializers = .dense, metadata: [String: String] = [:]
  ) throws {
    try writeONNX(to: path, initializers: initializers, metadata: metadata, limit: Int(Int32.max))
  }

  /// - Parameter limit: bytes from which on weights go to a file of their own.
  package func writeONNX(
    to path: String, initializers: ONNXInitializers, metadata: [String: String], limit: Int
  ) throws {
    guard !hasGivenLayers else {
      throw EspalierError.usage(
        "\(path): \(spec.name) is of given layers, expected those of its description; use Model.init(_:factory:...)")
    }
    let taken = Set(try spec.onnxGraph().node.flatMap(\.input))
    if let stranger = state.first(where: { !taken.contains($0.name) }) {
      throw EspalierError.usage(
        "\(path): '\(stranger.name)' is not in \(spec.name)'s description, expected layers that compute what it says")
    }
    let shapes = Dictionary(uniqueKeysWithValues: spec.weightLayers.map { ($0.parameterName, $0.denseShape) })
    let tensors = state.map { ONNXTensor($0, shape: shapes[$0.name], initializers) }
    var model = try onnxMessage(tensors.map { try $0.message() }, metadata: metadata)
    if model.count >= limit {
      guard initializers == .dense else {
        throw EspalierError.usage(
          "\(path): \(model.count) bytes of sparse initializers, an ONNX file holds 2 GiB; leave out --sparse-initializers"
        )
      }
      model = try onnxMessage(try ONNXTensor.writeExternally(tensors, beside: path), metadata: metadata)
    }
    let output = try OutputFile(path: path)
    try model.write { try output.write($0) }
    try output.finish()
  }

  private func onnxMessage(
    _ tensors: [(field: Int, message: StreamedMessage)], metadata: [String: String]
  ) throws -> StreamedMessage {
    var header = Onnx_ModelProto()
    header.irVersion = 8
    header.producerName = "espalier"
    header.opsetImport = [Onnx_OperatorSetIdProto()]
    header.opsetImport[0].version = Int64(ONNXGraph.operatorSet)
    header.metadataProps = metadata.sorted { $0.key < $1.key }.map { Onnx_StringStringEntryProto($0, $1) }
    var graph = StreamedMessage(try ONNXGraph(spec).proto.serializedBytes())
    for tensor in tensors { graph.append(field: tensor.field, tensor.message) }
    var model = StreamedMessage(try header.serializedBytes())
    model.append(field: 7, graph)
    return model
  }
}

/// A piece of a model's state as an initializer, streamed from where it lies.
private struct ONNXTensor {
  private let name: String
  private let shape: [Int]
  private let content: Content

  private enum Content {
    case dense(MeteredBuffer<Float>)
    case rows(SparseMatrix)
    case connections(SparseMatrix)
  }

  /// - Parameter shape: of a weight layer's dense form.
  init(_ tensor: StateTensor, shape: [Int]?, _ initializers: Model.ONNXInitializers) {
    name = tensor.name
    switch tensor {
    case .dense(_, let stored, let values): (self.shape, content) = (stored, .dense(values))
    case .sparse(let parameter):
      let matrix = parameter.matrix
      self.shape = shape ?? [matrix.rows, matrix.columns]
      content = initializers == .sparse ? .connections(matrix) : .rows(matrix)
    }
  }

  private var byteCount: Int { 4 * shape.reduce(1, *) }

  /// Passes the dense form on.
  private func write(to sink: StreamedMessage.Sink) throws {
    switch content {
    case .dense(let values): try sink(UnsafeRawBufferPointer(values.buffer))
    case .rows(let matrix), .connections(let matrix): try matrix.writeRows(to: sink)
    }
  }

  private func head(_ type: Onnx_TensorProto.DataType, shape: [Int], name: String? = nil) -> Onnx_TensorProto {
    var head = Onnx_TensorProto()
    head.dims = shape.map(Int64.init)
    head.dataType = Int32(type.rawValue)
    if let name { head.name = name }
    return head
  }

  private static let (initializer, sparseInitializer, rawData) = (5, 15, 9)

  /// As a field of GraphProto.
  func message() throws -> (field: Int, message: StreamedMessage) {
    guard case .connections(let matrix) = content else {
      var message = StreamedMessage(try head(.float, shape: shape, name: name).serializedBytes())
      message.append(field: Self.rawData, count: byteCount, write)
      return (Self.initializer, message)
    }
    let count = matrix.count
    var values = StreamedMessage(try head(.float, shape: [count], name: name).serializedBytes())
    values.append(field: Self.rawData, count: 4 * count) { sink in
      try matrix.withValues { try sink(UnsafeRawBufferPointer($0)) }
    }
    var indices = StreamedMessage(try head(.int64, shape: [count]).serializedBytes())
    indices.append(field: Self.rawData, count: 8 * count, matrix.writePlaces)
    var sparse = Onnx_SparseTensorProto()
    sparse.dims = shape.map(Int64.init)
    var message = StreamedMessage(try sparse.serializedBytes())
    message.append(field: 1, values)
    message.append(field: 2, indices)
    return (Self.sparseInitializer, message)
  }

  /// Writes tensors to the file `PATH.data`.
  ///
  /// - Returns: fields of GraphProto that say where in it each lies.
  static func writeExternally(
    _ tensors: [ONNXTensor], beside path: String
  ) throws -> [(field: Int, message: StreamedMessage)] {
    let output = try OutputFile(path: path + ".data")
    let location = (path as NSString).lastPathComponent + ".data"
    let messages = try tensors.map { tensor in
      var head = tensor.head(.float, shape: tensor.shape, name: tensor.name)
      head.dataLocation = .external
      head.externalData = [
        .init("location", location), .init("offset", "\(output.count)"), .init("length", "\(tensor.byteCount)"),
      ]
      try tensor.write { try output.write($0) }
      return (field: initializer, message: StreamedMessage(try head.serializedBytes()))
    }
    try output.finish()
    return messages
  }
}

extension Onnx_StringStringEntryProto {
  fileprivate init(_ key: String, _ value: String) {
    self.init()
    (self.key, self.value) = (key, value)
  }
}

extension SparseMatrix {
  /// Passes on each connection's place in the dense form, row by row, as signed numbers of 64 bits.
  fileprivate func writePlaces(to sink: StreamedMessage.Sink) throws {
    var places: [Int64] = []
    for row in 0..<rows {
      for position in structure.positions(ofRow: row) {
        places.append(Int64(row * columns + Int(structure.columnIndices.pointer[position])).littleEndian)
        guard places.count == 4096 else { continue }
        try places.withUnsafeBytes { try sink($0) }
        places.removeAll(keepingCapacity: true)
      }
    }
    try places.withUnsafeBytes { try sink($0) }
  }
}

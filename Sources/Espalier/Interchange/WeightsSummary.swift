/// What a safetensors file holds, from its header alone.
public struct WeightsSummary: Sendable, Encodable {
  /// A sparse layer, stored in CSR.
  public struct Layer: Sendable, Encodable {
    /// The layer's name, e.g. `features.0`.
    public let name: String
    /// Outputs, or output channels.
    public let outputs: Int
    /// A convolution's inputs are channels * kernel height * kernel width. Nil where the metadata do not say.
    public let inputs: Int?
    /// Active connections.
    public let nnz: Int
    /// nnz / (outputs * inputs)
    public let density: Double?
    /// Of row starts, column indices and values.
    public let bytes: Int
  }

  /// Any other tensor.
  public struct Tensor: Sendable, Encodable {
    /// The tensor's name, e.g. `features.1.running_mean`.
    public let name: String
    /// The type of its numbers, as the header names it, e.g. `F32`.
    public let type: SafetensorsType
    /// Its dimensions, outermost first.
    public let shape: [Int]
    /// What its numbers take in the file.
    public let bytes: Int
    /// How many of a dense layer's weights live, where a run's checkpoint knows that they have been pruned: the others are zero.
    public let live: Int?
  }

  /// The file that was read.
  public let path: String
  /// Of the file.
  public let bytes: Int
  /// The texts in the file's header.
  public let metadata: [String: String]
  /// The sparse layers, in the names' order.
  public let layers: [Layer]
  /// All other tensors, in the names' order.
  public let tensors: [Tensor]

  /// Opens a safetensors file, or that of a checkpoint's folder, and reads its header.
  ///
  /// - Throws: `EspalierError.input` where it is absent, damaged or of another kind.
  public init(path: String) throws {
    let file = try SafetensorsFile(path: Checkpoint.file(at: path))
    let live = file.path == path ? [:] : try TrainingTensors.liveWeights(in: path)
    (self.path, bytes, metadata) = (file.path, file.byteCount, file.metadata)
    var (layers, tensors): ([Layer], [Tensor]) = ([], [])
    for name in file.names.sorted(by: SafetensorsText.precedes) {
      guard let entry = file.entry(named: name) else { continue }
      if let weight = Self.sparseWeight(of: name, in: file) {
        if name.hasSuffix(".values") { layers.append(Layer(weight, in: file)) }
      } else {
        tensors.append(
          Tensor(name: name, type: entry.type, shape: entry.shape, bytes: entry.byteRange.count, live: live[name]))
      }
    }
    (self.layers, self.tensors) = (layers, tensors)
  }

  /// Connections of all sparse layers, and live weights of those dense ones that have been pruned.
  public var connections: Int {
    layers.reduce(0) { $0 + $1.nnz } + tensors.reduce(0) { $0 + ($1.live ?? 0) }
  }

  fileprivate static let parts = ["crow_indices", "col_indices", "values"]

  /// The weight in CSR that the tensor `name` is a part of; nil where it is a tensor of its own.
  private static func sparseWeight(of name: String, in file: SafetensorsFile) -> String? {
    guard let part = parts.first(where: { name.hasSuffix("." + $0) }) else { return nil }
    let weight = String(name.dropLast(part.count + 1))
    return parts.allSatisfy { file.entry(named: "\(weight).\($0)")?.shape.count == 1 } ? weight : nil
  }
}

extension WeightsSummary.Layer {
  fileprivate init(_ weight: String, in file: SafetensorsFile) {
    let entries = WeightsSummary.parts.compactMap { file.entry(named: "\(weight).\($0)") }
    let sizes = file.metadata[weight + ".shape"]?.filter { !"[] ".contains($0) }.split(separator: ",").map { Int($0) }
    name = weight.hasSuffix(".weight") ? String(weight.dropLast(7)) : weight
    outputs = max(0, (entries.first?.shape.first ?? 1) - 1)
    inputs = sizes.flatMap { $0.count == 2 ? $0[1] : nil }
    nnz = entries.last?.shape.first ?? 0
    bytes = entries.reduce(0) { $0 + $1.byteRange.count }
    let size = Double(outputs) * Double(inputs ?? 0)
    density = size > 0 ? Double(nnz) / size : nil
  }
}

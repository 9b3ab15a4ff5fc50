import Espalier
import EspalierBaselines
import EspalierCore

/// A saved model whose file can be taken apart and put together again.
struct CheckpointFixture {
  struct Tensor {
    var type: SafetensorsType
    var shape: [Int]
    var bytes: [UInt8]

    /// As 32-bit numbers, little-endian.
    var words: [Int32] {
      get {
        stride(from: 0, to: bytes.count, by: 4).map { i in
          Int32(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[i + $1]) << (8 * UInt32($1)) })
        }
      }
      set { bytes = newValue.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } } }
    }
  }

  let folder: SafetensorsFolder
  var tensors: [String: Tensor] = [:]
  var metadata: [String: String]

  static func information(_ name: String = "mlp", width: Double = 1, hidden: [Int] = [24, 16]) -> Checkpoint.Information
  {
    Checkpoint.Information(
      model: ModelCatalog.Request(
        name: name, width: width, hidden: hidden, images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10),
      dataset: "fashion-mnist", method: "gse", seed: 3, step: 120, batchSize: 64)
  }

  /// The model that `information` describes, with numbers that differ from an untrained model's.
  static func model(
    _ information: Checkpoint.Information, dense: Bool = false, context: ComputeContext
  ) throws -> Model {
    let spec = try ModelCatalog.spec(information.model)
    let random = CounterRandom(seed: 77)
    let model =
      dense
      ? try Model(spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
      : try Model(sparse: spec, sparsity: 0.9, random: random, context: context)
    for case .dense(_, _, let values) in model.state {
      for i in 0..<values.count { values[i] += Float(i % 13) / 64 }
    }
    return model
  }

  /// Saves an `mlp` and reads its file.
  init(dense: Bool = false) throws {
    folder = try SafetensorsFolder()
    let information = Self.information()
    let context = try ComputeContext(threads: 1)
    let model = try Self.model(information, dense: dense, context: context)
    try Checkpoint.save(model, information, to: folder.path + "/whole", temporary: folder.path)
    let file = try SafetensorsFile(path: folder.path + "/whole/model.safetensors")
    metadata = file.metadata
    for name in file.names {
      guard let entry = file.entry(named: name) else { continue }
      tensors[name] = Tensor(type: entry.type, shape: entry.shape, bytes: try file.bytes(of: name))
    }
  }

  /// Writes the file as it is now, and loads it.
  func load() throws {
    let entries = tensors.map { SafetensorsWriter.Entry($0, $1.type, $1.shape, bytes: $1.bytes) }
    try SafetensorsWriter(entries: entries, metadata: metadata).write(to: folder.file())
    let checkpoint = try Checkpoint(path: folder.file())
    let context = try ComputeContext(threads: 1)
    if checkpoint.isSparse {
      _ = try checkpoint.sparseModel(context: context)
    } else {
      let factory = DenseLayerFactory(random: CounterRandom(seed: 0), context: context)
      _ = try checkpoint.model(factory: factory, context: context)
    }
  }
}

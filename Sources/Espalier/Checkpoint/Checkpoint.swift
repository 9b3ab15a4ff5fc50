import EspalierCore
import Foundation

/// A trained model on disk: a folder with `model.safetensors`, whose metadata says what model it is.
///
/// Sparse weights are stored as `X.crow_indices`, `X.col_indices`, `X.values`, and never as a dense tensor.
public struct Checkpoint {
  /// What a checkpoint says of itself.
  public struct Information: Sendable, Hashable {
    /// What the model was made from.
    public var model: ModelCatalog.Request
    /// Name of the data set that it was trained on.
    public var dataset: String
    /// Name of the method that moved its connections.
    public var method: String
    /// The run's seed.
    public var seed: UInt64
    /// Steps taken.
    public var step: Int
    /// Samples a step saw in one pass.
    public var batchSize: Int

    /// What a run knows of itself when it saves.
    public init(
      model: ModelCatalog.Request, dataset: String, method: String, seed: UInt64, step: Int, batchSize: Int
    ) {
      self.model = model
      self.dataset = dataset
      self.method = method
      self.seed = seed
      self.step = step
      self.batchSize = batchSize
    }
  }

  static let format = "1"
  /// The key that marks a file's metadata as a checkpoint's.
  static let formatKey = "espalier.format"
  static let fileName = "model.safetensors"

  /// What the file says of itself.
  public let information: Information
  /// The model's description.
  public let spec: ModelSpec
  private let file: SafetensorsFile
  /// Nil where a file alone was opened.
  private let folder: String?

  /// Opens a checkpoint's folder, or its file. Its model is the one that `ModelCatalog` has under its name.
  ///
  /// - Throws: `EspalierError.input` where it is absent, damaged or of another kind.
  public init(path: String) throws {
    try self.init(path: path) { information, file in
      do {
        return try ModelCatalog.spec(information.model)
      } catch let error as EspalierError {
        throw EspalierError.input("\(file): \(error.message)")
      }
    }
  }

  /// Opens a checkpoint of a model that has no name in `ModelCatalog`.
  ///
  /// - Parameters:
  ///   - path: the checkpoint's folder.
  ///   - spec: what the model was made from. Whether the weights fit shows when they are loaded.
  /// - Throws: `EspalierError.input` where it is absent, damaged or of another kind.
  public init(path: String, spec: ModelSpec) throws {
    try self.init(path: path) { _, _ in spec }
  }

  private init(path: String, spec: (Information, _ file: String) throws -> ModelSpec) throws {
    let filePath = try Self.file(at: path)
    file = try SafetensorsFile(path: filePath)
    folder = filePath == path ? nil : path
    information = try Information(metadata: file.metadata, path: filePath)
    self.spec = try spec(information, filePath)
  }

  /// The file of a checkpoint's folder, or the file that `path` is.
  ///
  /// - Throws: `EspalierError.input` where there is neither.
  static func file(at path: String) throws -> String {
    var isFolder: ObjCBool = false
    guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
      throw EspalierError.input("\(path): no such file or folder; expected a checkpoint or a safetensors file")
    }
    return isFolder.boolValue ? path + "/" + fileName : path
  }

  /// Whether its weights are sparse.
  public var isSparse: Bool {
    spec.weightLayers.allSatisfy { file.entry(named: $0.shape.name + ".weight.values") != nil }
  }

  /// The model with the stored weights; `factory` makes the layers that they go into, empty ones do. Dense weights have the masks that a run's
  /// checkpoint keeps of them.
  ///
  /// - Throws: `EspalierError.input` where a tensor is missing or does not fit.
  public func model(factory: some WeightLayerFactory, context: ComputeContext) throws -> Model {
    try checkShapes()
    let model = try Model(
      spec, factory: factory, random: CounterRandom(seed: information.seed), context: context)
    for tensor in model.state {
      switch tensor {
      case .sparse(let parameter): try file.readSparse(into: parameter)
      case .dense(let name, let shape, let values):
        try file.readDense(name, shape: shape, into: values, meter: context.meter)
      }
    }
    if let folder, !isSparse { try TrainingTensors.readMasks(into: model, from: folder, meter: context.meter) }
    return model
  }

  /// Makes sure that the file holds layers of the sizes that its metadata claims, before memory is asked for them.
  private func checkShapes() throws {
    for layer in spec.weightLayers {
      let (shape, name) = (layer.shape, layer.shape.name + ".weight")
      if isSparse {
        try file.expect(name + ".crow_indices", shape: [shape.rows + 1], types: [.int32, .int64])
        let (stated, expected) = (file.metadata[name + ".shape"], "[\(shape.rows), \(shape.columns)]")
        guard stated == expected else {
          throw EspalierError.input(
            "\(file.path): metadata '\(name).shape' is \(stated ?? "missing"), expected \(expected)")
        }
      } else {
        try file.expect(name, shape: layer.denseShape, types: SafetensorsType.floatingPoint)
      }
    }
  }

  /// The stored model with sparse layers.
  public func sparseModel(context: ComputeContext) throws -> Model {
    let budgets = [Int](repeating: 0, count: spec.weightLayers.count)
    let factory = SparseLayerFactory(
      budgets: budgets, random: CounterRandom(seed: information.seed), context: context)
    return try model(factory: factory, context: context)
  }

  /// Writes `model` into a new folder `folder`, under a temporary name until it is whole.
  ///
  /// - Parameters:
  ///   - model: any model; one that is to be loaded by `sparseModel(context:)` is that of `information.model`.
  ///   - information: what the file says of itself.
  ///   - folder: appears when it is whole; its parents are made.
  ///   - temporary: a folder on the same file system, for the temporary name; by default the one that gets `folder`.
  /// - Throws: `EspalierError.write` that names the path, also where there is something already.
  public static func save(
    _ model: Model, _ information: Information, to folder: String, temporary: String? = nil
  ) throws {
    var metadata = information.metadata.merging(model.denseShapes) { given, _ in given }
    let entries = model.state.flatMap { $0.safetensors(metadata: &metadata) }
    try NewFolder.make(at: folder, temporaryIn: temporary) {
      try SafetensorsWriter(entries: entries, metadata: metadata).write(to: $0 + "/" + fileName)
    }
  }
}

extension Checkpoint.Information {
  /// As a checkpoint's metadata, which make a file of CSR weights one.
  public var metadata: [String: String] {
    [
      Checkpoint.formatKey: Checkpoint.format, "model": model.name, "width": "\(model.width)",
      "hidden": model.hidden.map(String.init).joined(separator: ","),
      "images": "\(model.images.channels)x\(model.images.height)x\(model.images.width)", "classes": "\(model.classes)",
      "dataset": dataset, "method": method, "seed": "\(seed)", "step": "\(step)", "batch_size": "\(batchSize)",
    ]
  }

  /// - Throws: `EspalierError.input` that names `path`, for metadata that are no checkpoint's.
  init(metadata: [String: String], path: String) throws {
    guard let format = metadata[Checkpoint.formatKey] else {
      throw EspalierError.input("\(path): not an Espalier checkpoint (no 'espalier.format' in its metadata)")
    }
    guard format == Checkpoint.format else {
      throw EspalierError.input("\(path): checkpoint format \(format), this version reads format \(Checkpoint.format)")
    }
    func value<T>(_ key: String, _ parse: (String) -> T?) throws -> T {
      guard let text = metadata[key] else { throw EspalierError.input("\(path): metadata lacks '\(key)'") }
      guard let value = parse(text) else {
        throw EspalierError.input("\(path): metadata '\(key)' is '\(text)', which is no such value")
      }
      return value
    }
    let images = try value("images") { text -> FeatureSize? in
      let sizes = text.split(separator: "x").compactMap { Int($0) }
      guard sizes.count == 3, sizes.allSatisfy({ (1...65_536).contains($0) }) else { return nil }
      return FeatureSize(channels: sizes[0], height: sizes[1], width: sizes[2])
    }
    let hidden = try value("hidden") { text -> [Int]? in
      let parts = text.split(separator: ",")
      let sizes = parts.compactMap { Int($0) }
      return sizes.count == parts.count ? sizes : nil
    }
    self.init(
      model: ModelCatalog.Request(
        name: try value("model") { $0 }, width: try value("width") { Double($0) }, hidden: hidden, images: images,
        classes: try value("classes") { Int($0).flatMap { (1...1 << 24).contains($0) ? $0 : nil } }),
      dataset: try value("dataset") { $0 }, method: try value("method") { $0 },
      seed: try value("seed") { UInt64($0) }, step: try value("step") { Int($0) },
      batchSize: try value("batch_size") { Int($0).flatMap { (1...65_536).contains($0) ? $0 : nil } })
  }
}

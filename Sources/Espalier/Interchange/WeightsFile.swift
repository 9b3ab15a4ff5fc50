import EspalierCore

/// Weights in a safetensors file under PyTorch's names, whoever wrote it.
///
/// A weight is stored in one of two forms, which a file may mix:
/// - masked dense: `X.weight` as in PyTorch's state_dict, [outputs, inputs] or [outputs, channels, kernel height, kernel width]. A weight
///   that is exactly zero is inactive, the rest is active. This is the one place where structure is found from values; the tensor is read
///   in pieces, twice, and never held whole.
/// - CSR: `X.weight.crow_indices`, `X.weight.col_indices`, `X.weight.values`, and `X.weight.shape` in the metadata, as
///   `Model.writeSafetensors` and checkpoints have it. A stored zero is a connection.
///
/// Numbers may be F32, F16, BF16 or F64; each must be finite.
///
/// ```swift
/// let model = try Model(spec, weights: WeightsFile(path: "resnet20.safetensors"), context: context)
/// ```
public struct WeightsFile {
  let file: SafetensorsFile

  /// Where the file lies.
  public var path: String { file.path }

  /// Opens a safetensors file, or that of a checkpoint's folder.
  ///
  /// - Throws: `EspalierError.input` where it is absent, damaged or of another kind.
  public init(path: String) throws { file = try SafetensorsFile(path: Checkpoint.file(at: path)) }

  /// Active connections of each of a model's weight layers. O(bytes) for a masked dense layer, O(1) for one in CSR.
  ///
  /// - Throws: `EspalierError.input` where a weight is missing, of another shape, or not finite.
  public func connections(of spec: ModelSpec) throws -> [Int] {
    let meter = AllocationMeter()
    return try spec.weightLayers.map { layer in
      if let faults = fault(of: layer) { throw unfit([faults]) }
      if let values = file.entry(named: layer.parameterName + ".values") { return values.shape.reduce(1, *) }
      var count = 0
      try file.forEachPiece(of: layer.parameterName, site: layer.site(connections: 0), meter: meter) { _, numbers in
        for number in numbers where number != 0 { count += 1 }
      }
      return count
    }
  }

  /// Number of outputs of the weight layer `name`; nil where the file has no such layer.
  public func outputs(ofLayer name: String) -> Int? {
    if let entry = file.entry(named: name + ".weight") { return entry.shape.first }
    return file.entry(named: name + ".weight.crow_indices")?.shape.first.map { $0 - 1 }
  }

  /// - Throws: `EspalierError.input` that names every tensor that a model lacks, and all that are missing or of another shape.
  func check(against model: Model) throws {
    let layers = Dictionary(uniqueKeysWithValues: model.spec.weightLayers.map { ($0.parameterName, $0) })
    var faults: [String] = []
    var known: Set<String> = []
    let hasStatistics = file.names.contains(where: Self.isStatistic)
    for tensor in model.state {
      known.formUnion([tensor.name] + ["crow_indices", "col_indices", "values"].map { "\(tensor.name).\($0)" })
      if let layer = layers[tensor.name] {
        if let fault = fault(of: layer) { faults.append(fault) }
      } else if case .dense(let name, let shape, _) = tensor {
        let isOptional = Self.isStatistic(name) && !hasStatistics
        if let fault = fault(of: name, shape: shape, isOptional: isOptional) { faults.append(fault) }
      }
    }
    // In a file of our own, what is no weight belongs to the run.
    if file.metadata[Checkpoint.formatKey] == nil {
      let unknown = file.names.filter { !known.contains($0) && !$0.hasSuffix("num_batches_tracked") }
      faults += unknown.map { "\(SafetensorsText.quoted($0)) is not in the model" }
    }
    guard faults.isEmpty else { throw unfit(faults, model: model.spec.name) }
  }

  /// Running statistics may all be absent: the model then keeps its own.
  static func isStatistic(_ name: String) -> Bool { name.hasSuffix(".running_mean") || name.hasSuffix(".running_var") }

  /// What is wrong with a weight layer's tensors, if anything is.
  private func fault(of layer: WeightLayer) -> String? {
    let name = layer.parameterName
    guard isSparse(name) else { return fault(of: name, shape: layer.denseShape, isOptional: false) }
    guard file.entry(named: name) == nil else {
      return "\(SafetensorsText.quoted(name)) is there both dense and as CSR"
    }
    let stated = file.metadata[name + ".shape"]
    let sizes = stated?.trimmingPrefix("[").split(separator: ",").map { Int($0.filter { !" ]".contains($0) }) }
    guard let sizes, sizes == [layer.shape.rows, layer.shape.columns] || sizes == layer.denseShape else {
      return
        "metadata '\(name).shape' is \(stated ?? "missing"), expected [\(layer.shape.rows), \(layer.shape.columns)]"
    }
    let starts = file.entry(named: name + ".crow_indices")?.shape
    guard starts == [layer.shape.rows + 1] else {
      return
        "'\(name).crow_indices' is \(starts.map { "of shape \($0)" } ?? "missing"), expected [\(layer.shape.rows + 1)]"
    }
    return nil
  }

  private func fault(of name: String, shape: [Int], isOptional: Bool) -> String? {
    guard let entry = file.entry(named: name) else {
      return isOptional ? nil : "\(SafetensorsText.quoted(name)) is missing"
    }
    guard entry.shape == shape, SafetensorsType.floatingPoint.contains(entry.type) else {
      return "\(SafetensorsText.quoted(name)) is \(entry.type.rawValue) \(entry.shape), expected F32 \(shape)"
    }
    return nil
  }

  private func unfit(_ faults: [String], model: String? = nil) -> EspalierError {
    let shown = 6
    let rest = faults.count > shown ? "; and \(faults.count - shown) more" : ""
    return .input(
      "\(path): does not fit the model\(model.map { " \($0)" } ?? ""): "
        + faults.prefix(shown).joined(separator: "; ") + rest + namesHint)
  }

  /// What to do about names that a wrapper has put something in front of; empty where none has.
  package var namesHint: String {
    for (prefix, wrapped) in [("module.", "model.module"), ("_orig_mod.", "model._orig_mod")]
    where file.names.contains(where: { $0.hasPrefix(prefix) }) {
      return "; its names start with '\(prefix)': save \(wrapped).state_dict()"
    }
    return ""
  }

  func isSparse(_ name: String) -> Bool { file.entry(named: name + ".values") != nil }
}

extension WeightLayer {
  /// The weight's name, e.g. `features.0.weight`.
  var parameterName: String { shape.name + ".weight" }

  func site(connections: Int) -> WeightSite {
    WeightSite(layer: shape.name, rows: shape.rows, columns: shape.columns, connections: connections)
  }
}

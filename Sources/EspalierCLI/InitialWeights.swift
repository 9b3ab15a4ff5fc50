import Espalier
import EspalierCore

/// Weights from elsewhere, as `train --init`, `predict --init` and `import` take them.
extension WeightsFile {
  /// The sparsity of the model that the weights make.
  ///
  /// - Throws: `EspalierError.usage` where `stated` disagrees by more than one connection; `EspalierError.input` where the weights do
  ///   not fit.
  func sparsity(of spec: ModelSpec, stated: Double?) throws -> Double {
    let connections = try connections(of: spec).reduce(0, +)
    guard connections > 0 else {
      throw EspalierError.input("\(path): has no weight that is not zero; expected at least one connection")
    }
    let size = Double(spec.sparsifiableWeights)
    if let stated {
      let budget = Int(((1 - stated) * size).rounded())
      guard abs(budget - connections) <= 1 else {
        throw EspalierError.usage(
          "sparsity: \(stated) asks for \(budget) connections, \(path) has \(connections) "
            + "(sparsity \(1 - Double(connections) / size)); leave --sparsity out")
      }
    }
    return 1 - Double(connections) / size
  }

  /// The request for the named model with as many classes as the weights' head has.
  ///
  /// - Throws: `EspalierError.input` where the weights lack the head; `EspalierError.usage` where `request.classes`, unless it is 0,
  ///   says otherwise, and for a model that cannot be.
  func request(_ request: ModelCatalog.Request) throws -> ModelCatalog.Request {
    var result = request
    result.classes = max(1, request.classes)
    guard let head = try ModelCatalog.spec(result).weightLayers.last?.shape.name else { return result }
    guard let classes = outputs(ofLayer: head), (1...1 << 24).contains(classes) else {
      throw EspalierError.input(
        "\(path): lacks '\(head).weight', the head of \(request.name); is it that model's?\(namesHint)")
    }
    guard request.classes == 0 || request.classes == classes else {
      throw EspalierError.usage(
        "classes: \(request.classes) given, the head of \(path) has \(classes); leave --classes out")
    }
    result.classes = classes
    return result
  }
}

/// The flags that say what model weights are for.
struct ModelShape {
  let model: String
  let width: Double
  let hidden: [Int]

  /// - Throws: `EspalierError.usage` for a list that is none, and for hidden layers of another model than `mlp`.
  init(model: String, width: Double?, hidden: String?) throws {
    self.model = model
    self.width = width ?? 1
    guard let hidden else {
      self.hidden = ModelCatalog.defaultHidden
      return
    }
    guard model == "mlp" else {
      throw EspalierError.usage("hidden: only model mlp takes it, the model is \(model)")
    }
    self.hidden = try ValueList.parse(hidden, flag: "hidden", mayBeEmpty: true, Int.init)
  }

  /// - Parameter classes: 0 for as many as the weights have.
  func request(images: FeatureSize, classes: Int = 0) -> ModelCatalog.Request {
    ModelCatalog.Request(name: model, width: width, hidden: hidden, images: images, classes: classes)
  }
}

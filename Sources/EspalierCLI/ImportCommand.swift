import ArgumentParser
import Espalier
import EspalierCore
import EspalierData

struct ImportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "import", abstract: "Makes a checkpoint of weights with PyTorch's names.",
    discussion: "Of a masked dense weight, what is exactly zero becomes no connection.")

  @Argument(help: "A safetensors file, masked dense or CSR.") var weights: String
  @Option(help: "The model, as in train.") var model: String
  @Option(help: "Multiplies the model's channels.") var width: Double?
  @Option(help: "mlp only: units of the hidden layers, e.g. 512,512.") var hidden: String?
  @Option(help: "Number of classes; by default the head's.") var classes: Int?
  @Option(help: "The data set that the model is for, which eval uses; by default the first with as many classes.")
  var dataset: String?
  @Option(help: "Folder of the data set's files, with --dataset; of the user's own sets the images' size is read.")
  var dataDir: String?
  @Option(help: "The checkpoint's folder, a new one.") var output: String
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let checkpoint, model: String
    let sparsity: Double
    let nnz, sparsifiableWeights, parameters, classes: Int
    let layers: [RunResult.Layer]
    let weightsSHA256: String

    enum CodingKeys: String, CodingKey {
      case checkpoint, model, sparsity, nnz, sparsifiableWeights, parameters, classes, layers
      case weightsSHA256 = "weights_sha256"
    }
  }

  func run() throws {
    if let classes, !(1...1 << 24).contains(classes) {
      throw EspalierError.usage("classes: \(classes) is out of range; expected 1 to \(1 << 24)")
    }
    let shape = try ModelShape(model: model, width: width, hidden: hidden)
    // What the flags alone make wrong is found before the file is opened.
    guard dataset != nil || dataDir == nil else {
      throw EspalierError.usage("data-dir: expected --dataset beside it")
    }
    var description = try DatasetCatalog.plannable(dataset ?? RunConfiguration().dataset, directory: dataDir)
    let images = description.images(forModel: self.model)
    _ = try ModelCatalog.spec(shape.request(images: images, classes: classes ?? description.classes))
    let file = try WeightsFile(path: weights)
    var request = try file.request(shape.request(images: images, classes: classes ?? 0))
    if dataset == nil, let found = fitting(request.classes) {
      description = found
      request.images = found.images(forModel: self.model)
    }
    let spec = try ModelCatalog.spec(request)
    let context = try ComputeContext(threads: 1)
    let model = try Activity.during("reading \(weights)") { try Model(spec, weights: file, context: context) }
    try context.meter.check()
    let information = Checkpoint.Information(
      model: request, dataset: description.name, method: "imported", seed: 0, step: 0, batchSize: 128)
    try Activity.during("writing \(output)") { try Checkpoint.save(model, information, to: output) }
    if dataset == nil { Terminal.note("note: taken for \(description.name); name another with --dataset") }
    if description.classes != request.classes {
      Terminal.note(
        "note: \(description.name) has \(description.classes) classes, the weights' head \(request.classes): predict and export work, eval does not"
      )
    }
    try report(model)
  }

  /// The first data set with as many classes. An `mlp` sees images as they are stored, which are not large ones.
  private func fitting(_ classes: Int) -> DatasetDescription? {
    DatasetCatalog.descriptions.first { $0.classes == classes && !($0.isResizable && model == "mlp") }
  }

  private func report(_ model: Model) throws {
    let spec = model.spec
    let sparsity = 1 - Double(model.connections) / Double(spec.sparsifiableWeights)
    guard json else {
      return try Terminal.result(
        "\(model.connections) of \(spec.sparsifiableWeights) weights of \(spec.name) are active, sparsity \(sparsity), in \(output)"
      )
    }
    let layers = zip(spec.weightLayers, model.connectionCounts).map {
      RunResult.Layer(name: $0.shape.name, inputs: $0.shape.columns, outputs: $0.shape.rows, nnz: $1)
    }
    try Terminal.json(
      Result(
        checkpoint: output, model: spec.name, sparsity: sparsity, nnz: model.connections,
        sparsifiableWeights: spec.sparsifiableWeights, parameters: spec.parameters, classes: spec.classes,
        layers: layers, weightsSHA256: model.weightsSHA256))
  }
}

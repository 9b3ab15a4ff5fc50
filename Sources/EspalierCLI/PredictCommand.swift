import ArgumentParser
import Espalier
import EspalierCore
import EspalierData

struct PredictCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "predict", abstract: "Writes a model's logits for the images in a NumPy file.",
    discussion: "Either predict CHECKPOINT, or predict --model M --init W.safetensors.")

  @Argument(help: "A run's folder, or a checkpoint in it.") var path: String?
  @Option(help: "With --init: the model, as in train.") var model: String?
  @Option(help: "With --init: multiplies the model's channels.") var width: Double?
  @Option(help: "With --init, mlp only: units of the hidden layers, e.g. 512,512.") var hidden: String?
  @Option(name: .customLong("init"), help: "Weights: a safetensors file, masked dense or CSR.") var weights: String?
  @Option(help: "Images: N x C x H x W, float32, normalised (.npy).") var input: String
  @Option(help: "Gets the logits: N x classes, float32 (.npy). An existing file is replaced.") var output: String
  @Option(help: "Samples a batch; by default 128, or fewer where they would take more than 1 GiB.") var batchSize: Int?
  @Option(help: "Threads; results do not depend on them.") var threads: Int?
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let model, weights, input, output: String
    let samples, classes, nnz: Int
    /// Milliseconds a batch, but for the first three where there are more.
    let batchMsMedian, batchMsMin, batchMsP90: Double?
  }

  func run() throws {
    let context = try ComputeContext(threads: threads)
    if let batchSize, !(1...65_536).contains(batchSize) {
      throw EspalierError.usage("batch-size: \(batchSize) is out of range; expected 1 to 65536")
    }
    let request = try source()
    let images = try NumPyFile(path: input)
    let (model, weights) = try request(images, context)
    let predictor = try Predictor(model, batchSize: batchSize, context: context)
    var times: [Double] = []
    let line = ProgressLine()
    defer { line.close() }
    let batches = ((images.shape.first ?? 0) + predictor.batchSize - 1) / predictor.batchSize
    let samples = try StoppedResult.whereDiverged(isPrinted: json, checkpoint: weights) {
      try predictor.predict(images, to: output) {
        times.append(1000 * $0.seconds)
        line.showIfDue("predicting, batch \(times.count) of \(batches)")
      }
    }
    line.close()
    let counted = times.dropFirst(times.count > 3 ? 3 : 0).sorted()
    let result = Result(
      model: model.spec.name, weights: weights, input: input, output: output, samples: samples,
      classes: model.spec.classes, nnz: model.connectionCounts.reduce(0, +),
      batchMsMedian: counted.isEmpty ? nil : counted[counted.count / 2], batchMsMin: counted.first,
      batchMsP90: counted.isEmpty ? nil : counted[counted.count * 9 / 10])
    guard !json else { return try Terminal.json(result) }
    try Terminal.result("\(result.samples) x \(result.classes) logits of \(result.model) in \(output)")
  }

  private typealias Source = (_ images: NumPyFile, _ context: ComputeContext) throws -> (model: Model, weights: String)

  /// Where the model comes from.
  ///
  /// - Throws: `EspalierError.usage` for flags that contradict each other.
  private func source() throws -> Source {
    switch (path, model, weights) {
    case (let path?, nil, nil):
      guard width == nil, hidden == nil else {
        throw EspalierError.usage("width, hidden: a checkpoint says so itself; leave them out")
      }
      return { images, context in
        let place = try CheckpointLocation.verified(path)
        let checkpoint = try Checkpoint(path: place)
        if let spec = Self.spec(of: checkpoint, resizedTo: images) {
          return (try Model(spec, weights: WeightsFile(path: place), context: context), place)
        }
        return (try checkpoint.loadModel(context: context), place)
      }
    case (nil, let model?, let weights?):
      let shape = try ModelShape(model: model, width: width, hidden: hidden)
      // What the flags alone make wrong is found before any file is opened.
      _ = try ModelCatalog.spec(shape.request(images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10))
      return { images, context in
        let spec = try Self.spec(shape, weights: WeightsFile(path: weights), images: images)
        return (try Model(spec, weights: WeightsFile(path: weights), context: context), weights)
      }
    default:
      throw EspalierError.usage("predict: expected either a checkpoint, or both --model and --init")
    }
  }

  /// The checkpoint's model for images of another size than its own, where it has the same weights for them: convolutional networks that
  /// end in a pool of any size. Nil where it has not.
  private static func spec(of checkpoint: Checkpoint, resizedTo images: NumPyFile) -> ModelSpec? {
    guard checkpoint.isSparse, images.shape.count == 4, images.shape[1...].allSatisfy({ (1...65_536).contains($0) })
    else { return nil }
    let size = FeatureSize(channels: images.shape[1], height: images.shape[2], width: images.shape[3])
    var request = checkpoint.information.model
    request.images = size
    guard size != checkpoint.spec.input, let spec = try? ModelCatalog.spec(request), spec.input == size,
      spec.weightLayers.map(\.shape) == checkpoint.spec.weightLayers.map(\.shape)
    else { return nil }
    return spec
  }

  /// The model for images of the size that they have; what is wrong with that size is the file's fault.
  private static func spec(_ shape: ModelShape, weights: WeightsFile, images: NumPyFile) throws -> ModelSpec {
    guard images.shape.count == 4, images.shape[1...].allSatisfy({ (1...65_536).contains($0) }) else {
      throw EspalierError.input("\(images.path): holds an array of shape \(images.shape), expected N x C x H x W")
    }
    let size = FeatureSize(channels: images.shape[1], height: images.shape[2], width: images.shape[3])
    do {
      return try ModelCatalog.spec(weights.request(shape.request(images: size)))
    } catch let error as EspalierError where error.kind == .usage {
      throw EspalierError.input("\(images.path): \(error.message)")
    }
  }
}

import ArgumentParser
import Espalier
import EspalierCore
import Foundation

struct ExportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "export", abstract: "Writes a checkpoint's weights for other programs.",
    discussion: "An existing file is replaced when the new one is whole; a folder must be a new one.")

  private enum Format: String, CaseIterable { case safetensors, npz, onnx }

  @Argument(help: "A run's folder, or a checkpoint in it.") var path: String
  @Option(
    help: "safetensors or onnx (a file), or npz (a folder: one NAME.npz a sparse layer, for SciPy, and dense.npz).")
  var format: String
  @Option(help: "The file or folder.") var output: String
  @Flag(help: "safetensors: weights as PyTorch's loaders want them, with zeros for what is inactive.")
  var maskedDense = false
  @Flag(help: "onnx: sparse weights as values and places; onnxruntime reads them, other programs may not.")
  var sparseInitializers = false
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    let checkpoint, model, format, output: String
    let maskedDense, sparseInitializers: Bool
    let nnz, lostZeros: Int
  }

  func run() throws {
    let format = try chosenFormat()
    let place = try CheckpointLocation.verified(path)
    let checkpoint = try Checkpoint(path: place)
    guard checkpoint.isSparse || !sparseInitializers else {
      throw EspalierError.usage("sparse-initializers: goes with sparse weights, \(place) has dense ones; leave it out")
    }
    let model = try Activity.during("reading \(place)") {
      try checkpoint.loadModel(context: ComputeContext(threads: 1))
    }
    try makeParents()
    try Activity.during("writing \(output)") { try write(model, of: checkpoint.information, as: format) }
    let lost = maskedDense ? model.zeroConnections : 0
    if lost > 0 {
      Terminal.note(
        "warning: \(lost) of \(model.connections) connections have the weight zero; masked dense loses them, CSR keeps them"
      )
    }
    let result = Result(
      checkpoint: place, model: model.spec.name, format: format.rawValue, output: output, maskedDense: maskedDense,
      sparseInitializers: sparseInitializers, nnz: model.connectionCounts.reduce(0, +), lostZeros: lost)
    guard !json else { return try Terminal.json(result) }
    let stored = model.spec.sparsifiableWeights
    let zeros =
      checkpoint.isSparse || result.nnz == stored ? "" : ", and \(stored - result.nnz) zeros for those that were pruned"
    try Terminal.result("\(result.nnz) weights of \(result.model) in \(output)\(zeros)")
  }

  private func write(_ model: Model, of information: Checkpoint.Information, as format: Format) throws {
    switch format {
    case .safetensors where maskedDense:
      try model.writeSafetensors(to: output, layout: .maskedDense, metadata: Self.pyTorch(information))
    case .safetensors: try model.writeSafetensors(to: output, metadata: information.metadata)
    case .npz: try model.writeSciPy(toFolder: output)
    case .onnx:
      try model.writeONNX(
        to: output, initializers: sparseInitializers ? .sparse : .dense,
        metadata: Self.withoutMark(information))
    }
  }

  /// Makes the folders that the output is to lie in.
  private func makeParents() throws {
    let parent = (URL(fileURLWithPath: output).path as NSString).deletingLastPathComponent
    do {
      try FileManager.default.createDirectory(atPath: parent, withIntermediateDirectories: true)
    } catch {
      throw EspalierError.write("\(output): its folder cannot be made: \(error.reason)")
    }
  }

  private func chosenFormat() throws -> Format {
    let names = Format.allCases.map(\.rawValue)
    guard let chosen = Format(rawValue: format) else {
      let hint = EspalierError.nearest(to: format, among: names).map { "; did you mean '\($0)'?" } ?? ""
      throw EspalierError.usage("format: '\(format)' is unknown\(hint) (expected \(names.joined(separator: ", ")))")
    }
    guard chosen == .safetensors || !maskedDense else {
      throw EspalierError.usage("masked-dense: goes with --format safetensors, the format is \(format)")
    }
    guard chosen == .onnx || !sparseInitializers else {
      throw EspalierError.usage("sparse-initializers: goes with --format onnx, the format is \(format)")
    }
    return chosen
  }

  /// A checkpoint's metadata without the mark that its weights are a checkpoint's.
  private static func withoutMark(_ information: Checkpoint.Information) -> [String: String] {
    var metadata = information.metadata
    metadata["espalier.format"] = nil
    return metadata
  }

  /// The same with the mark that loaders of PyTorch look for.
  private static func pyTorch(_ information: Checkpoint.Information) -> [String: String] {
    var metadata = withoutMark(information)
    metadata["format"] = "pt"
    return metadata
  }
}

import ArgumentParser
import Espalier
import EspalierCore
import Foundation

struct InspectCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect", abstract: "Shows what a checkpoint or a safetensors file holds, without loading its data.")

  @Argument(help: "A run's folder (its newest whole checkpoint), a checkpoint, or a safetensors file.") var path: String
  @Flag(help: "Print the result as one JSON object.") var json = false

  func run() throws {
    let contents = Contents(try WeightsSummary(path: CheckpointLocation.resolve(path)))
    if json { try Terminal.json(contents) } else { try Terminal.result(contents.text) }
  }
}

/// What `inspect` prints.
private struct Contents: Encodable {
  let kind: String
  let path: String
  let bytes: Int
  /// Of a checkpoint; other files may name a model too.
  let model: String?
  let step: Int?
  /// Of the layers in CSR, and of dense ones that a run has pruned.
  let nnz: Int
  let density: RunResult.OrNull<Double>
  let layers: [WeightsSummary.Layer]
  let tensors: [WeightsSummary.Tensor]
  let metadata: [String: String]

  init(_ summary: WeightsSummary) {
    kind = summary.metadata["espalier.format"] == nil ? "weights" : "checkpoint"
    (path, bytes, metadata) = (summary.path, summary.bytes, summary.metadata)
    model = metadata["model"]
    step = metadata["step"].flatMap { Int($0) }
    nnz = summary.connections
    let sizes =
      summary.layers.map { Double($0.outputs) * Double($0.inputs ?? 0) }
      + summary.tensors.filter { $0.live != nil }.map { Double($0.shape.reduce(1, *)) }
    let size = sizes.contains(0) ? 0 : sizes.reduce(0, +)
    density = RunResult.OrNull(value: size > 0 ? Double(nnz) / size : nil)
    (layers, tensors) = (summary.layers, summary.tensors)
  }

  /// For people.
  var text: String {
    var lines = ["\(kind)  \(path), \(bytes) bytes"]
    let keys = ["model", "width", model == "mlp" ? "hidden" : "", "classes", "dataset", "method", "seed", "step"]
    lines += keys.compactMap { key in
      metadata[key].flatMap { $0.isEmpty ? nil : Self.cell(key, 16) + Self.oneLine($0) }
    }
    let names = layers.map(\.name) + tensors.map(\.name)
    let width = min(60, max(20, (names.map(\.count).max() ?? 0) + 2))
    if !layers.isEmpty {
      lines.append(Self.cell("sparse layer", width) + " outputs   inputs        nnz  density      bytes")
      lines += layers.map { layer in
        Self.cell(Self.oneLine(layer.name), width) + Self.right(layer.outputs, 8)
          + Self.right(layer.inputs.map(String.init) ?? "?", 9) + Self.right(layer.nnz, 11)
          + Self.right(layer.density.map { String(format: "%.5f", $0) } ?? "?", 9) + Self.right(layer.bytes, 11)
      }
      let total = density.value.map { String(format: "%.5f", $0) } ?? "?"
      lines.append("\(nnz) connections, density \(total)")
    }
    if !tensors.isEmpty {
      lines.append(Self.cell("tensor", width) + "type       bytes  shape")
      lines += tensors.map {
        Self.cell(Self.oneLine($0.name), width) + Self.cell($0.type.rawValue, 5) + Self.right($0.bytes, 11)
          + "  \($0.shape)"
          + ($0.live.map { ", \($0) live" } ?? "")
      }
    }
    if layers.isEmpty, let density = density.value {
      lines.append(String(format: "%d live weights, density %.5f; the others are stored as zeros", nnz, density))
    }
    return lines.joined(separator: "\n")
  }

  private static func cell(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }

  private static func right(_ value: some CustomStringConvertible, _ width: Int) -> String {
    String(repeating: " ", count: max(1, width - value.description.count)) + value.description
  }

  /// A file's own words, shortened and without control characters.
  private static func oneLine(_ text: String) -> String {
    String(text.unicodeScalars.prefix(80).map { $0.properties.generalCategory == .control ? " " : Character($0) })
  }
}

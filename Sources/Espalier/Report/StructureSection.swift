import Foundation

/// What a report shows of one run's layers: density, churn, fan-in and fan-out, and a picture of the largest layer.
struct StructureSection {
  /// Layers shown, at most; of more, the first.
  static let limit = 128

  let run: RunRecord
  let isOnly: Bool

  var html: String {
    guard !run.layers.isEmpty else { return "" }
    let shown = run.layers.prefix(Self.limit)
    let churn = run.churn
    let rows = shown.map { row($0, churn: churn[$0.name]) }.joined()
    let left = run.layers.count - shown.count
    let more = left > 0 ? "<p class=\"note\">\(left) more layers are not shown.</p>\n" : ""
    return """
      <h2>Structure\(isOnly ? "" : ": " + run.name.escaped)</h2>
      <p class="note">Of the newest checkpoint. Fan-in: connections of an output; fan-out: of an input; bars count outputs and inputs by it.</p>
      <div class="wide"><table><tr><th>layer</th><th>inputs</th><th>outputs</th><th>connections</th><th>density</th>\
      <th>moved so far</th><th>fan-in</th><th>mean (none)</th><th>fan-out</th><th>mean (none)</th></tr>
      \(rows)</table></div>
      \(more)\(picture)
      """
  }

  private func row(_ layer: LayerPicture, churn: Int?) -> String {
    """
    <tr><td>\(layer.name.escaped)</td><td>\(layer.columns)</td><td>\(layer.rows)</td><td>\(layer.connections)</td>\
    <td>\(String(format: "%.3g %%", 100 * layer.density))</td><td>\(churn.map(String.init) ?? "–")</td>\
    <td>\(bars(layer.fanIn))</td><td>\(String(format: "%.1f", layer.fanIn.mean)) (\(layer.fanIn.zeros))</td>\
    <td>\(bars(layer.fanOut))</td><td>\(String(format: "%.1f", layer.fanOut.mean)) (\(layer.fanOut.zeros))</td></tr>

    """
  }

  private func bars(_ histogram: Histogram) -> String {
    let most = max(1, histogram.counts.max() ?? 1)
    let width = 150.0 / Double(histogram.counts.count)
    let bars = histogram.counts.enumerated().map { bin, count in
      let height = count == 0 ? 0 : max(1, 26 * Double(count) / Double(most))
      let from = bin * histogram.binWidth
      let range = histogram.binWidth == 1 ? "\(from)" : "\(from) to \(from + histogram.binWidth - 1)"
      return String(
        format: "<rect class=\"c0\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\"><title>", Double(bin) * width,
        28 - height, max(0.5, width - 0.6), height) + "\(range) connections: \(count)</title></rect>"
    }
    return "<svg class=\"bars\" viewBox=\"0 0 150 28\">\(bars.joined())</svg>"
  }

  /// The layer with the most connections, as a plane of outputs x inputs whose cells are the darker the fuller they are.
  private var picture: String {
    guard let layer = run.layers.max(by: { $0.connections < $1.connections }), layer.connections > 0 else { return "" }
    let most = layer.cells.max() ?? 1
    var paths = [String](repeating: "", count: 8)
    for (cell, count) in layer.cells.enumerated() where count > 0 {
      let level = min(7, count * 8 / (most + 1))
      paths[level] += "M\(cell % layer.width) \(cell / layer.width)h1v1h-1z"
    }
    let levels = paths.enumerated().filter { !$1.isEmpty }.map { level, path in
      "<path class=\"c0\" fill-opacity=\"\(String(format: "%.2f", Double(level + 1) / 8))\" d=\"\(path)\"/>"
    }
    let title = "Connections of \(layer.name): \(layer.rows) outputs down, \(layer.columns) inputs across"
    let scale =
      layer.rows * layer.columns > layer.cells.count
      ? "; each cell stands for several, at most \(most) of them connected" : ""
    return """
      <figure class="picture"><figcaption>\((title + scale).escaped)</figcaption>
      <svg viewBox="0 0 \(layer.width) \(layer.height)" shape-rendering="crispEdges" role="img" aria-label="\(title.escaped)">\
      \(levels.joined())</svg></figure>

      """
  }
}

extension RunRecord {
  /// Connections grown so far, by layer.
  fileprivate var churn: [String: Int] {
    updates.reduce(into: [:]) { sums, update in
      for layer in update.layers { sums[layer.name, default: 0] += layer.grown }
    }
  }
}

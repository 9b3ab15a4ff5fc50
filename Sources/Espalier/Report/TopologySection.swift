import Foundation

/// What a report shows of one run's layers over its updates: connections, those pruned, outputs and inputs without any, and what was explored.
struct TopologySection {
  /// Points of a small curve, at most.
  private static let samples = 24

  let run: RunRecord
  let isOnly: Bool

  var html: String {
    guard let last = run.updates.last, !last.layers.isEmpty else { return "" }
    let updates = Dictionary(grouping: run.updates.flatMap(\.layers), by: \.name)
    let histories = last.layers.prefix(StructureSection.limit).map { layer in
      LayerHistory(name: layer.name, updates[layer.name] ?? [])
    }
    let left = last.layers.count - histories.count
    let more = left > 0 ? "<p class=\"note\">\(left) more layers are not shown.</p>\n" : ""
    let rows = histories.map(row).joined() + (last.layers.count > 1 ? row(whole) : "")
    return """
      <h2>Layers over the updates\(isOnly ? "" : ": " + run.name.escaped)</h2>
      <p class="note">After the first update → after the last of \(run.updates.count); pruned: of all updates together. Each small curve has its own scale.</p>
      <div class="wide"><table><tr><th>layer</th><th>connections</th><th>pruned</th><th>outputs without any</th>\
      <th>inputs without any</th><th>ever active</th></tr>
      \(rows)</table></div>
      \(more)
      """
  }

  /// All layers together; the share that was ever active where the checkpoint tells how large they are.
  private var whole: LayerHistory {
    let sizes = Dictionary(
      run.layers.map { ($0.name, Double($0.rows) * Double($0.columns)) }, uniquingKeysWith: { first, _ in first })
    var whole = LayerHistory(name: "all", [])
    for update in run.updates {
      let layers = update.layers
      let active = layers.compactMap { layer in
        layer.explorationRate.flatMap { rate in sizes[layer.name].map { (rate * $0, $0) } }
      }
      whole.connections.append(layers.reduce(0) { $0 + Double($1.nnz) })
      whole.pruned.append(layers.reduce(0) { $0 + Double($1.pruned) })
      whole.emptyRows.append(layers.reduce(0) { $0 + Double($1.emptyRows ?? 0) })
      whole.emptyColumns.append(layers.reduce(0) { $0 + Double($1.emptyColumns ?? 0) })
      if active.count == layers.count {
        whole.explored.append(active.reduce(0) { $0 + $1.0 } / active.reduce(0) { $0 + $1.1 })
      }
    }
    return whole
  }

  private func row(_ layer: LayerHistory) -> String {
    let count = { (value: Double) in "\(Int(value))" }
    let cells = [
      course(layer.connections, count),
      curve(layer.pruned) + count(layer.pruned.reduce(0, +)),
      course(layer.emptyRows, count), course(layer.emptyColumns, count),
      course(layer.explored) { String(format: "%.3g %%", 100 * $0) },
    ]
    return "<tr><td>\(layer.name.escaped)</td>" + cells.map { "<td>\($0)</td>" }.joined() + "</tr>\n"
  }

  /// The first and the last value, where they differ, and the way between them.
  private func course(_ values: [Double], _ words: (Double) -> String) -> String {
    guard let first = values.first, let last = values.last else { return "–" }
    let ends = words(first) == words(last) ? words(last) : "\(words(first)) → \(words(last))"
    return curve(values) + ends
  }

  /// Nothing where the values are all the same.
  private func curve(_ values: [Double]) -> String {
    guard let low = values.min(), let high = values.max(), high > low else { return "" }
    let count = min(Self.samples, values.count)
    let points = (0..<count).map { i in
      let value = values[i * (values.count - 1) / (count - 1)]
      return "\(i * 70 / (count - 1) + 1),\(Int((16 - 14 * (value - low) / (high - low)).rounded()))"
    }
    return
      "<svg class=\"spark\" viewBox=\"0 0 72 18\"><polyline class=\"c0\" points=\"\(points.joined(separator: " "))\"/></svg> "
  }
}

/// A layer's numbers after each update.
private struct LayerHistory {
  let name: String
  var connections, pruned, emptyRows, emptyColumns, explored: [Double]

  init(name: String, _ updates: [RunRecord.Update.Layer]) {
    self.name = name
    connections = updates.map { Double($0.nnz) }
    pruned = updates.map { Double($0.pruned) }
    emptyRows = updates.compactMap { $0.emptyRows.map(Double.init) }
    emptyColumns = updates.compactMap { $0.emptyColumns.map(Double.init) }
    explored = updates.compactMap(\.explorationRate)
  }
}

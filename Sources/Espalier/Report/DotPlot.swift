import Foundation

/// Methods one below the other, the best first: each run's value, their mean and spread.
struct DotPlot {
  struct Row {
    let name: String
    let style: SeriesStyle
    /// nil where no run has a value.
    let mean: Double?
    let spread: Double?
    /// One a run.
    let values: [Double]
  }

  let title: String
  let xLabel: String
  /// In any order.
  let rows: [Row]
  /// Drawn from top to bottom.
  var levels: [PointChart.Level] = []
  /// Width that names take, which plots that stand together share.
  let nameWidth: Double

  private static let (line, plot, values) = (19.0, 330.0, 106.0)

  /// A figure with the title as its caption; empty where there is nothing to draw.
  var html: String {
    let sorted = rows.sorted { ($0.mean ?? -.infinity) > ($1.mean ?? -.infinity) }
    let means = sorted.compactMap(\.mean)
    let fence = Axis.fence(means) ?? -.infinity
    let plane = Plane(
      left: nameWidth + 26, right: nameWidth + 26 + Self.plot, top: 8 + 14 * Double(levels.count),
      bottom: 8 + 14 * Double(levels.count) + Self.line * Double(rows.count))
    var ends = sorted.flatMap(\.values)
    for row in sorted { if let mean = row.mean { ends += PointChart.reach(mean, row.spread) } }
    for level in levels { ends += PointChart.reach(level.y, level.spread) }
    guard let x = Axis(ends.filter { $0 >= fence }, length: plane.width) else { return "" }
    let lines = sorted.enumerated().map { index, row in
      line(
        row, at: plane.top + (Double(index) + 0.5) * Self.line, x, plane, isCut: row.mean.map { $0 < fence } ?? false)
    }
    let upright = levels.enumerated().map { level($1, at: 14 * Double($0) + 12, x, plane) }
    return """
      <figure class="dots"><figcaption>\(title.escaped)</figcaption>
      <svg viewBox="0 0 \(Int(plane.right + Self.values)) \(Int(plane.bottom + 40))" role="img" aria-label="\(title.escaped)">
      \(plane.grid(x: x, y: nil, xLabel: xLabel))\(upright.joined())\(lines.joined())</svg></figure>

      """
  }

  /// A method's name, its runs, mean and spread, and these in figures.
  private func line(_ row: Row, at y: Double, _ x: Axis, _ plane: Plane, isCut: Bool) -> String {
    let color = row.style.color
    var svg = """
      <line class="grid" x1="\(number(plane.left))" x2="\(number(plane.right))" y1="\(number(y))" y2="\(number(y))"/>\
      <text class="name" x="\(number(plane.left - 22))" y="\(number(y))" dy="4" text-anchor="end">\(row.name.escaped)</text>\
      \(row.style.marker.svg(x: plane.left - 11, y: y, classes: color))
      """
    var words = "diverged"
    if let mean = row.mean {
      let spread = row.spread ?? 0
      words = String(format: "%.4f", mean) + (row.spread.map { String(format: " ± %.4f", $0) } ?? "")
      let (low, high) = (plane.left + x.place(mean - spread), plane.left + x.place(mean + spread))
      if isCut {
        svg += "<text class=\"name\" x=\"\(number(plane.left + 3))\" y=\"\(number(y))\" dy=\"4\">◂</text>"
      } else {
        svg += row.values.map {
          "<circle class=\"seed \(color)\" cx=\"\(number(plane.left + x.place($0)))\" cy=\"\(number(y))\" r=\"3\"/>"
        }.joined()
        svg +=
          "<line class=\"whisker \(color)\" x1=\"\(number(low))\" x2=\"\(number(high))\" y1=\"\(number(y))\" y2=\"\(number(y))\"/>"
        svg += row.style.marker.svg(
          x: plane.left + x.place(mean), y: y, classes: color, title: "\(row.name): \(words)")
      }
    }
    return svg + "<text x=\"\(number(plane.right + 10))\" y=\"\(number(y))\" dy=\"4\">\(words)</text>\n"
  }

  private func level(_ level: PointChart.Level, at y: Double, _ x: Axis, _ plane: Plane) -> String {
    let spread = level.spread ?? 0
    let place = plane.left + x.place(level.y)
    let (low, high) = (plane.left + x.place(level.y - spread), plane.left + x.place(level.y + spread))
    let words = "\(level.name) \(String(format: "%.4f", level.y))"
    let anchor =
      place + words.textWidth / 2 > plane.right + Self.values
      ? "end" : place - words.textWidth / 2 < 0 ? "start" : "middle"
    return """
      <rect class="band \(level.style.color)" x="\(number(low))" y="\(number(plane.top))" width="\(number(high - low))" \
      height="\(number(plane.height))"/><line class="level \(level.style.color)" x1="\(number(place))" x2="\(number(place))" \
      y1="\(number(y + 3))" y2="\(number(plane.bottom))"/><text class="name" x="\(number(place))" y="\(number(y))" \
      text-anchor="\(anchor)">\(words.escaped)</text>

      """
  }
}

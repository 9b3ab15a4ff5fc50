import Foundation

/// Curves over common axes, as SVG that takes its colours from the page.
package struct LineChart {
  package struct Series {
    let name: String
    /// Number of its colour.
    let color: Int
    var points: [(x: Double, y: Double)]
    /// Drawn faintly, as what another series smooths.
    var isFaint: Bool
    /// Half the height of each point's whisker; none where empty.
    var spreads: [Double]

    package init(
      name: String, color: Int, points: [(x: Double, y: Double)], isFaint: Bool = false, spreads: [Double] = []
    ) {
      self.name = name
      self.color = color
      self.points = points
      self.isFaint = isFaint
      self.spreads = spreads
    }
  }

  let title: String
  let xLabel: String
  let series: [Series]
  /// Higher points are drawn at this height.
  let limit: Double

  package init(title: String, xLabel: String, series: [Series], limit: Double = .infinity) {
    self.title = title
    self.xLabel = xLabel
    self.series = series
    self.limit = limit
  }

  private static let size = (width: 560.0, height: 260.0)
  private static let inset = (left: 58.0, right: 12.0, top: 12.0, bottom: 38.0)

  /// A figure with the title as its caption; empty where there is nothing to draw.
  package var html: String {
    let points = series.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
    guard let first = points.first else { return "" }
    var x = Axis(first.x)
    var y = Axis(first.y)
    for point in points {
      x.include(point.x)
      y.include(min(point.y, limit))
    }
    for series in series {
      for (point, spread) in zip(series.points, series.spreads) where point.y.isFinite {
        y.include(point.y - spread)
        y.include(point.y + spread)
      }
    }
    x.settle(length: Self.size.width - Self.inset.left - Self.inset.right)
    y.settle(length: Self.size.height - Self.inset.top - Self.inset.bottom)
    let isCut = points.contains { $0.y > limit }
    let title = self.title + (isCut ? String(format: " (cut off at %.3g)", limit) : "")
    let curves = series.map { whiskers($0, x, y) + curve($0, x, y) }.joined()
    return """
      <figure><figcaption>\(title.escaped)</figcaption>
      <svg viewBox="0 0 \(Int(Self.size.width)) \(Int(Self.size.height))" role="img" aria-label="\(title.escaped)">
      \(grid(x, y))\(curves)</svg></figure>

      """
  }

  private func grid(_ x: Axis, _ y: Axis) -> String {
    let (left, top) = (Self.inset.left, Self.inset.top)
    let (right, bottom) = (Self.size.width - Self.inset.right, Self.size.height - Self.inset.bottom)
    var svg = ""
    for tick in y.ticks {
      let at = number(bottom - y.place(tick))
      svg += "<line class=\"grid\" x1=\"\(number(left))\" x2=\"\(number(right))\" y1=\"\(at)\" y2=\"\(at)\"/>"
      svg += "<text x=\"\(number(left - 6))\" y=\"\(at)\" dy=\"4\" text-anchor=\"end\">\(y.label(tick))</text>"
    }
    for tick in x.ticks {
      let at = number(left + x.place(tick))
      svg += "<line class=\"grid\" x1=\"\(at)\" x2=\"\(at)\" y1=\"\(number(top))\" y2=\"\(number(bottom))\"/>"
      svg += "<text x=\"\(at)\" y=\"\(number(bottom + 15))\" text-anchor=\"middle\">\(x.label(tick))</text>"
    }
    let middle = number((left + right) / 2)
    return svg
      + "<text x=\"\(middle)\" y=\"\(number(Self.size.height - 6))\" text-anchor=\"middle\">\(xLabel.escaped)</text>\n"
  }

  private func curve(_ series: Series, _ x: Axis, _ y: Axis) -> String {
    let bottom = Self.size.height - Self.inset.bottom
    let places = series.points.filter { $0.x.isFinite && $0.y.isFinite }.map { point in
      (Self.inset.left + x.place(point.x), bottom - y.place(min(point.y, limit)))
    }
    guard !places.isEmpty else { return "" }
    let color = "c\(series.color % Page.colors)"
    let title = "<title>\(series.name.escaped)</title>"
    if places.count <= 40, !series.isFaint {
      let dots = zip(places, series.points).map { place, point in
        "<circle class=\"\(color)\" cx=\"\(number(place.0))\" cy=\"\(number(place.1))\" r=\"2.5\"><title>\(series.name.escaped): \(x.label(point.x)), \(String(format: "%.5g", point.y))</title></circle>"
      }
      return line(places, color) + title + "</polyline>" + dots.joined() + "\n"
    }
    return line(places, color + (series.isFaint ? " faint" : "")) + title + "</polyline>\n"
  }

  private func whiskers(_ series: Series, _ x: Axis, _ y: Axis) -> String {
    let bottom = Self.size.height - Self.inset.bottom
    return zip(series.points, series.spreads).filter { $0.y.isFinite && $1 > 0 }.map { point, spread in
      let at = number(Self.inset.left + x.place(point.x))
      let (low, high) = (number(bottom - y.place(point.y - spread)), number(bottom - y.place(point.y + spread)))
      return "<line class=\"c\(series.color % Page.colors)\" x1=\"\(at)\" x2=\"\(at)\" y1=\"\(low)\" y2=\"\(high)\"/>"
    }.joined()
  }

  private func line(_ places: [(Double, Double)], _ classes: String) -> String {
    let points = places.map { "\(number($0.0)),\(number($0.1))" }.joined(separator: " ")
    return "<polyline class=\"\(classes)\" points=\"\(points)\">"
  }

  private func number(_ value: Double) -> String { String(format: "%.1f", value) }
}

/// One axis: a range of values with round ticks.
private struct Axis {
  private var low, high: Double
  private var step = 1.0
  private var scale = 1.0

  init(_ value: Double) { (low, high) = (value, value) }

  mutating func include(_ value: Double) { (low, high) = (min(low, value), max(high, value)) }

  /// Chooses ticks at multiples of 1, 2 or 5 times a power of ten and fits the range to `length`.
  mutating func settle(length: Double) {
    if low == high { (low, high) = (low - 0.5, high + 0.5) }
    let rough = (high - low) / 5
    let power = pow(10, floor(log10(rough)))
    step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
    scale = length / (high - low)
  }

  var ticks: [Double] {
    stride(from: (low / step).rounded(.up), through: (high / step).rounded(.down), by: 1).map { $0 * step }
  }

  func place(_ value: Double) -> Double { (value - low) * scale }

  func label(_ value: Double) -> String {
    if abs(value) >= 10_000 { return String(format: "%.3gk", value / 1000) }
    let rounded = (value / step).rounded() * step
    return String(format: "%.4g", abs(value - rounded) < step * 1e-9 ? rounded : value)
  }
}

extension String {
  /// With the characters that HTML takes as its own replaced.
  var escaped: String {
    replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
      .replacing("\"", with: "&quot;")
  }
}

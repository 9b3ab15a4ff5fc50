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

    package init(name: String, color: Int, points: [(x: Double, y: Double)], isFaint: Bool = false) {
      self.name = name
      self.color = color
      self.points = points
      self.isFaint = isFaint
    }
  }

  let title: String
  let xLabel: String
  let series: [Series]
  /// Higher points are drawn at this height.
  let limit: Double
  /// Of both axes.
  let scale: Axis.Scale

  package init(
    title: String, xLabel: String, series: [Series], limit: Double = .infinity, scale: Axis.Scale = .linear
  ) {
    self.scale = scale
    self.title = title
    self.xLabel = xLabel
    self.series = series
    self.limit = limit
  }

  private static let size = (width: 560.0, height: 260.0)
  private static let plane = Plane(left: 58, right: size.width - 12, top: 12, bottom: size.height - 38)

  /// A figure with the title as its caption; empty where there is nothing to draw.
  package var html: String {
    let points = series.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
    guard let x = Axis(points.map(\.x), scale: scale, length: Self.plane.width),
      let y = Axis(points.map { min($0.y, limit) }, scale: scale, length: Self.plane.height)
    else { return "" }
    let isCut = points.contains { $0.y > limit }
    let title = self.title + (isCut ? String(format: " (cut off at %.3g)", limit) : "")
    let curves = series.map { curve($0, x, y) }.joined()
    return """
      <figure><figcaption>\(title.escaped)</figcaption>
      <svg viewBox="0 0 \(Int(Self.size.width)) \(Int(Self.size.height))" role="img" aria-label="\(title.escaped)">
      \(Self.plane.grid(x: x, y: y, xLabel: xLabel))\(curves)</svg></figure>

      """
  }

  private func curve(_ series: Series, _ x: Axis, _ y: Axis) -> String {
    let points = series.points.filter { $0.x.isFinite && $0.y.isFinite }
    let places = points.map { (Self.plane.left + x.place($0.x), Self.plane.bottom - y.place(min($0.y, limit))) }
    guard !places.isEmpty else { return "" }
    let color = "c\(series.color % Page.colors)"
    let title = "<title>\(series.name.escaped)</title>"
    if places.count <= 40, !series.isFaint {
      let dots = zip(places, points).map { place, point in
        "<circle class=\"\(color)\" cx=\"\(number(place.0))\" cy=\"\(number(place.1))\" r=\"2.5\"><title>\(series.name.escaped): \(x.label(point.x)), \(String(format: "%.5g", point.y))</title></circle>"
      }
      return line(places, color) + title + "</polyline>" + dots.joined() + "\n"
    }
    return line(places, color + (series.isFaint ? " faint" : "")) + title + "</polyline>\n"
  }

  private func line(_ places: [(Double, Double)], _ classes: String) -> String {
    let points = places.map { "\(number($0.0)),\(number($0.1))" }.joined(separator: " ")
    return "<polyline class=\"\(classes)\" points=\"\(points)\">"
  }
}

import Foundation

/// Points of several methods over common axes, each with its spread; a method's points are joined in their order, and its name stands at the last.
struct PointChart {
  struct Point {
    let x, y: Double
    /// Half the height of its whisker.
    let spread: Double?
    /// Shown when the pointer rests on it.
    let words: String
  }

  struct Series {
    let name: String
    let style: SeriesStyle
    let points: [Point]
  }

  /// A value that does not depend on what the axis across shows.
  struct Level {
    let name: String
    let style: SeriesStyle
    let y: Double
    let spread: Double?
  }

  let title: String
  let xLabel: String
  let scale: Axis.Scale
  let series: [Series]
  var levels: [Level] = []
  /// Points below it lie on the edge; nil: none.
  let floor: Double?
  /// Whether names stand in a column at the right, for series that end at the same x, or beside their last points. Points of equal x
  /// then stand beside each other.
  let endsTogether: Bool

  private static let line = 14.0

  /// A figure with the title as its caption; empty where there is nothing to draw.
  var html: String {
    let plane = Plane(
      left: 56, right: width - (endsTogether ? column + 40 : 14), top: 12,
      bottom: 12 + max(360, Self.line * Double(series.count + levels.count)))
    let points = series.flatMap(\.points)
    let margin = shift(of: series.count - 1, in: plane)
    let values =
      points.flatMap { Self.reach($0.y, $0.spread) } + levels.flatMap { Self.reach($0.y, $0.spread) }
    let seen = floor.map { floor in values.filter { $0 >= floor } } ?? values
    guard let x = Axis(points.map(\.x), scale: scale, length: plane.width - 2 * margin),
      let y = Axis(seen, length: plane.height)
    else { return "" }
    let curves = series.enumerated().map { index, series in
      Curve(series: series, places: series.points.map { place(of: $0, index, x, y, plane, margin) })
    }
    let drawn = curves.map { $0.svg(y, plane) }.joined()
    let names = endsTogether ? namesAtTheEnd(curves, y, plane) : namesBeside(curves, y, plane)
    return """
      <figure class="points"><figcaption>\(title.escaped)</figcaption>
      <svg viewBox="0 0 \(Int(width)) \(Int(plane.bottom + 40))" role="img" aria-label="\(title.escaped)">
      \(plane.grid(x: x, y: y, xLabel: xLabel, shift: margin))\(levels.map { level($0, y, plane) }.joined())\(drawn)\(names)</svg></figure>

      """
  }

  /// A value and the ends of its whisker.
  static func reach(_ value: Double, _ spread: Double?) -> [Double] {
    [value - (spread ?? 0), value, value + (spread ?? 0)]
  }

  /// Points of the same x stand beside each other, where their whiskers can be told apart.
  private func shift(of index: Int, in plane: Plane) -> Double {
    guard endsTogether else { return 0 }
    let slot = plane.width / Double(max(1, Set(series.flatMap(\.points).map(\.x)).count))
    return (Double(index) - Double(series.count - 1) / 2) * min(5, 0.3 * slot / Double(series.count))
  }

  private func place(of point: Point, _ index: Int, _ x: Axis, _ y: Axis, _ plane: Plane, _ margin: Double) -> (
    Double, Double
  ) {
    (plane.left + margin + x.place(point.x) + shift(of: index, in: plane), plane.bottom - y.place(point.y))
  }

  /// Its name, with an arrow where a point of it is on the edge.
  private func name(_ series: Series) -> String {
    let isCut = floor.map { floor in series.points.contains { $0.y < floor } } ?? false
    return series.name + (isCut ? " ↓" : "")
  }

  /// Room for the names is added to the plane where they are long.
  private var width: Double { endsTogether ? max(860, column + 520) : 860 }

  private var column: Double { (series.map { name($0).textWidth } + levels.map(\.name.textWidth)).max() ?? 0 }

  private func level(_ level: Level, _ y: Axis, _ plane: Plane) -> String {
    let at = number(plane.bottom - y.place(level.y))
    let spread = level.spread ?? 0
    let (high, low) = (plane.bottom - y.place(level.y + spread), plane.bottom - y.place(level.y - spread))
    let name =
      "<text class=\"name\" x=\"\(number(plane.right))\" y=\"\(at)\" dy=\"-5\" text-anchor=\"end\">\(level.name.escaped)</text>"
    return """
      <rect class="band \(level.style.color)" x="\(number(plane.left))" y="\(number(high))" width="\(number(plane.width))" \
      height="\(number(low - high))"/><line class="level \(level.style.color)" x1="\(number(plane.left))" \
      x2="\(number(plane.right))" y1="\(at)" y2="\(at)"/>\(endsTogether ? "" : name)

      """
  }

  /// One below the other, each as far up as where it belongs as the others allow.
  private func namesAtTheEnd(_ curves: [Curve], _ y: Axis, _ plane: Plane) -> String {
    let ends =
      curves.compactMap { curve in
        curve.places.last.map { (name: name(curve.series), style: curve.series.style, x: $0.0 + 5, y: $0.1) }
      }
      + levels.map { (name: $0.name, style: $0.style, x: plane.right, y: plane.bottom - y.place($0.y)) }
    let sorted = ends.sorted { $0.y < $1.y }
    let places = NamePlacement.spread(sorted.map(\.y), gap: Self.line, in: plane.top...plane.bottom)
    return zip(sorted, places).map { end, place in
      let x = plane.right + 24
      return """
        <line class="leader \(end.style.color)" x1="\(number(end.x))" y1="\(number(end.y))" x2="\(number(x - 7))" \
        y2="\(number(place))"/>\(end.style.marker.svg(x: x, y: place, classes: end.style.color))\
        <text class="name" x="\(number(x + 9))" y="\(number(place))" dy="4">\(end.name.escaped)</text>

        """
    }.joined()
  }

  /// Each beside its last point.
  private func namesBeside(_ curves: [Curve], _ y: Axis, _ plane: Plane) -> String {
    let ends = curves.compactMap { curve in
      curve.places.last.map { (name: name(curve.series), style: curve.series.style, x: $0.0, y: $0.1) }
    }.sorted { $0.y < $1.y }
    let marks =
      curves.flatMap(\.places).map {
        NamePlacement.Box(left: $0.0 - 5, right: $0.0 + 5, top: $0.1 - 5, bottom: $0.1 + 5)
      }
      + levels.map {
        let line = plane.bottom - y.place($0.y)
        return NamePlacement.Box(
          left: plane.right - $0.name.textWidth, right: plane.right, top: line - 17, bottom: line)
      }
    let boxes = NamePlacement.beside(
      ends.map { ($0.x, $0.y, $0.name.textWidth + 2) }, height: 12, obstacles: marks,
      frame: .init(left: plane.left, right: plane.right + 10, top: plane.top - 8, bottom: plane.bottom + 4))
    return zip(ends, boxes).map { end, place in
      let box = place.box
      let leader = """
        <line class="leader \(end.style.color)" x1="\(number(end.x))" y1="\(number(end.y))" \
        x2="\(number(min(max(end.x, box.left), box.right)))" y2="\(number(min(max(end.y, box.top), box.bottom)))"/>
        """
      return """
        \(place.isNear ? "" : leader)<text class="name" x="\(number(box.left + 1))" y="\(number(box.bottom - 2))">\(end.name.escaped)</text>

        """
    }.joined()
  }
}

/// A series with the places of its points.
private struct Curve {
  let series: PointChart.Series
  let places: [(Double, Double)]

  func svg(_ y: Axis, _ plane: Plane) -> String {
    let color = series.style.color
    let whiskers = zip(series.points, places).map { point, place in
      guard let spread = point.spread, spread > 0 else { return "" }
      let (low, high) = (plane.bottom - y.place(point.y - spread), plane.bottom - y.place(point.y + spread))
      return
        "<line class=\"whisker \(color)\" x1=\"\(number(place.0))\" x2=\"\(number(place.0))\" y1=\"\(number(low))\" y2=\"\(number(high))\"/>"
    }
    let joined = places.map { "\(number($0.0)),\(number($0.1))" }.joined(separator: " ")
    let line = places.count > 1 ? "<polyline class=\"\(color)\" points=\"\(joined)\"/>" : ""
    let marks = zip(series.points, places).map { point, place in
      series.style.marker.svg(x: place.0, y: place.1, classes: color, title: point.words)
    }
    return line + whiskers.joined() + marks.joined() + "\n"
  }
}

import Foundation

/// Where a chart's plane lies within its picture, in the picture's units.
struct Plane {
  let left, right, top, bottom: Double

  var width: Double { right - left }
  var height: Double { bottom - top }

  /// Grid lines and labels of ticks, and the name of the axis across.
  ///
  /// - Parameter x: begins at `left + shift`.
  func grid(x: Axis, y: Axis?, xLabel: String, shift: Double = 0) -> String {
    var svg = ""
    for tick in y?.ticks ?? [] {
      let at = number(bottom - tick.place)
      svg += "<line class=\"grid\" x1=\"\(number(left))\" x2=\"\(number(right))\" y1=\"\(at)\" y2=\"\(at)\"/>"
      svg += "<text x=\"\(number(left - 6))\" y=\"\(at)\" dy=\"4\" text-anchor=\"end\">\(tick.label)</text>"
    }
    for tick in x.ticks {
      let at = number(left + shift + tick.place)
      svg += "<line class=\"grid\" x1=\"\(at)\" x2=\"\(at)\" y1=\"\(number(top))\" y2=\"\(number(bottom))\"/>"
      svg += "<text x=\"\(at)\" y=\"\(number(bottom + 15))\" text-anchor=\"middle\">\(tick.label)</text>"
    }
    let middle = number((left + right) / 2)
    return svg
      + "<text x=\"\(middle)\" y=\"\(number(bottom + 32))\" text-anchor=\"middle\">\(xLabel.escaped)</text>\n"
  }
}

/// A coordinate as SVG's attributes have it.
func number(_ value: Double) -> String { String(format: "%.1f", value) }

/// Shapes that tell points apart where colours alone do not.
enum Marker: Int, CaseIterable {
  case circle, square, diamond, up, down

  /// A shape around a point, and what is shown when the pointer rests on it.
  func svg(x: Double, y: Double, classes: String, size: Double = 4, title: String = "") -> String {
    let r = number(size)
    let outline =
      switch self {
      case .circle: "m-\(r) 0a\(r) \(r) 0 1 0 \(number(2 * size)) 0a\(r) \(r) 0 1 0 -\(number(2 * size)) 0z"
      case .square: "m-\(r) -\(r)h\(number(2 * size))v\(number(2 * size))h-\(number(2 * size))z"
      case .diamond:
        "m0 -\(number(1.35 * size))l\(r) \(number(1.35 * size))l-\(r) \(number(1.35 * size))l-\(r) -\(number(1.35 * size))z"
      case .up: "m0 -\(number(1.2 * size))l\(number(1.2 * size)) \(number(2.1 * size))h-\(number(2.4 * size))z"
      case .down: "m0 \(number(1.2 * size))l\(number(1.2 * size)) -\(number(2.1 * size))h-\(number(2.4 * size))z"
      }
    let words = title.isEmpty ? "" : "<title>\(title.escaped)</title>"
    return "<path class=\"mark \(classes)\" d=\"M\(number(x)) \(number(y))\(outline)\">\(words)</path>"
  }
}

/// A series' colour and shape; those of 40 differ, and neighbours differ in both.
struct SeriesStyle {
  let color: String
  let marker: Marker

  init(_ index: Int) {
    color = "c\(index % Page.colors)"
    marker = Marker.allCases[index % Marker.allCases.count]
  }
}

extension String {
  /// Its width in small type, about: more in wide fonts than in narrow ones.
  var textWidth: Double { 6.7 * Double(count) }

  /// With the characters that HTML takes as its own replaced.
  package var escaped: String {
    replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;")
      .replacing("\"", with: "&quot;")
  }
}

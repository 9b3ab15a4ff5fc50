import Foundation

/// Lying bars in groups, one of each run in a group, as SVG that takes its colours from the page.
package struct BarChart {
  /// One run's bars, one a group.
  package struct Bars {
    let name: String
    /// Number of its colour.
    let color: Int
    /// nil where there is none.
    let values: [Double?]

    package init(name: String, color: Int, values: [Double?]) {
      (self.name, self.color, self.values) = (name, color, values)
    }
  }

  let title: String
  let unit: String
  /// Of a number.
  let format: String
  /// Of the groups.
  let names: [String]
  let bars: [Bars]
  /// Whether values are parts of a whole, whose shares are shown.
  let showsShares: Bool

  package init(
    title: String, unit: String, format: String, names: [String], bars: [Bars], showsShares: Bool = false
  ) {
    self.title = title
    self.unit = unit
    self.format = format
    self.names = names
    self.bars = bars
    self.showsShares = showsShares
  }

  private static let (width, left, right, top) = (560.0, 112.0, 92.0, 6.0)
  private static let (barHeight, gap) = (13.0, 9.0)

  /// A figure with the title as its caption; empty where there is nothing to draw.
  package var html: String {
    let largest = bars.flatMap(\.values).compactMap { $0 }.filter(\.isFinite).max() ?? 0
    guard largest > 0 else { return "" }
    let groupHeight = Double(bars.count) * Self.barHeight + Self.gap
    let groups = names.enumerated().map { index, name in
      group(
        index, name, at: Self.top + Double(index) * groupHeight, scale: (Self.width - Self.left - Self.right) / largest)
    }
    let height = Self.top + Double(names.count) * groupHeight
    return """
      <figure><figcaption>\(title.escaped)</figcaption>
      <svg viewBox="0 0 \(Int(Self.width)) \(Int(height.rounded(.up)))" role="img" aria-label="\(title.escaped)">
      \(groups.joined())</svg></figure>

      """
  }

  /// A group's name, and each run's bar with its value behind it.
  private func group(_ index: Int, _ name: String, at top: Double, scale: Double) -> String {
    let middle = top + Double(bars.count) * Self.barHeight / 2
    let label =
      "<text x=\"\(number(Self.left - 8))\" y=\"\(number(middle))\" dy=\"4\" text-anchor=\"end\">\(name.escaped)</text>"
    let lines = bars.enumerated().map { row, bars in
      guard let value = bars.values[index], value.isFinite else { return "" }
      let y = top + Double(row) * Self.barHeight
      let sum = bars.values.compactMap { $0 }.reduce(0, +)
      let share = showsShares ? String(format: " (%.0f %%)", 100 * value / sum) : ""
      let text = "\(String(format: format, value)) \(unit)\(share)"
      return """
        <rect class="c\(bars.color % Page.colors)" x="\(number(Self.left))" y="\(number(y))" \
        width="\(number(max(0.5, value * scale)))" height="\(number(Self.barHeight - 2))"><title>\(bars.name.escaped): \
        \(name.escaped) \(text)</title></rect><text x="\(number(Self.left + value * scale + 6))" \
        y="\(number(y + Self.barHeight / 2))" dy="3">\(text)</text>
        """
    }
    return label + lines.joined() + "\n"
  }

  private func number(_ value: Double) -> String { String(format: "%.1f", value) }
}

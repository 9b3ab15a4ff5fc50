import Foundation

/// One axis: a range of values with a margin of 2 % on both sides, how they are placed along it, and round ticks.
package struct Axis {
  /// What is equally far apart on it.
  package enum Scale {
    case linear
    /// Of values above zero: equal ratios.
    case logarithmic
    /// Equal ratios of what is left: 0, 0.9 and 0.99; ticks at the values themselves.
    case sparsity
  }

  package struct Tick {
    /// From the axis's beginning.
    package let place: Double
    package let label: String
  }

  package private(set) var ticks: [Tick] = []
  private let scale: Scale
  private let low, high, length: Double
  /// Between ticks of a linear axis.
  private let step: Double

  /// Fits the range of the values to `length`; nil where there is none that is finite.
  package init?(_ values: some Sequence<Double>, scale: Scale = .linear, length: Double) {
    let values = values.filter(\.isFinite)
    let scaled = values.map { Self.scaled($0, scale) }.filter(\.isFinite)
    guard let least = scaled.min(), let most = scaled.max() else { return nil }
    let range = most > least ? most - least : least == 0 ? 1 : abs(least)
    (low, high) = (least - 0.02 * range, most + 0.02 * range)
    (self.scale, self.length) = (scale, length)
    let rough = (most > least ? range : high - low) / 5
    let power = pow(10, floor(log10(rough)))
    step = [1, 2, 5, 10].map { $0 * power }.first { $0 >= rough } ?? rough
    for value in marks(of: values) {
      let place = place(value)
      if scale == .sparsity, let last = ticks.last, place - last.place < 32 { continue }
      ticks.append(Tick(place: place, label: label(value)))
    }
  }

  private static func scaled(_ value: Double, _ scale: Scale) -> Double {
    switch scale {
    case .linear: value
    case .logarithmic: log10(value)
    case .sparsity: -log10(1 - value)
    }
  }

  /// Where ticks are.
  private func marks(of values: [Double]) -> [Double] {
    switch scale {
    case .sparsity: return Set(values).sorted()
    case .linear:
      return stride(from: (low / step).rounded(.up), through: (high / step).rounded(.down), by: 1).map {
        // Adding zero turns -0, which would be shown so, into 0.
        $0 * step + 0
      }
    case .logarithmic:
      let powers = stride(from: floor(low), through: floor(high), by: 1).map { pow(10, $0) }
      return powers.flatMap { power in (powers.count > 4 ? [1] : [1, 2, 5]).map { $0 * power } }
        .filter { (low...high).contains(log10($0)) }
    }
  }

  /// Distance from the axis's beginning; of values beyond its ends, of the end.
  package func place(_ value: Double) -> Double {
    (min(max(Self.scaled(value, scale), low), high) - low) * length / (high - low)
  }

  func label(_ value: Double) -> String {
    if abs(value) >= 10_000 { return String(format: "%.3gk", value / 1000) }
    guard scale == .linear else { return String(format: "%.4g", value) }
    let rounded = (value / step).rounded() * step
    return String(format: "%.4g", abs(value - rounded) < step * 1e-9 ? rounded : value)
  }

  /// Below it values lie so far from the others (three times the middle half's width below it) that these would lie on one another if
  /// an axis reached that far; nil where none does.
  package static func fence(_ values: [Double]) -> Double? {
    let sorted = values.sorted()
    guard sorted.count >= 5 else { return nil }
    let (low, high) = (sorted[sorted.count / 4], sorted[sorted.count * 3 / 4])
    let fence = low - 3 * (high - low)
    return high > low && sorted[0] < fence ? fence : nil
  }
}

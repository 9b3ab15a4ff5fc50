import Foundation

/// Bounds from the distributions that statistical tests compare with. Seeds are fixed, so a test that passes always passes.
public enum LayerStatistics {
  /// Probability, on either side, with which a correct generator would leave the bounds.
  public static let tail = 1e-4

  /// Whether `statistic` is plausible for chi-squared with `degrees` degrees of freedom: neither too large nor, as when
  /// draws are dealt out evenly, too small. (Wilson and Hilferty's approximation; z for the tail of 1e-4.)
  public static func isPlausible(chiSquared statistic: Double, degrees: Int) -> Bool {
    let k = Double(degrees)
    let z = 3.719
    let spread = (2 / (9 * k)).squareRoot()
    let low = max(0, k * pow(1 - 2 / (9 * k) - z * spread, 3))
    let high = k * pow(1 - 2 / (9 * k) + z * spread, 3)
    return statistic >= low && statistic <= high
  }

  /// Pearson's statistic against equally likely cells.
  public static func chiSquared(uniform counts: [Int]) -> Double {
    let expected = Double(counts.reduce(0, +)) / Double(counts.count)
    return counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
  }

  /// Chi-squared with counts.count - 1 degrees of freedom for exchangeable indicators, one a cell, summed over `trials`
  /// independent trials. Their covariance matrix is (variance - covariance) I + covariance J.
  public static func chiSquared(
    exchangeable counts: [Int], trials: Int, variance: Double, covariance: Double
  ) -> Double {
    let mean = Double(counts.reduce(0, +)) / Double(counts.count)
    let squares = counts.reduce(0) { $0 + (Double($1) - mean) * (Double($1) - mean) }
    return squares / (Double(trials) * (variance - covariance))
  }
}

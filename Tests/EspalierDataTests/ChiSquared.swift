/// Pearson's statistic of counts that should be equal, and where it must lie.
struct ChiSquared {
  let statistic: Double
  let degreesOfFreedom: Double

  init(counts: [Int]) {
    let expected = Double(counts.reduce(0, +)) / Double(counts.count)
    statistic = counts.reduce(0) { $0 + (Double($1) - expected) * (Double($1) - expected) / expected }
    degreesOfFreedom = Double(counts.count - 1)
  }

  /// Whether the statistic lies within the 0.0001 and 0.9999 quantiles (Wilson and Hilferty 1931).
  var isPlausible: Bool { quantile(-3.719) < statistic && statistic < quantile(3.719) }

  private func quantile(_ z: Double) -> Double {
    let a = 2 / (9 * degreesOfFreedom)
    let root = 1 - a + z * a.squareRoot()
    return degreesOfFreedom * root * root * root
  }
}

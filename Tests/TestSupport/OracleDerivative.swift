/// Derivatives of a function of many numbers by central differences.
public enum OracleDerivative {
  /// By the fourth-order formula: an error of about step^4.
  public static func central(
    _ f: ([Double]) -> Double, at x: [Double], indices: some Sequence<Int>, step: Double = 1e-3
  ) -> [Double] {
    indices.map { i in
      let near = difference(f, at: x, i, step)
      return (8 * near - difference(f, at: x, i, 2 * step)) / (12 * step)
    }
  }

  /// Exact for a function that is affine in each number.
  public static func affine(_ f: ([Double]) -> Double, at x: [Double], indices: some Sequence<Int>) -> [Double] {
    indices.map { difference(f, at: x, $0, 0.5) }
  }

  private static func difference(_ f: ([Double]) -> Double, at x: [Double], _ i: Int, _ step: Double) -> Double {
    var moved = x
    moved[i] = x[i] + step
    let after = f(moved)
    moved[i] = x[i] - step
    return after - f(moved)
  }
}

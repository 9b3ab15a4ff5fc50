import EspalierCore

/// The Hoyer-Square regularizer of DeepHoyer (Yang, Wen, Li, arXiv 1908.09979, section 3): adds lambda * sum over layers of (sum |w|)^2 / sum w^2 to the loss. It is
/// some count of the weights that matter, whatever their scale: small ones are drawn to zero, large ones are not.
///
/// On the active connections of sparse layers. The paper's pruning by a threshold is left to the method that prunes.
///
/// - Complexity: O(connections) a step, no memory. Sums are taken in Double, in the connections' order.
public struct DeepHoyer {
  /// At least 0.
  public let lambda: Double

  /// The regulariser with weight `lambda`.
  public init(lambda: Double) { self.lambda = lambda }

  /// gradient += lambda * 2 s / q * (sign(w) - w s / q), with s = sum |w| and q = sum w^2.
  public func callAsFunction(_ parameter: SparseParameter) {
    let gradient = parameter.gradient.pointer
    parameter.matrix.withValues { values in
      var (sum, squares) = (0.0, 0.0)
      for value in values {
        sum += Double(abs(value))
        squares += Double(value) * Double(value)
      }
      guard squares > 0 else { return }
      let ratio = sum / squares
      for i in values.indices {
        let sign = values[i] == 0 ? 0.0 : values[i] < 0 ? -1 : 1
        gradient[i] += Float(lambda * 2 * ratio * (sign - Double(values[i]) * ratio))
      }
    }
  }
}

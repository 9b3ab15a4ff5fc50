import EspalierCore
import Glibc

/// Powerpropagation (Schwarz, Jayakumar, Pascanu, Latham, Teh, arXiv 2110.00296, section 2): a weight is theta = phi |phi|^(alpha - 1), and the optimizer moves
/// phi, so that large weights move fast and small ones hardly at all; what is near zero is pruned at little cost.
///
/// Only theta is stored: an optimizer's step takes phi from it, and puts theta back, in place. The optimizer's state and weight decay are phi's. Pruning and growth look at
/// theta and at the loss's gradient with respect to it.
///
/// A connection that has just grown is zero, where the gradient of phi is zero whatever the loss's: it would stay there for ever. So the factor alpha |phi|^(alpha - 1)
/// is never less than what a tenth of the layer's mean |phi| has; of Top-KAST's layers the weights in use have one mean, the others another.
///
/// - Complexity: O(connections) a step, no memory.
public struct Powerpropagation {
  /// Above 1.
  public let alpha: Double

  /// The reparameterisation with exponent `alpha`.
  public init(alpha: Double) { self.alpha = alpha }

  /// The least |phi| that the gradient's factor goes by, of the layer's mean.
  private static let floor = 0.1

  /// Weights become phi and gradients those of phi, `body` runs, and phi become weights.
  public func callAsFunction(_ parameters: [any Parameter], _ body: () -> Void) {
    let weights = parameters.filter { $0 is SparseParameter || $0 is BackwardSet }
    for parameter in weights { enter(parameter) }
    body()
    for parameter in weights {
      parameter.withMutableValues { values in
        for i in values.indices {
          let phi = Double(values[i])
          values[i] = Float(phi * pow(abs(phi), alpha - 1))
        }
      }
    }
  }

  private func enter(_ parameter: any Parameter) {
    let gradient = parameter.gradient.pointer
    parameter.withMutableValues { values in
      var sum = 0.0
      for i in values.indices {
        let size = pow(Double(abs(values[i])), 1 / alpha)
        sum += size
        values[i] = Float(values[i] < 0 ? -size : size)
      }
      let least = Self.floor * sum / Double(max(1, values.count))
      for i in values.indices {
        gradient[i] = Float(Double(gradient[i]) * alpha * pow(max(Double(abs(values[i])), least), alpha - 1))
      }
    }
  }
}

import EspalierCore

/// Shortens a gradient that is too long, as PyTorch's `clip_grad_norm_`: with the L2 norm n over all parameters,
/// g *= min(1, maximum / (n + 1e-6)).
///
/// The norm is summed in Double, parameter by parameter, in an order that no number of threads changes.
public struct GradientClipping {
  /// Above 0.
  public let maximum: Double

  /// Shortens to the L2 norm `maximum`.
  public init(maximum: Double) { self.maximum = maximum }

  /// - Returns: the norm before.
  @discardableResult
  public func callAsFunction(_ parameters: [any Parameter], context: ComputeContext) -> Double {
    let norm = parameters.reduce(0) { $0 + context.squareSum($1.gradient) }.squareRoot()
    let factor = maximum / (norm + 1e-6)
    if factor < 1 {
      for parameter in parameters { context.scale(parameter.gradient, by: Float(factor)) }
    }
    return norm
  }
}

import Foundation

/// Softmax cross-entropy with label smoothing of one sample, in Double.
public struct LayerLossOracle {
  public let logits: [Double]
  public let target: [Double]

  public init(logits: [Double], label: Int, smoothing: Double) {
    self.logits = logits
    let share = smoothing / Double(logits.count)
    target = logits.indices.map { $0 == label ? 1 - smoothing + share : share }
  }

  public var softmax: [Double] {
    let largest = logits.max()!
    let powers = logits.map { exp($0 - largest) }
    let sum = powers.reduce(0, +)
    return powers.map { $0 / sum }
  }

  public var loss: Double {
    let largest = logits.max()!
    let logSum = largest + log(logits.reduce(0) { $0 + exp($1 - largest) })
    return zip(target, logits).reduce(0) { $0 + ($1.0 == 0 ? 0 : $1.0 * (logSum - $1.1)) }
  }

  /// Largest minus smallest logit: how far a relative error of a centred logit reaches.
  public var range: Double { logits.max()! - logits.min()! }

  public var gradient: [Double] { zip(softmax, target).map { $0 - $1 } }
}

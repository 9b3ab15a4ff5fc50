import EspSampling

/// Draws numbers of a distribution in O(1) each: the alias method (Vose, IEEE TSE 17(9), 1991).
public final class AliasTable {
  /// Numbers are drawn from 0 ..< count.
  public let count: Int
  private let threshold: MeteredBuffer<Double>
  private let alias: MeteredBuffer<UInt32>

  /// Draws i with probability |weights[i]| / sum; uniformly where the sum is zero or not finite. O(n).
  public init(weights: MeteredBuffer<Double>, site: WeightSite, meter: AllocationMeter) {
    count = weights.count
    threshold = MeteredBuffer(count: count, tag: .candidates, site: site, meter: meter)
    alias = MeteredBuffer(count: count, tag: .candidates, site: site, meter: meter)
    let workspace = MeteredBuffer<UInt32>(count: count, tag: .candidates, site: site, meter: meter)
    withExtendedLifetime((weights, workspace)) {
      esp_alias_build(weights.pointer, count, threshold.pointer, alias.pointer, workspace.pointer)
    }
  }

  /// As kernels take it; valid while the table lives.
  var kernel: esp_alias { esp_alias(n: count, threshold: threshold.pointer, alias: alias.pointer) }
}

/// Where the two ends of a drawn connection come from; nil draws uniformly.
public struct ConnectionDistribution {
  /// Draws rows; nil: uniformly.
  public let outputs: AliasTable?
  /// Draws columns; nil: uniformly.
  public let inputs: AliasTable?

  /// Rows from `outputs`, columns from `inputs`, independently.
  public init(outputs: AliasTable?, inputs: AliasTable?) {
    self.outputs = outputs
    self.inputs = inputs
  }

  /// All connections alike.
  public static var uniform: ConnectionDistribution { ConnectionDistribution(outputs: nil, inputs: nil) }

  /// Calls `body` with both tables as kernels take them, null for uniform.
  func withKernels<R>(_ body: (UnsafePointer<esp_alias>?, UnsafePointer<esp_alias>?) -> R) -> R {
    func with(_ table: AliasTable?, _ body: (UnsafePointer<esp_alias>?) -> R) -> R {
      guard let table else { return body(nil) }
      return withExtendedLifetime(table) { withUnsafePointer(to: table.kernel) { body($0) } }
    }
    return with(outputs) { outputs in with(inputs) { body(outputs, $0) } }
  }
}

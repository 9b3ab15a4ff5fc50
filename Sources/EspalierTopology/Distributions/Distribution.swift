import EspalierCore

/// The dense form of a layer whose weights are sparse.
public struct SparseLayerShape: Sendable, Hashable {
  /// The layer's name, e.g. `features.0`.
  public let name: String
  /// Outputs, or output channels.
  public let rows: Int
  /// Input channels of a convolution, inputs of a linear layer.
  public let inChannels: Int
  /// 1 of a linear layer.
  public let kernelHeight: Int
  /// 1 of a linear layer.
  public let kernelWidth: Int
  /// Whether the layer is a convolution, be its kernel 1 x 1.
  public let isConvolution: Bool

  /// A linear layer's shape by default, a convolution's with a kernel of more than one tap.
  public init(
    name: String, rows: Int, inChannels: Int, kernelHeight: Int = 1, kernelWidth: Int = 1, isConvolution: Bool? = nil
  ) {
    self.name = name
    self.rows = rows
    self.inChannels = inChannels
    self.kernelHeight = kernelHeight
    self.kernelWidth = kernelWidth
    self.isConvolution = isConvolution ?? (kernelHeight * kernelWidth > 1)
  }

  /// Kernel height * width.
  public var taps: Int { kernelHeight * kernelWidth }
  /// Inputs: channels * kernel height * width.
  public var columns: Int { inChannels * taps }
  /// rows * columns
  public var size: Int { rows * columns }
}

/// Divides a network's budget of connections among its layers.
public protocol Distribution: Sendable {
  /// How dense a layer wants to be in relation to the others, before clipping at 1.
  func relativeDensity(of layer: SparseLayerShape) -> Double
}

extension Distribution {
  /// Number of connections of each layer: in proportion to `relativeDensity`, at most the layer's size, at least 1, and
  /// round((1 - sparsity) * sum of sizes) in all, exactly.
  ///
  /// Layers that would exceed their size are made dense and what they cannot take is given to the others, as in RigL (Evci et al.
  /// 2020, appendix). Fractions are settled by largest remainder.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity outside of 0 ..< 1, or one that leaves a layer without a connection.
  /// - Complexity: O(layers^2)
  public func budgets(for layers: [SparseLayerShape], sparsity: Double) throws -> [Int] {
    guard sparsity >= 0, sparsity < 1 else {
      throw EspalierError.usage("sparsity: \(sparsity) is out of range; expected 0 <= sparsity < 1")
    }
    let size = layers.reduce(0) { $0 + $1.size }
    let total = Int(((1 - sparsity) * Double(size)).rounded())
    guard total >= layers.count else {
      throw EspalierError.usage(
        "sparsity: \(sparsity) leaves \(total) connections for \(layers.count) layers; expected at least one a layer")
    }
    let budgets = settle(shares(of: layers, total: total), layers: layers, total: total)
    for (layer, budget) in zip(layers, budgets) where budget > Self.mostConnections {
      throw EspalierError.usage(
        "sparsity: \(sparsity) gives layer \(layer.name) (\(layer.rows) x \(layer.columns)) \(budget) connections; a layer holds at most \(Self.mostConnections): use a higher sparsity or a narrower layer"
      )
    }
    return budgets
  }

  /// Positions of connections are 32-bit numbers, the largest of which marks a grown one.
  private static var mostConnections: Int { Int(UInt32.max) - 1 }

  /// Real-valued budgets that add up to `total`, with the clipped layers at their size.
  private func shares(of layers: [SparseLayerShape], total: Int) -> [Double] {
    let wishes = layers.map { relativeDensity(of: $0) * Double($0.size) }
    var isDense = [Bool](repeating: false, count: layers.count)
    while true {
      let open = layers.indices.filter { !isDense[$0] }
      let taken = layers.indices.filter { isDense[$0] }.reduce(0) { $0 + layers[$1].size }
      let scale = Double(total - taken) / open.reduce(0) { $0 + wishes[$1] }
      let offenders = open.filter { scale * wishes[$0] > Double(layers[$0].size) }
      guard !offenders.isEmpty else {
        return layers.indices.map { isDense[$0] ? Double(layers[$0].size) : max(1, scale * wishes[$0]) }
      }
      for offender in offenders { isDense[offender] = true }
    }
  }

  /// Integers near `shares` that add up to `total`.
  private func settle(_ shares: [Double], layers: [SparseLayerShape], total: Int) -> [Int] {
    var budgets = shares.map { Int($0) }
    func remainder(_ i: Int) -> Double { shares[i] - Double(budgets[i]) }
    var missing = total - budgets.reduce(0, +)
    while missing > 0 {
      let open = layers.indices.filter { budgets[$0] < layers[$0].size }
      guard let next = open.max(by: { remainder($0) < remainder($1) }) else { break }
      budgets[next] += 1
      missing -= 1
    }
    while missing < 0 {  // where layers were raised to one connection
      let open = layers.indices.filter { budgets[$0] > 1 }
      guard let next = open.min(by: { remainder($0) < remainder($1) }) else { break }
      budgets[next] -= 1
      missing += 1
    }
    return budgets
  }
}

/// Every layer equally dense. RigL's own uniform budgets leave the first layer dense (Evci et al. 2020); these do not.
public struct UniformDistribution: Distribution {
  /// The distribution, which has no settings.
  public init() {}
  public func relativeDensity(of layer: SparseLayerShape) -> Double { 1 }
}

/// Erdos-Renyi: density in proportion to (inputs + outputs) / (inputs * outputs), a convolution's inputs being channels * kernel
/// (Mocanu et al. 2018; flattened as in Heddes et al., arXiv 2401.06898, supplement).
public struct ErdosRenyi: Distribution {
  /// The distribution, which has no settings.
  public init() {}
  public func relativeDensity(of layer: SparseLayerShape) -> Double {
    Double(layer.rows + layer.columns) / Double(layer.size)
  }
}

/// Erdos-Renyi-kernel: a convolution's kernel height and width are counted beside its channels (Evci et al. 2020).
public struct ErdosRenyiKernel: Distribution {
  /// The distribution, which has no settings.
  public init() {}
  public func relativeDensity(of layer: SparseLayerShape) -> Double {
    let sum = layer.rows + layer.inChannels + (layer.isConvolution ? layer.kernelHeight + layer.kernelWidth : 0)
    return Double(sum) / Double(layer.size)
  }
}

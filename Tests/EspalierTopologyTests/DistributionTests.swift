import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct DistributionTests {
  static let distributions: [any Distribution] = [UniformDistribution(), ErdosRenyi(), ErdosRenyiKernel()]

  /// Layers of very different shapes, convolutions among them.
  private static func layers(_ random: inout LayerRandom) -> [SparseLayerShape] {
    (0..<Int.random(in: 1...12, using: &random)).map { index in
      let kernel = [1, 1, 3, 5].randomElement(using: &random)!
      return SparseLayerShape(
        name: "layer\(index)", rows: Int.random(in: 1...200, using: &random),
        inChannels: Int.random(in: 1...60, using: &random), kernelHeight: kernel, kernelWidth: kernel)
    }
  }

  private static func total(_ layers: [SparseLayerShape], _ sparsity: Double) -> Int {
    Int(((1 - sparsity) * Double(layers.reduce(0) { $0 + $1.size })).rounded())
  }

  /// min(size, c * wish) with the c that spends the whole budget, by bisection.
  private static func filled(_ layers: [SparseLayerShape], _ wishes: [Double], total: Int) -> [Double] {
    func shares(_ c: Double) -> [Double] { zip(layers, wishes).map { min(Double($0.size), c * $1) } }
    var low = 0.0
    var high = zip(layers, wishes).map { Double($0.size) / $1 }.max()!
    for _ in 0..<200 {
      let middle = (low + high) / 2
      if shares(middle).reduce(0, +) < Double(total) { low = middle } else { high = middle }
    }
    return shares(high)
  }

  @Test func budgetsAddUpExactlyForAnyLayersAndSparsity() throws {
    var random = LayerRandom(seed: 61)
    var clipped = 0
    for _ in 0..<400 {
      let layers = Self.layers(&random)
      let sparsity = [0, 0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99].randomElement(using: &random)!
      let total = Self.total(layers, sparsity)
      guard total >= layers.count else { continue }
      for distribution in Self.distributions {
        let budgets = try distribution.budgets(for: layers, sparsity: sparsity)
        #expect(budgets.reduce(0, +) == total)
        let isWithin = zip(budgets, layers).allSatisfy { $0 >= 1 && $0 <= $1.size }
        #expect(isWithin)
        let wishes = layers.map { distribution.relativeDensity(of: $0) * Double($0.size) }
        let shares = Self.filled(layers, wishes, total: total)
        guard shares.min()! >= 1 else { continue }
        let isNear = zip(budgets, shares).allSatisfy { abs(Double($0) - $1) < 1 + 1e-6 }
        #expect(isNear, "\(distribution): \(budgets), expected about \(shares)")
        clipped += zip(budgets, layers).contains { $0 == $1.size } && sparsity > 0 ? 1 : 0
      }
    }
    #expect(clipped > 100, "the redistribution is tested")
  }

  @Test func whatAClippedLayerCannotTakeGoesToTheOthers() throws {
    let layers = [
      SparseLayerShape(name: "small", rows: 2, inChannels: 3), SparseLayerShape(name: "a", rows: 100, inChannels: 100),
      SparseLayerShape(name: "b", rows: 100, inChannels: 300),
    ]
    // 10 % of 40,006 is 4,001; the small layer's wish would be 33, it gets 6; the rest is shared 200 : 400.
    #expect(try ErdosRenyi().budgets(for: layers, sparsity: 0.9) == [6, 1332, 2663])
  }

  @Test func sparsityZeroIsDense() throws {
    var random = LayerRandom(seed: 62)
    let layers = Self.layers(&random)
    for distribution in Self.distributions {
      #expect(try distribution.budgets(for: layers, sparsity: 0) == layers.map(\.size))
    }
  }

  /// epsilon * (inputs + outputs), a convolution's inputs flattened.
  @Test func erdosRenyiFollowsItsFormula() throws {
    let layers = [
      SparseLayerShape(name: "a", rows: 128, inChannels: 64, kernelHeight: 3, kernelWidth: 3),
      SparseLayerShape(name: "b", rows: 300, inChannels: 500), SparseLayerShape(name: "c", rows: 200, inChannels: 300),
    ]
    let budgets = try ErdosRenyi().budgets(for: layers, sparsity: 0.9)
    let sizes = Double(128 * 576 + 300 * 500 + 200 * 300)
    let epsilon = 0.1 * sizes / Double(128 + 576 + 300 + 500 + 200 + 300)
    for (budget, width) in zip(budgets, [128 + 576, 800, 500]) {
      #expect(abs(Double(budget) - epsilon * Double(width)) <= 1)
    }
  }

  /// epsilon * (input channels + output channels + kernel height + kernel width); a linear layer has no kernel, a convolution of
  /// 1 x 1 has.
  @Test func erdosRenyiKernelFollowsItsFormula() throws {
    let layers = [
      SparseLayerShape(name: "a", rows: 128, inChannels: 64, kernelHeight: 3, kernelWidth: 3),
      SparseLayerShape(name: "b", rows: 300, inChannels: 500),
      SparseLayerShape(name: "c", rows: 50, inChannels: 60, kernelHeight: 5, kernelWidth: 3),
      SparseLayerShape(name: "d", rows: 30, inChannels: 40, isConvolution: true),
    ]
    let budgets = try ErdosRenyiKernel().budgets(for: layers, sparsity: 0.95)
    let widths = [128 + 64 + 3 + 3, 800, 50 + 60 + 5 + 3, 30 + 40 + 1 + 1]
    let epsilon = 0.05 * Double(layers.reduce(0) { $0 + $1.size }) / Double(widths.reduce(0, +))
    for (budget, width) in zip(budgets, widths) { #expect(abs(Double(budget) - epsilon * Double(width)) <= 1) }
  }

  /// 2^32 - 2 connections are as many as positions of 32 bits can name.
  @Test func aLayerHoldsWhatItsPositionsCanName() throws {
    let layer = SparseLayerShape(name: "wide", rows: 1 << 20, inChannels: 1 << 20)
    let most = (1 << 32) - 2
    func sparsity(for connections: Int) -> Double { 1 - Double(connections) / Double(1 << 40) }
    #expect(try UniformDistribution().budgets(for: [layer], sparsity: sparsity(for: most)) == [most])
    #expect(throws: EspalierError.self) {
      try UniformDistribution().budgets(for: [layer], sparsity: sparsity(for: most + 1))
    }
  }

  @Test func uniformIsEquallyDense() throws {
    var random = LayerRandom(seed: 63)
    let layers = Self.layers(&random)
    for (budget, layer) in zip(try UniformDistribution().budgets(for: layers, sparsity: 0.7), layers) {
      #expect(abs(Double(budget) - 0.3 * Double(layer.size)) <= 1)
    }
  }

  /// VGG-16 with a quarter of the channels for ten classes: 1,252,528 weights.
  @Test func vggSixteenSmallAtNinetyEightPercent() throws {
    let channels = [3, 16, 16, 32, 32, 64, 64, 64, 128, 128, 128, 128, 128, 128]
    let convolutions = zip(channels, channels.dropFirst()).map { inputs, outputs in
      SparseLayerShape(name: "features", rows: outputs, inChannels: inputs, kernelHeight: 3, kernelWidth: 3)
    }
    let layers =
      convolutions + [
        SparseLayerShape(name: "classifier.0", rows: 512, inChannels: 128),
        SparseLayerShape(name: "classifier.3", rows: 512, inChannels: 512),
        SparseLayerShape(name: "classifier.6", rows: 10, inChannels: 512),
      ]
    #expect(layers.reduce(0) { $0 + $1.size } == 1_252_528)
    for distribution in Self.distributions {
      #expect(try distribution.budgets(for: layers, sparsity: 0.98).reduce(0, +) == 25_051)
    }
  }

  @Test(arguments: [1, 1.5, -0.1, .nan, .infinity, -.infinity])
  func refusesSparsitiesOutOfRange(sparsity: Double) {
    let layers = [SparseLayerShape(name: "a", rows: 10, inChannels: 10)]
    for distribution in Self.distributions {
      #expect(
        performing: { try distribution.budgets(for: layers, sparsity: sparsity) },
        throws: { ($0 as? EspalierError)?.kind == .usage })
    }
  }

  @Test func refusesToLeaveALayerWithoutAConnection() throws {
    let layers = (0..<10).map { SparseLayerShape(name: "\($0)", rows: 10, inChannels: 10) }
    #expect(try UniformDistribution().budgets(for: layers, sparsity: 0.99) == [Int](repeating: 1, count: 10))
    #expect(
      performing: { try UniformDistribution().budgets(for: layers, sparsity: 0.995) },
      throws: { ($0 as? EspalierError)?.kind == .usage })
  }

  /// Layers too small for their share get one connection, at the cost of others.
  @Test func everyLayerGetsAConnection() throws {
    let layers =
      (0..<8).map { SparseLayerShape(name: "\($0)", rows: 1, inChannels: 2) }
      + [SparseLayerShape(name: "large", rows: 100, inChannels: 100)]
    let budgets = try UniformDistribution().budgets(for: layers, sparsity: 0.99)
    #expect(budgets == [1, 1, 1, 1, 1, 1, 1, 1, 92])
  }
}

import Espalier
import EspalierBaselines
import EspalierCore
import TestSupport
import Testing

/// Whole residual networks and transformers, tiny ones, against an oracle that carries out their description in Double.
@Suite struct ResidualAndTransformerTests {
  enum Tiny: CaseIterable {
    case residual, transformer, bottlenecks, adaptive

    func spec() throws -> ModelSpec {
      switch self {
      case .residual: try TinyModels.residual()
      case .transformer: try TinyModels.transformer()
      case .bottlenecks: try TinyModels.bottlenecks()
      case .adaptive: try TinyModels.adaptive()
      }
    }
  }

  /// A batch of several blocks for the two whose oracle is quick.
  static let batches: [(Tiny, Int)] = [
    (.residual, 1), (.residual, 5), (.residual, 33), (.transformer, 1), (.transformer, 5), (.transformer, 33),
    (.bottlenecks, 5), (.adaptive, 5),
  ]

  @Test(arguments: batches)
  func everyGradientMatchesCentralDifferences(_ tiny: Tiny, samples: Int) throws {
    let spec = try tiny.spec()
    let x = TinyModels.images(spec, samples: samples)
    let labels = (0..<samples).map { $0 * 7 % 3 }
    for instructionSet in InstructionSet.available {
      let context = try ComputeContext(threads: 2, instructionSet: instructionSet)
      let model = try TinyModels.model(spec, context: context)
      let oracle = SpecOracle(model)
      let pass = try ModelPass(model, x, labels: labels, context: context)
      #expect(abs(pass.loss - oracle.loss(x, labels: labels)) < 1e-5)
      for parameter in model.parameters {
        let found = try #require(pass.gradients[parameter.name])
        let places = Self.places(of: parameter)
        // A few of each, the first and the last among them.
        let chosen = Array(Set([0, 1, places.count / 2, places.count - 1].filter { $0 < places.count })).sorted()
        let expected = derivative(oracle, parameter.name, chosen.map { places[$0] }, x, labels)
        let largest = max(found.map { Double(abs($0)) }.max() ?? 0, 1e-3)
        for (i, value) in zip(chosen, expected) {
          #expect(
            abs(Double(found[i]) - value) <= 3e-4 * largest,
            "\(parameter.name)[\(i)]: \(found[i]), expected \(value), \(instructionSet)")
        }
      }
    }
  }

  /// Where each number of a parameter lies in the dense form.
  private static func places(of parameter: any Parameter) -> [Int] {
    guard let sparse = parameter as? SparseParameter else { return Array(0..<parameter.count) }
    let structure = sparse.matrix.structure
    return (0..<structure.rows).flatMap { row in
      structure.positions(ofRow: row).map { row * structure.columns + Int(structure.columnIndices[$0]) }
    }
  }

  private func derivative(
    _ oracle: SpecOracle, _ name: String, _ places: [Int], _ x: OracleTensor, _ labels: [Int]
  ) -> [Double] {
    var moved = oracle
    return OracleDerivative.central(
      {
        moved.numbers[name] = $0
        return moved.loss(x, labels: labels)
      }, at: oracle.numbers[name] ?? [], indices: places, step: 1e-6)
  }

  /// The gradient's sizes differ from layer to layer: none is all zeros.
  @Test(arguments: Tiny.allCases)
  func noGradientIsZero(_ tiny: Tiny) throws {
    let spec = try tiny.spec()
    let context = try ComputeContext(threads: 1)
    let model = try TinyModels.model(spec, context: context)
    let pass = try ModelPass(
      model, TinyModels.images(spec, samples: 9), labels: [0, 1, 2, 0, 1, 2, 0, 1, 2], context: context)
    for parameter in model.parameters {
      #expect(pass.gradients[parameter.name]?.contains { abs($0) > 1e-5 } == true, "\(parameter.name)")
    }
  }

  @Test(arguments: Tiny.allCases, [1, 8, 33])
  func aDenseTwinComputesTheSame(_ tiny: Tiny, samples: Int) throws {
    let spec = try tiny.spec()
    let context = try ComputeContext(threads: 2)
    let sparse = try TinyModels.model(spec, sparsity: 0, context: context)
    let dense = try Model(
      spec, factory: DenseLayerFactory(random: CounterRandom(seed: 99), context: context),
      random: CounterRandom(seed: 1), context: context)
    #expect(dense.parameters.map(\.name) == sparse.parameters.map(\.name))
    let targets = Dictionary(uniqueKeysWithValues: dense.state.map { ($0.name, $0) })
    let numbers = SpecOracle(sparse).numbers
    for (name, values) in numbers {
      guard case .dense(_, _, let buffer) = targets[name], buffer.count == values.count else {
        Issue.record("\(name) has no twin")
        continue
      }
      _ = buffer.buffer.update(fromContentsOf: values.map(Float.init))
    }
    let x = TinyModels.images(spec, samples: samples)
    let labels = (0..<samples).map { $0 % 3 }
    let a = try ModelPass(sparse, x, labels: labels, context: context)
    let b = try ModelPass(dense, x, labels: labels, context: context)
    #expect(abs(a.loss - b.loss) <= 1e-5 * abs(b.loss))
    for (name, expected) in b.gradients {
      let found = try #require(a.gradients[name])
      // A norm's shift that the next norm takes away again has no gradient but rounding's.
      let largest = max(expected.map { abs($0) }.max() ?? 0, 1e-2)
      let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
      #expect(found.count == expected.count && difference <= largest / 10_000, "\(name)")
    }
  }

  @Test func blocksWhoseEndsDoNotMeetAreRefused() {
    let convolution = LayerSpec.convolution(
      name: "a", outChannels: 8, geometry: ConvolutionGeometry(kernel: 3, padding: 1), bias: false)
    func spec(_ block: LayerSpec) throws -> ModelSpec {
      try ModelSpec(
        name: "model", input: FeatureSize(channels: 3, height: 6, width: 6), classes: 3,
        layers: [block, .globalAveragePool, .linear(name: "linear", outputs: 3)])
    }
    expectError(.usage, naming: "residual block: its body makes 8 x 6 x 6 of 3 x 6 x 6, its shortcut 3 x 6 x 6") {
      _ = try spec(.residual(body: [convolution], relu: true))
    }
    expectError(.usage, naming: "shortcut:") {
      _ = try spec(.residual(body: [convolution], shortcut: [.paddedShortcut(outChannels: 8, stride: 1)], relu: true))
    }
    expectError(.usage, saying: "two layers have the same name, a") {
      _ = try spec(.residual(body: [convolution], shortcut: [convolution], relu: true))
    }
    expectError(.usage, naming: "patches:") { _ = try spec(.patches(size: 4)) }
    expectError(.usage, naming: "attention:") { _ = try spec(.attention(heads: 1, size: 2)) }
    expectError(.usage, naming: "position embedding:") { _ = try spec(.positionEmbedding) }
  }
}

import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct FanInInitializationTests {
  private let meter = AllocationMeter()

  /// Rows of the listed fan-ins.
  private func parameter(fanIns: [Int], columns: Int, index: Int = 0) throws -> SparseParameter {
    let connections = fanIns.enumerated().flatMap { row, fanIn in
      (0..<fanIn).map { (row: row, column: columns - 1 - $0) }
    }
    let structure = try SparseStructure(rows: fanIns.count, columns: columns, connections: connections, meter: meter)
    return SparseParameter(matrix: SparseMatrix(name: "layer", structure: structure, meter: meter), index: index)
  }

  /// Uniform in (-b, b), b = sqrt(3 / fan-in): within it, as far as near its edge, of variance 1 / fan-in.
  private func expectUniform(_ numbers: [Float], fanIn: Int, sourceLocation: SourceLocation = #_sourceLocation) {
    let bound = (3 / Double(max(1, fanIn))).squareRoot()
    let values = numbers.map(Double.init)
    let isWithin = values.allSatisfy { abs($0) <= bound * (1 + 1e-6) }
    #expect(isWithin, sourceLocation: sourceLocation)
    let n = Double(values.count)
    let variance = values.reduce(0) { $0 + $1 * $1 } / n
    // The square of such a number has mean v = 1 / fan-in and variance 4/5 v^2.
    let expected = bound * bound / 3
    #expect(abs(variance - expected) <= 4 * (0.8 / n).squareRoot() * expected, sourceLocation: sourceLocation)
    #expect(abs(values.reduce(0, +) / n) <= 4 * (expected / n).squareRoot(), sourceLocation: sourceLocation)
    var counts = [Int](repeating: 0, count: 20)
    for value in values { counts[min(19, max(0, Int((value / bound + 1) * 10)))] += 1 }
    #expect(
      LayerStatistics.isPlausible(chiSquared: LayerStatistics.chiSquared(uniform: counts), degrees: 19),
      sourceLocation: sourceLocation)
  }

  @Test(arguments: [1, 2, 10, 400])
  func weightsAndBiasesFollowTheFanIn(fanIn: Int) throws {
    let rows = max(400, 4000 / fanIn)
    let parameter = try parameter(fanIns: [Int](repeating: fanIn, count: rows), columns: 400)
    let bias = VectorParameter(name: "layer.bias", count: rows, value: .nan, meter: meter)
    FanInInitialization(random: CounterRandom(seed: 94))(parameter, bias: bias)
    expectUniform(parameter.matrix.withValues { Array($0) }, fanIn: fanIn)
    expectUniform(bias.values.array, fanIn: fanIn)
  }

  /// Each row by its own fan-in; a row without connections has a bias, as if it had one.
  @Test func rowsDiffer() throws {
    let fanIns = [0, 1, 100, 3, 0, 300]
    let parameter = try parameter(fanIns: fanIns, columns: 300)
    var biases = [[Float]](repeating: [], count: 6)
    var weights = biases
    for seed in 0..<500 {
      let bias = VectorParameter(name: "layer.bias", count: 6, value: .nan, meter: meter)
      FanInInitialization(random: CounterRandom(seed: UInt64(seed)))(parameter, bias: bias)
      for row in 0..<6 {
        biases[row].append(bias.values[row])
        weights[row] += parameter.matrix.withValues { Array($0[parameter.matrix.structure.positions(ofRow: row)]) }
      }
    }
    for row in 0..<6 {
      expectUniform(biases[row], fanIn: fanIns[row])
      if fanIns[row] > 0 { expectUniform(weights[row], fanIn: fanIns[row]) }
    }
  }

  @Test func numbersDependOnSeedAndLayerAlone() throws {
    func weights(seed: UInt64, index: Int) throws -> [Float] {
      let parameter = try parameter(fanIns: [5, 7], columns: 10, index: index)
      FanInInitialization(random: CounterRandom(seed: seed))(parameter, bias: nil)
      return parameter.matrix.withValues { Array($0) }
    }
    #expect(try weights(seed: 1, index: 0) == weights(seed: 1, index: 0))
    #expect(try weights(seed: 1, index: 0) != weights(seed: 2, index: 0))
    #expect(try weights(seed: 1, index: 0) != weights(seed: 1, index: 1))
  }

  @Test func denseLayersAreDrawnAlike() {
    let weights = VectorParameter(name: "layer.weight", count: 5000, value: .nan, meter: meter)
    let bias = VectorParameter(name: "layer.bias", count: 500, value: .nan, meter: meter)
    FanInInitialization(random: CounterRandom(seed: 95))(dense: weights, fanIn: 10, index: 2, bias: bias)
    expectUniform(weights.values.array, fanIn: 10)
    expectUniform(bias.values.array, fanIn: 10)
  }

  @Test func aLayersShapeGivesItsStructure() throws {
    let shape = SparseLayerShape(name: "conv", rows: 8, inChannels: 4, kernelHeight: 3, kernelWidth: 3)
    let structure = SparseStructure.random(
      shape, count: 77, stream: CounterRandom(seed: 96).stream(.topology), meter: meter)
    try structure.check(name: "conv")
    #expect(structure.count == 77 && structure.rows == 8 && structure.columns == 36)
  }
}

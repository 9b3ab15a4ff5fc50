import EspalierCore
import TestSupport
import Testing

/// What the tests of the tape share.
enum CoreHarness {
  /// Half a unit in the last place of 1: the largest relative error of one rounding.
  static let u = Double(Float.ulpOfOne) / 2

  /// One sample; a few; a padded block of 32; one block and one sample.
  static let batches = [1, 5, 31, 33]

  /// Runs `body` on every instruction set with 1 and with 2 threads, which must agree bit for bit.
  ///
  /// - Returns: each instruction set's results.
  static func everywhere(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: (ComputeContext) throws -> [[Float]]
  ) throws -> [[[Float]]] {
    try InstructionSet.available.map { instructionSet in
      let one = try body(ComputeContext(threads: 1, instructionSet: instructionSet))
      let two = try body(ComputeContext(threads: 2, instructionSet: instructionSet))
      let same = one.map { $0.map(\.bitPattern) } == two.map { $0.map(\.bitPattern) }
      #expect(same, "\(instructionSet): 2 threads differ from 1", sourceLocation: sourceLocation)
      return one
    }
  }

  /// Expects |actual - expected| <= bound everywhere, with bounds that would reject zeros.
  static func expectClose(
    _ actual: [Float], _ expected: [Double], _ what: String, rejectsZeros: Bool = true,
    sourceLocation: SourceLocation = #_sourceLocation, bound: (Int) -> Double
  ) {
    #expect(actual.count == expected.count, "\(what)", sourceLocation: sourceLocation)
    let wrong = zip(actual, expected).enumerated().first { i, pair in
      !(abs(Double(pair.0) - pair.1) <= bound(i))
    }
    if let (i, pair) = wrong {
      Issue.record(
        "\(what), element \(i): \(pair.0), expected \(pair.1) within \(bound(i))", sourceLocation: sourceLocation)
    }
    let isRejected = expected.indices.contains { abs(expected[$0]) > bound($0) }
    #expect(isRejected || !rejectsZeros, "\(what): zeros would pass", sourceLocation: sourceLocation)
  }

  /// Expects sums that err by at most their number of terms times u times the sum of the terms' magnitudes.
  static func expectClose(
    _ actual: [Float], _ expected: OracleSums, _ what: String, sourceLocation: SourceLocation = #_sourceLocation
  ) {
    expectClose(actual, expected.values, what, sourceLocation: sourceLocation) {
      (expected.terms[$0] + 2) * u * 1.01 * expected.magnitudes[$0] + 1e-13
    }
  }

  static func isUsage(_ error: any Error) -> Bool { (error as? EspalierError)?.kind == .usage }
}

/// Where an operation's positions are tokens.
struct TokenSides: OptionSet {
  let rawValue: Int
  static let input = TokenSides(rawValue: 1)
  static let output = TokenSides(rawValue: 2)
}

/// Sums of products with what their rounding errors are bounded by.
struct OracleSums {
  let values: [Double]
  /// The same sums over the magnitudes of the terms.
  let magnitudes: [Double]
  /// The number of terms: the same sums over ones.
  let terms: [Double]

  subscript(indices: [Int]) -> OracleSums {
    OracleSums(
      values: indices.map { values[$0] }, magnitudes: indices.map { magnitudes[$0] }, terms: indices.map { terms[$0] })
  }
}

extension ComputeContext {
  /// Activations with the tensor's numbers and `padding` in the lanes beyond the last sample; its positions may be tokens.
  func activations(_ tensor: OracleTensor, padding: Float, areTokens: Bool = false) -> Activations {
    let image = ActivationShape(
      samples: tensor.samples, channels: tensor.channels, height: tensor.height, width: tensor.width)
    let result = pool.activations(
      areTokens
        ? ActivationShape(samples: tensor.samples, tokens: tensor.positions, channels: tensor.channels) : image)
    result.buffer.update(repeating: padding)
    for sample in 0..<tensor.samples {
      for feature in 0..<tensor.features {
        let offset = Self.offset(sample, feature, result.shape)
        result.buffer[offset] = Float(tensor.values[sample * tensor.features + feature])
      }
    }
    return result
  }

  /// The numbers in the oracle's order.
  func numbers(_ activations: Activations) -> [Float] {
    let shape = activations.shape
    return (0..<shape.samples).flatMap { sample in
      (0..<shape.tokens * shape.features).map { activations.buffer[Self.offset(sample, $0, shape)] }
    }
  }

  /// Whether every number of a lane beyond the last sample is zero.
  func hasZeroPadding(_ activations: Activations) -> Bool {
    let shape = activations.shape
    return (shape.samples..<shape.sampleBlocks * shape.lanes).allSatisfy { sample in
      (0..<shape.tokens * shape.features).allSatisfy { activations.buffer[Self.offset(sample, $0, shape)] == 0 }
    }
  }

  /// Of the feature that the oracle has in place `feature`: channel by channel, while tokens lie token by token.
  private static func offset(_ sample: Int, _ feature: Int, _ shape: ActivationShape) -> Int {
    let place = shape.tokens > 1 ? feature % shape.tokens * shape.channels + feature / shape.tokens : feature
    return (sample / shape.lanes * shape.tokens * shape.features + place) * shape.lanes + sample % shape.lanes
  }

  /// Leaves NaN in the memory that the pool will hand out next for these shapes.
  func poison(_ shapes: ActivationShape...) {
    var kept: [Activations] = []
    for shape in shapes {
      for _ in 0..<3 {
        let activations = pool.activations(shape)
        activations.buffer.update(repeating: .nan)
        kept.append(activations)
      }
    }
  }

  /// Output and input gradient of one operation in training, for the output gradient `delta`.
  func trained(
    _ x: OracleTensor, delta: OracleTensor, tokens: TokenSides = [], padding: Float = 1e30, step: Int = 0,
    visitor: ((any GradientSite) throws -> Void)? = nil, _ operation: (Tape, Variable) throws -> Variable
  ) throws -> (output: [Float], gradient: [Float]) {
    let tape = Tape(context: self, mode: .training(step: step))
    tape.gradientSiteVisitor = visitor
    let source = tape.input(activations(x, padding: padding, areTokens: tokens.contains(.input)))
    let seed = activations(delta, padding: 0, areTokens: tokens.contains(.output))
    poison(source.shape, seed.shape)
    let output = try operation(tape, source)
    let numbers = numbers(output.value)
    let gradient = try #require(try tape.backward(from: output, gradient: seed, sources: [source])[0])
    #expect(hasZeroPadding(gradient))
    return (numbers, self.numbers(gradient))
  }

  /// A layer's weights; the gradient starts as NaN.
  func parameter(_ layer: OracleLayer, name: String = "layer", taps: Int = 1, index: Int = 0) throws -> SparseParameter
  {
    let structure = try SparseStructure(
      rows: layer.rows, columns: layer.columns, connections: layer.connections, name: name, meter: meter)
    let matrix = SparseMatrix(name: name, structure: structure, taps: taps, meter: meter)
    matrix.withMutableValues { values in
      for i in values.indices { values[i] = layer.values[i] }
    }
    let parameter = SparseParameter(matrix: matrix, index: index)
    parameter.gradient.buffer.update(repeating: .nan)
    return parameter
  }

  /// Lets every connection that the layer lacks be trained without being used: weights of 1e30, gradients of NaN.
  func addBackwardSet(to parameter: SparseParameter, of layer: OracleLayer) throws {
    let matrix = parameter.matrix
    func list(_ connections: [(row: Int, column: Int)]) throws -> WeightList {
      let structure = try SparseStructure(
        rows: layer.rows, columns: layer.columns, connections: connections, meter: meter)
      let values = MeteredBuffer<Float>(count: connections.count, tag: .values, site: matrix.site, meter: meter)
      values.buffer.update(repeating: 1e30)
      return WeightList(structure: structure, values: values)
    }
    let field = StartingField(
      rows: layer.rows, columns: layer.columns, connections: matrix.count, layer: 0, random: CounterRandom(seed: 1),
      context: self)
    let backward = BackwardSet(
      of: matrix, weights: try list(layer.inactiveConnections), remembered: try list([]), field: field, frontier: 0)
    backward.gradient.buffer.update(repeating: .nan)
    parameter.backward = backward
  }

  /// A bias with the given numbers; the gradient starts as NaN.
  func bias(_ values: [Float]) -> VectorParameter {
    let bias = VectorParameter(name: "layer.bias", count: values.count, meter: meter)
    bias.withMutableValues { buffer in
      for i in buffer.indices { buffer[i] = values[i] }
    }
    bias.gradient.buffer.update(repeating: .nan)
    return bias
  }
}

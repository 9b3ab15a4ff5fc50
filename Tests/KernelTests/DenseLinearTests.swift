import EspDense
import Testing

/// A dense linear layer with signed data, and what its three products are in Double, by plain loops.
struct DenseLinearCase: CustomTestStringConvertible, Sendable {
  let rows, columns, blocks, lanes: Int

  var testDescription: String { "\(rows) x \(columns), \(blocks) blocks of \(lanes)" }

  var weights: [Float] { denseNoise(rows * columns, seed: 1) }
  var bias: [Float] { denseNoise(rows, seed: 2) }
  var input: [Float] { denseNoise(blocks * columns * lanes, seed: 3) }
  var delta: [Float] { denseNoise(blocks * rows * lanes, seed: 4) }

  struct Expected {
    var forward, inputGradient, weightGradient: DenseBoundedSum
  }

  func expected(withBias: Bool) -> Expected {
    let (w, b, x, d) = (weights, bias, input, delta)
    var result = Expected(
      forward: DenseBoundedSum(count: blocks * rows * lanes, terms: columns + 1),
      inputGradient: DenseBoundedSum(count: blocks * columns * lanes, terms: rows),
      weightGradient: DenseBoundedSum(count: rows * columns, terms: blocks * lanes))
    for block in 0..<blocks {
      for row in 0..<rows {
        for lane in 0..<lanes {
          let y = (block * rows + row) * lanes + lane
          if withBias { result.forward.add(b[row], 1, at: y) }
          for column in 0..<columns {
            let i = (block * columns + column) * lanes + lane
            result.forward.add(w[row * columns + column], x[i], at: y)
            result.inputGradient.add(w[row * columns + column], d[y], at: i)
            result.weightGradient.add(d[y], x[i], at: row * columns + column)
          }
        }
      }
    }
    return result
  }

  static let sweep: [DenseLinearCase] = {
    var cases: [DenseLinearCase] = []
    for (rows, columns) in [(1, 1), (7, 31), (129, 33), (10, 257), (130, 300)] {
      for lanes in [1, 8, 16, 32] {
        // Above and below the 128 samples that are gathered at a time.
        for blocks in [1, 3, 128 / lanes + 1] {
          cases.append(DenseLinearCase(rows: rows, columns: columns, blocks: blocks, lanes: lanes))
        }
      }
    }
    return cases
  }()
}

@Suite struct DenseLinearTests {
  init() { esp_dense_prepare() }

  @Test func namesTheLibrary() {
    #expect(String(cString: esp_dense_library()).contains("OpenBLAS"))
  }

  @Test(arguments: DenseLinearCase.sweep)
  func forwardMatchesTheOracle(_ c: DenseLinearCase) {
    for withBias in [true, false] {
      let expected = c.expected(withBias: withBias).forward
      expectRightForAnyThreads(expected) { y, threads in
        c.bias.withUnsafeBufferPointer { bias in
          esp_dense_linear_forward(
            c.weights, withBias ? bias.baseAddress : nil, c.rows, c.columns, c.blocks, c.lanes, c.input, y, threads)
        }
      }
    }
  }

  @Test(arguments: DenseLinearCase.sweep)
  func gradientsMatchTheOracle(_ c: DenseLinearCase) {
    let expected = c.expected(withBias: false)
    expectRightForAnyThreads(expected.inputGradient) { dx, threads in
      esp_dense_linear_input_gradient(c.weights, c.rows, c.columns, c.blocks, c.lanes, c.delta, dx, threads)
    }
    expectRightForAnyThreads(expected.weightGradient) { g, threads in
      esp_dense_linear_weight_gradient(c.rows, c.columns, c.blocks, c.lanes, c.input, c.delta, g, threads)
    }
  }

  @Test func theOracleRejectsZeros() {
    let c = DenseLinearCase(rows: 7, columns: 31, blocks: 3, lanes: 8)
    let expected = c.expected(withBias: true)
    for sum in [expected.forward, expected.inputGradient, expected.weightGradient] {
      #expect(!sum.accepts([Float](repeating: 0, count: sum.values.count)))
    }
  }
}

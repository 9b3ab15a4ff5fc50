import EspalierCore
import TestSupport
import Testing

/// The sums that guide exploration, taken in backward passes, against plain loops in Double.
private struct ActivityCase {
  let kernel: OracleKernel
  let x: OracleTensor
  let delta: OracleTensor
  let layer: OracleLayer
  let areTokens: Bool

  init(
    samples: Int, channels: Int, height: Int, width: Int, outputs: Int, kernel: OracleKernel, areTokens: Bool = false
  ) {
    var random = LayerRandom(seed: UInt64(samples + 10 * kernel.taps))
    self.kernel = kernel
    self.areTokens = areTokens
    x = OracleTensor(samples: samples, channels: channels, height: height, width: width, using: &random)
    let columns = channels * kernel.taps
    layer = OracleLayer(rows: outputs, columns: columns, count: columns * outputs / 3 + 1, using: &random)
    let shape = x.convolution(
      weights: layer.dense, bias: [Double](repeating: 0, count: outputs), kernel)
    delta = OracleTensor(
      samples: samples, channels: outputs, height: shape.height, width: shape.width, using: &random)
  }

  /// The number of a sample's output position in blocks of 32 samples, whatever the lanes: (block, position, lane), tokens being
  /// blocks of their own.
  private func row(sample: Int, position: Int) -> Int {
    (sample / 32 * delta.positions + position) * 32 + sample % 32
  }

  private func sign(_ stream: CounterRandom.Stream?, sample: Int, position: Int) -> Double? {
    guard let stream else { return nil }
    let row = row(sample: sample, position: position)
    return stream.bits(UInt64(row / 64)) >> UInt64(row % 64) & 1 == 1 ? -1 : 1
  }

  /// Sums and sums of magnitudes of inputs and of outputs; without signs both are the same.
  func expected(
    _ stream: CounterRandom.Stream?, firstSample: Int = 0
  ) -> (inputs: [Double], outputs: [Double], magnitudes: [Double]) {
    var inputs = [Double](repeating: 0, count: layer.columns)
    var magnitudes = inputs
    var outputs = [Double](repeating: 0, count: layer.rows)
    for sample in 0..<x.samples {
      for position in 0..<delta.positions {
        let sign = sign(stream, sample: firstSample + sample, position: position)
        for o in 0..<layer.rows {
          let value = delta[sample, o, position]
          outputs[o] += sign.map { $0 * value } ?? abs(value)
        }
        for column in 0..<layer.columns {
          let value = input(sample, column, position)
          inputs[column] += sign.map { $0 * value } ?? abs(value)
          magnitudes[column] += abs(value)
        }
      }
    }
    return (inputs, outputs, magnitudes)
  }

  /// What a kernel position sees at an output position; zero outside of the image.
  private func input(_ sample: Int, _ column: Int, _ position: Int) -> Double {
    let tap = column % kernel.taps
    let i = position / delta.width * kernel.stride + tap / kernel.width - kernel.padding
    let j = position % delta.width * kernel.stride + tap % kernel.width - kernel.padding
    guard (0..<x.height).contains(i), (0..<x.width).contains(j) else { return 0 }
    return x[sample, column / kernel.taps, i * x.width + j]
  }

  /// The site's answers, inputs before outputs.
  func measured(_ measures: [ActivityMeasure], _ context: ComputeContext) throws -> [[Double]] {
    var result: [[Double]] = []
    let parameter = try context.parameter(layer, taps: kernel.taps)
    _ = try context.trained(
      x, delta: delta, tokens: areTokens ? [.input, .output] : [],
      visitor: { site in
        for measure in measures {
          let activity = site.activity(measure)
          result += [activity.inputs.array, activity.outputs.array]
        }
      },
      { tape, x in
        areTokens || kernel.taps == 1 && self.x.positions == 1
          ? try tape.sparseLinear(x, weight: parameter, bias: nil)
          : try tape.sparseConvolution(
            x, weight: parameter, bias: nil,
            geometry: ConvolutionGeometry(
              kernelHeight: kernel.height, kernelWidth: kernel.width, stride: kernel.stride, padding: kernel.padding))
      })
    try context.meter.check()
    return result
  }

  /// Both measures on every instruction set; bitwise equal for 1, 2, 3 and 5 threads.
  func check() throws {
    let stream = CounterRandom(seed: 12).stream(.signs, layer: 3, step: 4)
    let bounds = expected(nil)
    let signed = expected(stream)
    let later = expected(stream, firstSample: 43)
    let terms = Double(x.samples * delta.positions + 2)
    for instructionSet in InstructionSet.available {
      let results = try [1, 2, 3, 5].map {
        try measured(
          [.magnitudes, .signed(stream), .signed(stream, firstSample: 43)],
          ComputeContext(threads: $0, instructionSet: instructionSet))
      }
      #expect(results.allSatisfy { $0 == results[0] }, "threads differ")
      let (u, v) = (terms * Double.ulpOfOne, terms * CoreHarness.u * 1.01)
      expectClose(results[0][0], bounds.inputs) { u * bounds.inputs[$0] }
      expectClose(results[0][1], bounds.outputs) { u * bounds.outputs[$0] }
      expectClose(results[0][2], signed.inputs) { v * bounds.inputs[$0] + 1e-12 }
      expectClose(results[0][3], signed.outputs) { u * bounds.outputs[$0] }
      expectClose(results[0][4], later.inputs) { v * bounds.inputs[$0] + 1e-12 }
      expectClose(results[0][5], later.outputs) { u * bounds.outputs[$0] }
    }
  }

  private func expectClose(_ actual: [Double], _ expected: [Double], bound: (Int) -> Double) {
    let isClose = expected.indices.allSatisfy { abs(actual[$0] - expected[$0]) <= bound($0) }
    #expect(actual.count == expected.count && isClose, "\(actual), expected \(expected)")
    #expect(expected.indices.contains { abs(expected[$0]) > bound($0) })
  }
}

@Suite struct ActivityTests {
  private static let single = OracleKernel(height: 1, width: 1)

  @Test(arguments: CoreHarness.batches)
  func ofALinearLayer(batch: Int) throws {
    try ActivityCase(samples: batch, channels: 13, height: 1, width: 1, outputs: 6, kernel: Self.single).check()
  }

  @Test(arguments: CoreHarness.batches)
  func ofTokens(batch: Int) throws {
    try ActivityCase(
      samples: batch, channels: 9, height: 2, width: 3, outputs: 5, kernel: Self.single, areTokens: true
    ).check()
  }

  @Test(arguments: CoreHarness.batches, SparseConvolutionTapeTests.kernels)
  func ofAConvolution(batch: Int, kernel: OracleKernel) throws {
    try ActivityCase(samples: batch, channels: 3, height: 6, width: 5, outputs: 4, kernel: kernel).check()
  }

  /// Over 2,000 draws of signs, the product of an input's and an output's sum is the gradient in mean.
  @Test(arguments: [false, true])
  func theEstimateIsUnbiased(isConvolution: Bool) throws {
    let layer =
      isConvolution
      ? ActivityCase(
        samples: 3, channels: 2, height: 4, width: 4, outputs: 3, kernel: OracleKernel(height: 3, width: 3, padding: 1))
      : ActivityCase(samples: 9, channels: 7, height: 1, width: 1, outputs: 4, kernel: Self.single)
    let x = layer.x
    let zero = [Double](repeating: 0, count: layer.layer.rows)
    let gradient = OracleDerivative.affine(
      { x.convolution(weights: $0, bias: zero, layer.kernel).dot(layer.delta) }, at: layer.layer.dense,
      indices: 0..<layer.layer.rows * layer.layer.columns)
    let draws = 2000
    let measures = (0..<draws).map {
      ActivityMeasure.signed(CounterRandom(seed: 77).stream(.signs, layer: 1, step: $0))
    }
    let sums = try layer.measured(measures, ComputeContext(threads: 1))
    for cell in gradient.indices {
      let (o, i) = (cell / layer.layer.columns, cell % layer.layer.columns)
      let estimates = (0..<draws).map { sums[2 * $0][i] * sums[2 * $0 + 1][o] }
      let mean = estimates.reduce(0, +) / Double(draws)
      let variance = estimates.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(draws - 1)
      #expect(abs(mean - gradient[cell]) < 4.5 * (variance / Double(draws)).squareRoot() + 1e-4)
    }
    let isNotZero = gradient.contains { abs($0) > 0.5 }
    #expect(isNotZero)
  }

  /// The whole gradient in tiles is the gradient at every connection.
  @Test(arguments: [Self.single, OracleKernel(height: 3, width: 3, stride: 2, padding: 1)])
  func tilesHoldTheWholeGradient(kernel: OracleKernel) throws {
    var random = LayerRandom(seed: 15)
    // Large enough for the rule to make tiles lower than the layer, and for them to be computed in parts.
    let side = kernel.taps == 1 ? 1 : 5
    let x = OracleTensor(samples: 5, channels: kernel.taps == 1 ? 2500 : 40, height: side, width: side, using: &random)
    let columns = x.channels * kernel.taps
    let layer = OracleLayer(rows: 90, columns: columns, count: 200, using: &random)
    let shape = x.convolution(weights: layer.dense, bias: [Double](repeating: 0, count: 90), kernel)
    let delta = OracleTensor(samples: 5, channels: 90, height: shape.height, width: shape.width, using: &random)
    let all = try SparseStructure(
      rows: 90, columns: columns, connections: OracleLayer.connections(Array(0..<90 * columns), columns: columns),
      meter: AllocationMeter())
    let context = try ComputeContext(threads: 2)
    let parameter = try context.parameter(layer, taps: kernel.taps)
    var (tiled, heights): ([Float], [Int]) = ([], [])
    var whole: [Float] = []
    _ = try context.trained(
      x, delta: delta,
      visitor: { site in
        site.forEachGradientTile { tile in
          #expect(tile.rows.lowerBound == heights.reduce(0, +))
          heights.append(tile.rows.count)
          tiled += Array(tile.gradients)
        }
        let gradients = MeteredBuffer<Float>(count: all.count, tag: .dense, site: nil, meter: context.meter)
        site.computeGradients(at: all, into: gradients)
        whole = gradients.array
      },
      { tape, x in
        kernel.taps == 1
          ? try tape.sparseLinear(x, weight: parameter, bias: nil)
          : try tape.sparseConvolution(
            x, weight: parameter, bias: nil, geometry: ConvolutionGeometry(kernel: 3, stride: 2, padding: 1))
      })
    #expect(heights.reduce(0, +) == 90 && heights.count > 1)
    // A tile and a list of connections are added up in different orders.
    let bound: Float = kernel.taps == 1 ? 2e-6 : 1e-5
    let isClose = zip(tiled, whole).allSatisfy { abs($0 - $1) <= bound }
    #expect(tiled.count == whole.count && isClose)
    try context.meter.check()
  }
}

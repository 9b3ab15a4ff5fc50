import EspDense
import Testing

/// A dense convolution with signed data, and what its three products are in Double, by plain loops.
struct DenseConvCase: CustomTestStringConvertible, Sendable {
  let inChannels, height, width, outChannels, kernelHeight, kernelWidth, stride, padding, blocks, lanes: Int

  var testDescription: String {
    "\(inChannels) x \(height) x \(width) -> \(outChannels), kernel \(kernelHeight) x \(kernelWidth), stride \(stride), "
      + "padding \(padding), \(blocks) blocks of \(lanes)"
  }

  var outHeight: Int { (height + 2 * padding - kernelHeight) / stride + 1 }
  var outWidth: Int { (width + 2 * padding - kernelWidth) / stride + 1 }
  var patch: Int { inChannels * kernelHeight * kernelWidth }

  var shape: esp_conv_shape {
    esp_conv_shape(
      in_channels: inChannels, in_height: height, in_width: width, out_channels: outChannels, out_height: outHeight,
      out_width: outWidth, kernel_height: kernelHeight, kernel_width: kernelWidth, stride: stride, pad_top: padding,
      pad_left: padding, input_dilation: 1)
  }

  var weights: [Float] { denseNoise(outChannels * patch, seed: 1) }
  var bias: [Float] { denseNoise(outChannels, seed: 2) }
  var input: [Float] { denseNoise(blocks * inChannels * height * width * lanes, seed: 3) }
  var delta: [Float] { denseNoise(blocks * outChannels * outHeight * outWidth * lanes, seed: 4) }

  /// Calls `body` with the indices (w, x, y) of every product; pixels in the padding have none.
  private func forEachProduct(_ body: (Int, Int, Int) -> Void) {
    for block in 0..<blocks {
      for (o, c) in pairs(outChannels, inChannels) {
        for (row, column) in pairs(outHeight, outWidth) {
          for (ky, kx) in pairs(kernelHeight, kernelWidth) {
            let (i, j) = (row * stride + ky - padding, column * stride + kx - padding)
            guard i >= 0 && i < height && j >= 0 && j < width else { continue }
            let x = ((block * inChannels + c) * height + i) * width + j
            let y = ((block * outChannels + o) * outHeight + row) * outWidth + column
            let w = ((o * inChannels + c) * kernelHeight + ky) * kernelWidth + kx
            for lane in 0..<lanes { body(w, x * lanes + lane, y * lanes + lane) }
          }
        }
      }
    }
  }

  private func pairs(_ a: Int, _ b: Int) -> [(Int, Int)] { (0..<a).flatMap { i in (0..<b).map { (i, $0) } } }

  func expectedForward(withBias: Bool) -> DenseBoundedSum {
    let (w, x, b) = (weights, input, bias)
    var sum = DenseBoundedSum(count: delta.count, terms: patch + 1)
    if withBias {
      let plane = outHeight * outWidth * lanes
      for y in 0..<delta.count { sum.add(b[y / plane % outChannels], 1, at: y) }
    }
    forEachProduct { sum.add(w[$0], x[$1], at: $2) }
    return sum
  }

  func expectedInputGradient() -> DenseBoundedSum {
    let (w, d) = (weights, delta)
    var sum = DenseBoundedSum(count: input.count, terms: outChannels * kernelHeight * kernelWidth)
    forEachProduct { sum.add(w[$0], d[$2], at: $1) }
    return sum
  }

  func expectedWeightGradient() -> DenseBoundedSum {
    let (x, d) = (input, delta)
    var sum = DenseBoundedSum(count: weights.count, terms: blocks * outHeight * outWidth * lanes)
    forEachProduct { sum.add(d[$2], x[$1], at: $0) }
    return sum
  }

  static let sweep: [DenseConvCase] = {
    // Channels in, height, width, channels out, kernel height and width, stride, padding
    let shapes = [
      (3, 9, 7, 5, 3, 3, 1, 1), (3, 9, 8, 5, 3, 3, 2, 1), (17, 6, 6, 9, 1, 1, 1, 0), (17, 7, 6, 9, 1, 1, 2, 0),
      (2, 12, 12, 3, 7, 7, 2, 3), (33, 5, 19, 3, 3, 3, 1, 1), (3, 8, 8, 2, 5, 5, 1, 0), (2, 3, 2, 4, 2, 3, 1, 1),
      (1, 1, 1, 1, 3, 3, 1, 1), (300, 3, 3, 4, 1, 1, 1, 0), (40, 3, 3, 4, 3, 3, 1, 1), (1, 2, 2, 2, 5, 5, 3, 4),
      (2, 33, 33, 2, 3, 3, 1, 1),
    ]
    return shapes.flatMap { s in
      [(1, 5), (8, 2), (16, 2), (32, 1)].map { lanes, blocks in
        DenseConvCase(
          inChannels: s.0, height: s.1, width: s.2, outChannels: s.3, kernelHeight: s.4, kernelWidth: s.5, stride: s.6,
          padding: s.7, blocks: blocks, lanes: lanes)
      }
    }
  }()

  /// Workspace full of NaN, with one more float that nobody may touch.
  func withWorkspace(threads: Int32, _ body: (UnsafeMutablePointer<Float>) -> Void) {
    var shape = shape
    let count = esp_dense_conv_workspace(&shape, lanes, threads)
    var workspace = [Float](repeating: .nan, count: count) + [1.5]
    workspace.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
    #expect(workspace[count] == 1.5)
  }
}

@Suite struct DenseConvTests {
  init() { esp_dense_prepare() }

  @Test(arguments: DenseConvCase.sweep)
  func forwardMatchesTheOracle(_ c: DenseConvCase) {
    var shape = c.shape
    for withBias in [true, false] {
      expectRightForAnyThreads(c.expectedForward(withBias: withBias)) { y, threads in
        c.withWorkspace(threads: threads) { workspace in
          c.bias.withUnsafeBufferPointer { bias in
            esp_dense_conv_forward(
              c.weights, withBias ? bias.baseAddress : nil, &shape, c.blocks, c.lanes, c.input, y, workspace, threads)
          }
        }
      }
    }
  }

  @Test(arguments: DenseConvCase.sweep)
  func inputGradientMatchesTheOracle(_ c: DenseConvCase) {
    var shape = c.shape
    expectRightForAnyThreads(c.expectedInputGradient()) { dx, threads in
      c.withWorkspace(threads: threads) { workspace in
        esp_dense_conv_input_gradient(c.weights, &shape, c.blocks, c.lanes, c.delta, dx, workspace, threads)
      }
    }
  }

  @Test(arguments: DenseConvCase.sweep)
  func weightGradientMatchesTheOracle(_ c: DenseConvCase) {
    var shape = c.shape
    expectRightForAnyThreads(c.expectedWeightGradient()) { g, threads in
      c.withWorkspace(threads: threads) { workspace in
        esp_dense_conv_weight_gradient(&shape, c.blocks, c.lanes, c.input, c.delta, g, workspace, threads)
      }
    }
  }

  @Test func theOracleRejectsZeros() {
    let c = DenseConvCase.sweep[1]
    for sum in [c.expectedForward(withBias: true), c.expectedInputGradient(), c.expectedWeightGradient()] {
      #expect(!sum.accepts([Float](repeating: 0, count: sum.values.count)))
    }
  }
}

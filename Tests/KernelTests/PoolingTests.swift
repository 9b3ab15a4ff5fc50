import EspLayers
import TestSupport
import Testing

@Suite struct PoolingTests {
  static let shapes = [
    LayerPoolOracle(4, 6, kernel: 2, stride: 2),
    LayerPoolOracle(5, 7, kernel: 2, stride: 2),
    LayerPoolOracle(3, 2, kernel: 2, stride: 2),
    LayerPoolOracle(7, 7, kernel: 3, stride: 2, padding: 1),
    LayerPoolOracle(6, 9, kernel: 3, stride: 2),
    LayerPoolOracle(5, 4, kernel: 3, stride: 1, padding: 1),
    LayerPoolOracle(4, 4, kernel: 2, stride: 1, padding: 1),
    LayerPoolOracle(8, 8, kernel: 8, stride: 8),
    LayerPoolOracle(5, 3, kernel: 1, stride: 2),
    LayerPoolOracle(1, 1, kernel: 1, stride: 1),
  ]
  static let planes = 3

  static func shape(_ oracle: LayerPoolOracle) -> esp_pool_shape {
    esp_pool_shape(
      in_height: oracle.height, in_width: oracle.width, out_height: oracle.outHeight, out_width: oracle.outWidth,
      kernel: oracle.kernel, stride: oracle.stride, padding: oracle.padding)
  }

  static func inputs(_ oracle: LayerPoolOracle, _ lanes: Int) -> Int { oracle.height * oracle.width * lanes * planes }
  static func outputs(_ oracle: LayerPoolOracle, _ lanes: Int) -> Int {
    oracle.outHeight * oracle.outWidth * lanes * planes
  }

  /// Calls `body` with each plane's and lane's input position -> index, output's index, and (i, j).
  static func forEachOutput(
    _ oracle: LayerPoolOracle, _ lanes: Int, _ body: (_ at: (Int) -> Int, _ out: Int, _ i: Int, _ j: Int) -> Void
  ) {
    for plane in 0..<planes {
      for lane in 0..<lanes {
        for i in 0..<oracle.outHeight {
          for j in 0..<oracle.outWidth {
            let out = ((plane * oracle.outHeight + i) * oracle.outWidth + j) * lanes + lane
            body({ (plane * oracle.height * oracle.width + $0) * lanes + lane }, out, i, j)
          }
        }
      }
    }
  }

  /// Expected output and input gradient of maximum pooling.
  static func maximum(_ x: [Float], _ d: [Float], _ oracle: LayerPoolOracle, _ lanes: Int) -> (y: [Float], dx: [Float])
  {
    var y = LayerHarness.nans(outputs(oracle, lanes))
    var dx = [Float](repeating: 0, count: x.count)
    forEachOutput(oracle, lanes) { at, out, i, j in
      let plane = (0..<oracle.height * oracle.width).map { x[at($0)] }
      let winner = oracle.winner(plane, i, j)
      y[out] = x[at(winner)]
      dx[at(winner)] += d[out]
    }
    return (y, dx)
  }

  static func checkMaximum(_ x: [Float], _ d: [Float], _ oracle: LayerPoolOracle, _ lanes: Int) {
    let expected = maximum(x, d, oracle, lanes)
    var shape = shape(oracle)
    let ys = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(outputs(oracle, lanes))
      esp_max_pool_forward(isa, x, &shape, planes, lanes, &y, threads)
      return y
    }
    for y in ys { #expect(LayerHarness.sameBits(y, expected.y)) }
    let dxs = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(x.count)
      esp_max_pool_backward(isa, x, expected.y, d, &shape, planes, lanes, &dx, threads)
      return dx
    }
    for dx in dxs { #expect(dx == expected.dx) }
  }

  /// Eighths, whose sums are exact in any order.
  static func gradient(_ count: Int, seed: UInt64) -> [Float] {
    var random = LayerRandom(seed: seed)
    return (0..<count).map { _ in Float(Int.random(in: -40...40, using: &random)) / 8 }
  }

  @Test(arguments: shapes, LayerShape.allLanes)
  func maximumMatchesTheDefinition(_ oracle: LayerPoolOracle, lanes: Int) {
    var random = LayerRandom(seed: 1)
    let x = random.floats(Self.inputs(oracle, lanes))
    Self.checkMaximum(x, Self.gradient(Self.outputs(oracle, lanes), seed: 2), oracle, lanes)
  }

  @Test(arguments: shapes, LayerShape.allLanes)
  func ofTiesTheFirstWins(_ oracle: LayerPoolOracle, lanes: Int) {
    var random = LayerRandom(seed: 3)
    let x = (0..<Self.inputs(oracle, lanes)).map { _ in [-1, 0, -0.0, 2].randomElement(using: &random)! as Float }
    Self.checkMaximum(x, Self.gradient(Self.outputs(oracle, lanes), seed: 4), oracle, lanes)
  }

  @Test(arguments: shapes, LayerShape.allLanes)
  func infinitiesAndNaNsTakeTheirWay(_ oracle: LayerPoolOracle, lanes: Int) {
    var random = LayerRandom(seed: 5)
    let choices: [Float] = [-.infinity, -.infinity, -.infinity, 1, .infinity, .nan]
    let x = (0..<Self.inputs(oracle, lanes)).map { _ in choices.randomElement(using: &random)! }
    Self.checkMaximum(x, Self.gradient(Self.outputs(oracle, lanes), seed: 6), oracle, lanes)
    let lowest = [Float](repeating: -.infinity, count: x.count)
    Self.checkMaximum(lowest, Self.gradient(Self.outputs(oracle, lanes), seed: 7), oracle, lanes)
  }

  @Test(arguments: shapes, LayerShape.allLanes)
  func averageMatchesTheDefinition(_ oracle: LayerPoolOracle, lanes: Int) {
    var random = LayerRandom(seed: 8)
    let x = random.floats(Self.inputs(oracle, lanes))
    let d = random.floats(Self.outputs(oracle, lanes))
    let area = Double(oracle.kernel * oracle.kernel)
    var y = [Double](repeating: 0, count: d.count)
    var yMagnitude = y
    var dx = [Double](repeating: 0, count: x.count)
    var dxMagnitude = dx
    Self.forEachOutput(oracle, lanes) { at, out, i, j in
      for e in oracle.window(i, j).map(at) {
        y[out] += Double(x[e]) / area
        yMagnitude[out] += abs(Double(x[e])) / area
        dx[e] += Double(d[out]) / area
        dxMagnitude[e] += abs(Double(d[out])) / area
      }
    }
    var shape = Self.shape(oracle)
    let forwards = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(d.count)
      esp_average_pool_forward(isa, x, &shape, Self.planes, lanes, &y, threads)
      return y
    }
    for values in forwards { LayerHarness.expectClose(values, y) { (area + 1) * LayerHarness.u * yMagnitude[$0] } }
    let backwards = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(x.count)
      esp_average_pool_backward(isa, d, &shape, Self.planes, lanes, &dx, threads)
      return dx
    }
    for values in backwards { LayerHarness.expectClose(values, dx) { (area + 1) * LayerHarness.u * dxMagnitude[$0] } }
  }

  /// Input height and width, output height and width: shares that divide, overlap, repeat single pixels, are the whole or each pixel.
  static let adaptiveSizes = [
    [14, 14, 7, 7], [10, 9, 7, 4], [1, 2, 7, 7], [3, 5, 7, 3], [7, 7, 7, 7], [6, 5, 1, 1],
  ]

  @Test(arguments: adaptiveSizes, LayerShape.allLanes)
  func theAdaptiveAverageMatchesTheDefinition(_ sizes: [Int], lanes: Int) {
    var shape = esp_pool_shape(
      in_height: sizes[0], in_width: sizes[1], out_height: sizes[2], out_width: sizes[3], kernel: 0, stride: 0,
      padding: 0)
    var random = LayerRandom(seed: 12)
    let x = random.floats(Self.planes * sizes[0] * sizes[1] * lanes)
    let d = random.floats(Self.planes * sizes[2] * sizes[3] * lanes)
    var (y, yMagnitude) = ([Double](repeating: 0, count: d.count), [Double](repeating: 0, count: d.count))
    var (dx, dxMagnitude) = ([Double](repeating: 0, count: x.count), [Double](repeating: 0, count: x.count))
    /// Pixels whose interval meets that of output i, both scaled to whole numbers.
    func share(_ i: Int, _ size: Int, _ outputs: Int) -> [Int] {
      (0..<size).filter { ($0 + 1) * outputs > i * size && $0 * outputs < (i + 1) * size }
    }
    for out in d.indices {
      let (lane, position) = (out % lanes, out / lanes % (sizes[2] * sizes[3]))
      let plane = out / lanes / (sizes[2] * sizes[3])
      let rows = share(position / sizes[3], sizes[0], sizes[2])
      let columns = share(position % sizes[3], sizes[1], sizes[3])
      let area = Double(rows.count * columns.count)
      for row in rows {
        for column in columns {
          let e = ((plane * sizes[0] + row) * sizes[1] + column) * lanes + lane
          y[out] += Double(x[e]) / area
          yMagnitude[out] += abs(Double(x[e])) / area
          dx[e] += Double(d[out]) / area
          dxMagnitude[e] += abs(Double(d[out])) / area
        }
      }
    }
    let terms = Double(max(sizes[0] * sizes[1], sizes[2] * sizes[3]) + 1)
    let forwards = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(d.count)
      esp_adaptive_average_pool_forward(isa, x, &shape, Self.planes, lanes, &y, threads)
      return y
    }
    for values in forwards { LayerHarness.expectClose(values, y) { terms * LayerHarness.u * yMagnitude[$0] } }
    let backwards = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(x.count)
      esp_adaptive_average_pool_backward(isa, d, &shape, Self.planes, lanes, &dx, threads)
      return dx
    }
    for values in backwards { LayerHarness.expectClose(values, dx) { terms * LayerHarness.u * dxMagnitude[$0] } }
  }

  @Test(arguments: [1, 2, 15, 64], LayerShape.allLanes)
  func theGlobalAverageMatchesTheDefinition(positions: Int, lanes: Int) {
    var random = LayerRandom(seed: 9)
    let x = random.floats(Self.planes * positions * lanes)
    let d = random.floats(Self.planes * lanes)
    var y = [Double](repeating: 0, count: d.count)
    var magnitude = y
    var dx = [Double](repeating: 0, count: x.count)
    for e in x.indices {
      let out = e / (positions * lanes) * lanes + e % lanes
      y[out] += Double(x[e]) / Double(positions)
      magnitude[out] += abs(Double(x[e])) / Double(positions)
      dx[e] = Double(d[out]) / Double(positions)
    }
    let forwards = LayerHarness.outputs { isa, threads in
      var y = LayerHarness.nans(d.count)
      esp_global_average_forward(isa, x, Self.planes, positions, lanes, &y, threads)
      return y
    }
    for values in forwards {
      LayerHarness.expectClose(values, y) { Double(positions + 1) * LayerHarness.u * magnitude[$0] }
    }
    let backwards = LayerHarness.outputs { isa, threads in
      var dx = LayerHarness.nans(x.count)
      esp_global_average_backward(isa, d, Self.planes, positions, lanes, &dx, threads)
      return dx
    }
    for values in backwards { LayerHarness.expectClose(values, dx) { 2 * LayerHarness.u * abs(dx[$0]) } }
  }
}

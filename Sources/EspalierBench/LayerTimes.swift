import Espalier
import Foundation

/// Times of layers' steps (forward and both gradients): measured for as many shapes as the deadline allows, the largest first; the
/// others from the speed of the nearest shape.
struct LayerTimes {
  /// What one shape's tile came to, scaled to the whole layer.
  private struct Measurement {
    let layer: LayerCase
    let denseSeconds: Double
    /// Sparse seconds are fixed + slope * connections.
    let fixedSeconds, secondsPerConnection: Double
  }

  private var measurements: [Shape: Measurement] = [:]

  /// Layers that take equally long.
  private struct Shape: Hashable {
    let outputs, inputs, height, width: Int
    let geometry: ConvolutionGeometry?

    init(_ layer: LayerCase) {
      (outputs, inputs, height, width) = (layer.outputs, layer.inputs, layer.height, layer.width)
      geometry = layer.geometry
    }
  }

  init(_ layers: [LayerCase], context: ComputeContext, deadline: ContinuousClock.Instant) throws {
    var work: [Shape: (layer: LayerCase, flops: Double)] = [:]
    for layer in layers { work[Shape(layer), default: (layer, 0)].flops += layer.denseFlops }
    let order = work.sorted { ($0.value.flops, $0.value.layer.name) > ($1.value.flops, $1.value.layer.name) }
    var longest = Duration.zero
    for (shape, item) in order where measurements.isEmpty || ContinuousClock.now + longest < deadline {
      let tile = Tile(item.layer)
      guard tile.isFaithful || measurements.isEmpty else { continue }
      let start = ContinuousClock.now
      measurements[shape] = try Self.measure(tile, context: context)
      longest = max(longest, ContinuousClock.now - start)
    }
  }

  func isMeasured(_ layer: LayerCase) -> Bool { measurements[Shape(layer)] != nil }

  func denseSeconds(_ layer: LayerCase) -> Double {
    if let found = measurements[Shape(layer)] { return found.denseSeconds }
    return nearest(layer).map { $0.denseSeconds * layer.denseFlops / $0.layer.denseFlops } ?? .nan
  }

  /// - Parameter connections: in place of the layer's own.
  func sparseSeconds(_ layer: LayerCase, connections: Int? = nil) -> Double {
    let connections = Double(connections ?? layer.connections)
    if let found = measurements[Shape(layer)] { return found.fixedSeconds + found.secondsPerConnection * connections }
    guard let near = nearest(layer) else { return .nan }
    let scale = Double(layer.positions) / Double(near.layer.positions)
    let fixed = near.fixedSeconds * layer.denseFlops / near.layer.denseFlops
    return fixed + near.secondsPerConnection * connections * scale
  }

  private func nearest(_ layer: LayerCase) -> Measurement? {
    func distance(_ other: LayerCase) -> Double {
      func apart(_ a: Int, _ b: Int) -> Double { abs(log2(Double(a) / Double(b))) }
      return apart(layer.outputs, other.outputs) + apart(layer.columns, other.columns)
        + apart(layer.positions, other.positions) + (layer.taps == other.taps ? 0 : 4)
    }
    return measurements.values.min { (distance($0.layer), $0.layer.name) < (distance($1.layer), $1.layer.name) }
  }

  /// Times a tile at its own density and at another one, about where sparse and dense meet, and takes time as linear in between.
  private static func measure(_ tile: Tile, context: ComputeContext) throws -> Measurement {
    let own = try step(tile.layer, context: context, withDense: true)
    let second = tile.layer.connections * 4 <= tile.layer.size ? tile.layer.size / 2 : tile.layer.connections / 8
    let other = try step(tile.layer.with(connections: second), context: context, withDense: false).sparse
    let slope = max(0, (other - own.sparse) / Double(second - tile.layer.connections))
    let perConnection = slope * tile.volume
    let total = own.sparse * tile.connectionScale
    let fixed = max(0, total - perConnection * Double(tile.whole.connections))
    return Measurement(
      layer: tile.whole, denseSeconds: own.dense * tile.sizeScale, fixedSeconds: fixed,
      secondsPerConnection: (total - fixed) / Double(tile.whole.connections))
  }

  /// Forward and both gradients; the best of some runs, because there are few of them.
  private static func step(
    _ layer: LayerCase, context: ComputeContext, withDense: Bool
  ) throws -> (sparse: Double, dense: Double) {
    let budget = MeasurementBudget(seconds: 0.04, repetitions: 2...20)
    let fixture = try LayerFixture(layer, context: context)
    var (sparse, dense) = (0.0, 0.0)
    for kernel in BenchKernel.all(isConvolution: layer.geometry != nil) {
      let run = KernelRun(KernelCase(kernel, layer), fixture: fixture)
      let times = try run.measure(budget, withDense: withDense)
      sparse += times.sparse.least
      dense += times.dense?.least ?? 0
    }
    return (sparse, dense)
  }
}

/// A part of a layer that is small enough to be measured, and what one of it stands for.
struct Tile {
  let whole: LayerCase
  let layer: LayerCase
  /// Whether the whole layer would use memory in much the same way.
  let isFaithful: Bool

  /// Operations of one dense product of a tile.
  private static let flops = 0.6e9
  /// Weights of a tile's dense form.
  private static let weights = 1 << 22

  init(_ whole: LayerCase) {
    self.whole = whole
    var (outputs, inputs, height, width) = (whole.outputs, whole.inputs, whole.height, whole.width)
    var batch = min(whole.batch, whole.geometry == nil ? 128 : 32)
    var weights: Int { outputs * inputs * whole.taps }
    var flops: Double { 2 * Double(weights) * Double(height * width) * Double(batch) }
    while flops > Self.flops, max(height, width) > 8 {
      if height >= width { height = (height + 1) / 2 } else { width = (width + 1) / 2 }
    }
    if whole.geometry == nil, flops > Self.flops { batch = min(batch, 32) }
    while weights > Self.weights || flops > 2 * Self.flops, max(outputs, inputs) > 64 {
      if outputs >= inputs { outputs = (outputs + 1) / 2 } else { inputs = (inputs + 1) / 2 }
    }
    let part = Double(weights) / Double(whole.size)
    let connections = Int((Double(whole.connections) * part).rounded())
    layer = LayerCase(
      name: whole.name, outputs: outputs, inputs: inputs, geometry: whole.geometry, height: height, width: width,
      batch: batch, connections: min(weights, max(1, connections)))
    isFaithful = connections >= 64 && inputs * 4 >= whole.inputs || part == 1
  }

  /// What the whole takes in proportion to the tile, by samples and positions.
  var volume: Double {
    func padded(_ layer: LayerCase) -> Int { ActivationShape(samples: layer.batch, channels: 1).count }
    return Double(padded(whole) * whole.positions) / Double(padded(layer) * layer.positions)
  }
  var connectionScale: Double { volume * Double(whole.connections) / Double(layer.connections) }
  var sizeScale: Double { volume * Double(whole.size) / Double(layer.size) }
}

extension LayerCase {
  /// The same layer with another number of connections.
  func with(connections: Int) -> LayerCase {
    LayerCase(
      name: name, outputs: outputs, inputs: inputs, geometry: geometry, height: height, width: width, batch: batch,
      connections: connections)
  }
}

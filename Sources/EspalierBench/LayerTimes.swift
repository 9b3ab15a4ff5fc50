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

  /// Times a tile at its own density and at another one, and takes time as linear in between.
  private static func measure(_ tile: Tile, context: ComputeContext) throws -> Measurement {
    let dense = try step(tile.dense, context: context, withDense: true)
    let own = tile.sparse == tile.dense ? dense.sparse : try step(tile.sparse, context: context).sparse
    let second = try step(tile.sparse.with(connections: tile.secondConnections), context: context).sparse
    let cost = tile.sparseCost(own: own, second: second)
    return Measurement(
      layer: tile.whole, denseSeconds: tile.denseCost(dense.dense), fixedSeconds: cost.fixed,
      secondsPerConnection: cost.perConnection)
  }

  /// Forward and both gradients; the best of some runs, because there are few of them.
  private static func step(
    _ layer: LayerCase, context: ComputeContext, withDense: Bool = false
  ) throws -> (sparse: Double, dense: Double) {
    let budget = MeasurementBudget(seconds: 0.04, repetitions: 2...20)
    let fixture = try LayerFixture(layer, context: context)
    var (sparse, dense) = (0.0, 0.0)
    for kernel in BenchKernel.step(isConvolution: layer.geometry != nil) {
      let run = KernelRun(KernelCase(kernel, layer), fixture: fixture)
      let times = try run.measure(budget, withDense: withDense)
      sparse += times.sparse.least
      dense += times.dense?.least ?? 0
    }
    return (sparse, dense)
  }
}

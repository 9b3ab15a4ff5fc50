import EspalierCore
import EspalierTopology

/// A layer in its backward pass, as updaters see it. Counts what they ask for, unless nobody counts.
struct UpdateProbe: LayerProbe {
  let site: any GradientSite
  let networkConnections: Int
  let update: TopologyStep.Update?

  var weights: SparseParameter { site.parameter }

  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float> {
    let matrix = weights.matrix
    let gradients = MeteredBuffer<Float>(
      count: connections.count, tag: .candidates, site: matrix.site, meter: matrix.meter)
    site.computeGradients(at: connections, into: gradients)
    update?.exploredFlops += 2 * Double(connections.count) * Double(site.positions)
    return gradients
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity {
    update?.exploredFlops += Double(site.activityFlops(measure))
    return site.activity(measure)
  }

  func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows {
    update?.exploredFlops += 2 * Double(weights.matrix.rows) * Double(weights.matrix.columns) * Double(site.positions)
    try site.forEachGradientTile(body)
  }
}

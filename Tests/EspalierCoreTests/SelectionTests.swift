import EspalierCore
import TestSupport
import Testing

@Suite struct MagnitudeSelectionTests {
  /// One sort of all layers' scores by (magnitude, layer, index): NaN counts as the largest.
  private static func sorted(_ scores: [[Float]], _ k: Int, _ order: MagnitudeSelection.Order) -> [[Int]] {
    let all = scores.indices.flatMap { layer in scores[layer].indices.map { (layer, $0) } }
    func magnitude(_ entry: (Int, Int)) -> Double {
      let value = scores[entry.0][entry.1]
      return value.isNaN ? .greatestFiniteMagnitude : Double(min(value.magnitude, 1e38))
    }
    let chosen = all.sorted { a, b in
      let (x, y) = (magnitude(a), magnitude(b))
      if x != y { return order == .largest ? x > y : x < y }
      return a < b
    }.prefix(k)
    return scores.indices.map { layer in chosen.filter { $0.0 == layer }.map(\.1).sorted() }
  }

  private static func selected(_ scores: [[Float]], _ k: Int, _ order: MagnitudeSelection.Order) -> [[Int]] {
    let meter = AllocationMeter()
    let buffers = scores.enumerated().map { layer, values in
      let site = WeightSite(layer: "\(layer)", rows: 10, columns: 10, connections: values.count)
      let buffer = MeteredBuffer<Float>(count: values.count, tag: .values, site: site, meter: meter)
      for (i, value) in values.enumerated() { buffer[i] = value }
      return (buffer, site)
    }
    return withExtendedLifetime(buffers) {
      let all = buffers.map { SelectionScores(UnsafeBufferPointer($0.0.buffer), site: $0.1) }
      return MagnitudeSelection(meter: meter).select(k, order, of: all).map { $0.buffer.map(Int.init) }
    }
  }

  /// Small integers, so that ties abound, at every k.
  @Test(arguments: [MagnitudeSelection.Order.largest, .smallest])
  func equalsOneSortOverAllLayers(order: MagnitudeSelection.Order) {
    var random = LayerRandom(seed: 51)
    for round in 0..<40 {
      var scores = [7, 0, 1, 12].map { count in
        (0..<count).map { _ in Float(Int.random(in: -4...4, using: &random)) * (round % 2 == 0 ? 1 : 0.37) }
      }
      if round % 3 == 0 { scores[3][5] = .nan }
      for k in 0...20 {
        #expect(Self.selected(scores, k, order) == Self.sorted(scores, k, order))
      }
    }
  }

  @Test func selectsFromNothing() {
    #expect(Self.selected([], 0, .largest).isEmpty)
    #expect(Self.selected([[], []], 0, .smallest) == [[], []])
  }
}

@Suite struct RandomStructureSwiftTests {
  private static func stream(_ step: Int = 0, _ purpose: CounterRandom.Purpose = .topology) -> CounterRandom.Stream {
    CounterRandom(seed: 52).stream(purpose, layer: 3, step: step)
  }

  static let densities = [0.01, 0.1, 0.3, 0.49, 0.5, 0.51, 0.7, 0.9, 1]

  /// 130 x 130 = 16,900 cells: the rule forbids dense buffers up to a density of 1/2, which itself is included.
  @Test(arguments: densities, [(130, 130), (16, 2_000)])
  func noBufferBreaksTheRuleAtAnyDensity(density: Double, size: (rows: Int, columns: Int)) throws {
    let meter = AllocationMeter()
    let total = size.rows * size.columns
    let count = Int(density * Double(total))
    let structure = SparseStructure.random(
      name: "layer", rows: size.rows, columns: size.columns, count: count, stream: Self.stream(), meter: meter)
    try structure.check(name: "layer")
    #expect(structure.count == count)
    try meter.check()

    let matrix = SparseMatrix(name: "layer", structure: structure, meter: meter)
    let parameter = SparseParameter(matrix: matrix, index: 3)
    parameter.optimizerState = [parameter.makeOptimizerState()]
    try meter.check()

    let subset = structure.randomInactiveSubset(
      draws: count, stream: Self.stream(1, .candidates), site: matrix.site, meter: meter)
    try subset.check(name: "candidates")
    #expect(Set(subset.cells).isDisjoint(with: structure.cells))
    try meter.check()

    for share in [0.1, 0.5, 1] {
      let grown = structure.randomInactive(
        count: Int(share * Double(min(count, total - count))), stream: Self.stream(2, .growth), site: matrix.site,
        meter: meter)
      try grown.check(name: "grown")
      #expect(Set(grown.cells).isDisjoint(with: structure.cells))
      let positions = MeteredBuffer<UInt32>(count: grown.count, tag: .selection, site: matrix.site, meter: meter)
      for i in 0..<grown.count { positions[i] = UInt32(i) }
      let change = TopologyChange(pruned: positions, prunedCount: grown.count, grown: grown)
      _ = try structure.applying(change, name: "layer", meter: meter)
      try meter.check()
    }
  }

  /// The whole free half of a layer, asked for on behalf of a site of few connections.
  @Test func drawingHalfOfTheInactiveConnectionsStaysBelowTheLayer() throws {
    let meter = AllocationMeter()
    let active = SparseStructure.random(
      name: "layer", rows: 130, columns: 130, count: 4_900, stream: Self.stream(), meter: meter)
    let site = WeightSite(layer: "layer", rows: 130, columns: 130, connections: 4_900)
    let grown = active.randomInactive(count: 6_000, stream: Self.stream(5), site: site, meter: meter)
    #expect(grown.count == 6_000)
    try meter.check()
  }

  @Test func dependsOnTheStreamAlone() {
    func cells(_ stream: CounterRandom.Stream) -> [Int] {
      SparseStructure.random(
        name: "layer", rows: 20, columns: 30, count: 100, stream: stream, meter: AllocationMeter()
      ).cells
    }
    #expect(cells(Self.stream(1)) == cells(Self.stream(1)))
    #expect(cells(Self.stream(1)) != cells(Self.stream(2)))
  }

  @Test(arguments: [0, 1, 30, 100, 5_000])
  func subsetsAreInactiveAndDistinct(draws: Int) throws {
    let meter = AllocationMeter()
    let site = WeightSite(layer: "layer", rows: 9, columns: 11, connections: 60)
    for step in 0..<50 {
      let active = SparseStructure.random(
        name: "layer", rows: 9, columns: 11, count: [0, 60, 99][step % 3], stream: Self.stream(step), meter: meter)
      let subset = active.randomInactiveSubset(
        draws: draws, stream: Self.stream(step, .candidates), site: site, meter: meter)
      try subset.check(name: "candidates")
      #expect(Set(subset.cells).isDisjoint(with: active.cells))
      #expect(subset.count <= min(draws, 99 - active.count))
      if draws == 5_000 { #expect(subset.count == 99 - active.count) }  // all are drawn, but for a chance of e^-45
    }
  }
}

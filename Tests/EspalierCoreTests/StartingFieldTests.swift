import EspalierCore
import TestSupport
import Testing

@Suite struct StartingFieldTests {
  private func field(rows: Int, columns: Int, connections: Int, seed: UInt64 = 3) throws -> StartingField {
    StartingField(
      rows: rows, columns: columns, connections: connections, layer: 2, random: CounterRandom(seed: seed),
      context: try ComputeContext(threads: 2))
  }

  /// Levels are quantiles of the half-normal distribution; numbers from R's qnorm.
  @Test func magnitudesAreNormalQuantiles() throws {
    let field = try field(rows: 100, columns: 100, connections: 10_000)
    // All are active: the mean square is 1 and a row has a hundred, so the deviation is 0.1.
    for (fraction, z) in [(0.5, 0.6744898), (0.95, 1.959964), (0.99, 2.575829), (0.9999, 3.890592)] {
      let level = Int(fraction * Double(StartingField.levels))
      #expect(abs(Double(field.magnitude(ofLevel: level)) - 0.1 * z) < 1e-6)
    }
    #expect(field.magnitude(ofLevel: 0) > 0 && field.magnitude(ofLevel: 0) < 1e-9)
    #expect(field.magnitude(ofLevel: StartingField.levels - 1) > 0.6)
    var previous = -Float.infinity
    for level in stride(from: 0, to: StartingField.levels, by: StartingField.levels / 997) {
      #expect(field.magnitude(ofLevel: level) > previous)
      previous = field.magnitude(ofLevel: level)
    }
  }

  /// What a search finds is what single connections have, at any threshold; the rest is below it.
  @Test(arguments: [(1, 1), (5, 7), (40, 33), (64, 100), (3, 1000)])
  func aSearchFindsEveryConnection(size: (rows: Int, columns: Int)) throws {
    let field = try field(rows: size.rows, columns: size.columns, connections: max(1, size.rows * size.columns / 10))
    let site = WeightSite(
      layer: "layer", rows: size.rows, columns: size.columns, connections: size.rows * size.columns)
    let dense = (0..<size.rows).flatMap { row in (0..<size.columns).map { field.value(row: row, column: $0) } }
    for lower in [0, StartingField.levels / 2, StartingField.levels - StartingField.levels / 20] {
      for upper in [StartingField.levels, StartingField.levels - StartingField.levels / 25] where upper > lower {
        let found = field.connections(levels: lower..<upper, site: site, meter: AllocationMeter())
        try found.structure.check(name: "found")
        let least = field.magnitude(ofLevel: lower)
        let most = upper == StartingField.levels ? Float.infinity : field.magnitude(ofLevel: upper)
        let cells = dense.indices.filter { abs(dense[$0]) >= least && abs(dense[$0]) < most }
        let rows = (0..<size.rows).flatMap { row in
          found.structure.positions(ofRow: row).map { row * size.columns + Int(found.structure.columnIndices[$0]) }
        }
        #expect(rows == cells)
        #expect(found.values.array == cells.map { dense[$0] })
      }
    }
  }

  /// The largest of all, as many as are active, have squares that add up to one a row; signs are coins.
  @Test func activeWeightsHaveUnitSquares() throws {
    for density in [0.01, 0.1, 0.5] {
      let field = try field(rows: 300, columns: 400, connections: Int(120_000 * density))
      let all = (0..<300).flatMap { row in (0..<400).map { field.value(row: row, column: $0) } }
      let active = all.map { abs($0) }.sorted(by: >).prefix(Int(120_000 * density))
      let sum = active.reduce(0) { $0 + Double($1) * Double($1) } / 300
      #expect(abs(sum - 1) < 0.05)
      let positive = all.count { $0 > 0 }
      #expect(abs(Double(positive) - 60_000) < 4 * (120_000.0 / 4).squareRoot())
    }
  }

  @Test func seedsAndLayersDiffer() throws {
    let context = try ComputeContext(threads: 1)
    var seen: Set<Float> = []
    for (seed, layer) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
      let field = StartingField(
        rows: 10, columns: 10, connections: 10, layer: layer, random: CounterRandom(seed: UInt64(seed)),
        context: context)
      seen.insert(field.value(row: 4, column: 4))
    }
    #expect(seen.count == 4)
  }
}

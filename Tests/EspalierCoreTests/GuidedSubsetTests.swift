import EspalierCore
import Foundation
import TestSupport
import Testing

@Suite struct GuidedSubsetTests {
  private let meter = AllocationMeter(gamma: 64)

  private func structure(rows: Int, columns: Int, cells: [Int]) throws -> SparseStructure {
    try SparseStructure(
      rows: rows, columns: columns, connections: OracleLayer.connections(cells, columns: columns), meter: meter)
  }

  private func distribution(_ outputs: [Double], _ inputs: [Double]) -> ConnectionDistribution {
    func table(_ weights: [Double]) -> AliasTable {
      let site = WeightSite(layer: "layer", rows: outputs.count, columns: inputs.count, connections: 1)
      let buffer = MeteredBuffer<Double>(count: weights.count, tag: .candidates, site: site, meter: meter)
      for i in weights.indices { buffer[i] = weights[i] }
      return AliasTable(weights: buffer, site: site, meter: meter)
    }
    return ConnectionDistribution(outputs: table(outputs), inputs: table(inputs))
  }

  private func cells(_ structure: SparseStructure) -> [Int] {
    (0..<structure.rows).flatMap { row in
      structure.positions(ofRow: row).map { row * structure.columns + Int(structure.columnIndices[$0]) }
    }
  }

  private func site(_ structure: SparseStructure) -> WeightSite {
    WeightSite(layer: "layer", rows: structure.rows, columns: structure.columns, connections: structure.count)
  }

  private func drawn(_ active: SparseStructure, _ from: ConnectionDistribution, draws: Int, step: Int) throws -> [Int] {
    let subset = active.randomInactiveSubset(
      draws: draws, from: from, stream: CounterRandom(seed: 4).stream(.candidates, step: step), site: site(active),
      meter: meter)
    try subset.check(name: "subset")
    return cells(subset)
  }

  private static let outputs = [0.5, 0, 3, 1, 0.25]
  private static let inputs: [Double] = [1, 7, 0, 0.5, 2, 0, 1]

  /// Each cell is drawn with probability 1 - (1 - g_o f_i)^n, and in mean as many as these add up to; nothing active and nothing
  /// of weight zero.
  @Test(arguments: [1, 12, 80])
  func hitsFollowTheProduct(draws: Int) throws {
    let taken = [0, 1, 8, 15, 20, 34]
    let active = try structure(rows: 5, columns: 7, cells: taken)
    let from = distribution(Self.outputs, Self.inputs)
    let trials = 8000
    var counts = [Int](repeating: 0, count: 35)
    var sizes = 0
    for trial in 0..<trials {
      let subset = try drawn(active, from, draws: draws, step: trial)
      for cell in subset { counts[cell] += 1 }
      sizes += subset.count
    }
    let (g, f) = (Self.outputs.reduce(0, +), Self.inputs.reduce(0, +))
    var mean = 0.0
    for cell in 0..<35 {
      let p = Self.outputs[cell / 7] / g * Self.inputs[cell % 7] / f
      let hit = taken.contains(cell) ? 0 : 1 - pow(1 - p, Double(draws))
      mean += hit
      let deviation = (hit * (1 - hit) / Double(trials)).squareRoot()
      #expect(abs(Double(counts[cell]) / Double(trials) - hit) <= 4.5 * deviation, "cell \(cell)")
    }
    // Cells exclude each other, so the size varies less than if they were independent.
    #expect(abs(Double(sizes) / Double(trials) - mean) < 4.5 * (mean / Double(trials)).squareRoot())
  }

  /// Tables without mass draw the very pairs that the uniform guide draws.
  @Test func tablesWithoutMassAreUniform() throws {
    let active = try structure(rows: 9, columns: 11, cells: Array(stride(from: 0, to: 99, by: 7)))
    let none = distribution([Double](repeating: 0, count: 9), [Double](repeating: .nan, count: 11))
    for step in 0..<50 {
      let guided = try drawn(active, none, draws: 60, step: step)
      #expect(try guided == drawn(active, .uniform, draws: 60, step: step))
    }
  }

  @Test func exactSubsetsHaveTheirSize() throws {
    let taken = [0, 1, 8, 15, 20, 34]
    let active = try structure(rows: 5, columns: 7, cells: taken)
    let from = distribution(Self.outputs, Self.inputs)
    // Four outputs times five inputs weigh something; six of these cells are active or weigh nothing.
    let possible = (0..<35).filter { Self.outputs[$0 / 7] > 0 && Self.inputs[$0 % 7] > 0 && !taken.contains($0) }
    func exact(_ count: Int, _ distribution: ConnectionDistribution, step: Int) throws -> [Int] {
      let subset = active.randomInactive(
        exactly: count, from: distribution, stream: CounterRandom(seed: 4).stream(.candidates, step: step),
        site: site(active), meter: meter)
      try subset.check(name: "subset")
      return cells(subset)
    }
    for step in 0..<200 {
      for count in [0, 1, 3, 6] {
        let subset = try exact(count, from, step: step)
        #expect(subset.count == count)
        #expect(Set(possible).isSuperset(of: subset))
      }
      #expect(try exact(29, from, step: step).count <= possible.count)
      let all = try exact(20, .uniform, step: step)
      #expect(all.count == 20 && Set(all).isDisjoint(with: taken))
    }
    let single = distribution([0, 0, 1, 0, 0], [0, 0, 0, 1, 0, 0, 0])
    #expect(try exact(20, single, step: 0) == [17])
  }

  /// The first pair of an exact subset of one is drawn in proportion to the product among the inactive.
  @Test func exactSubsetsFollowTheProduct() throws {
    let taken = [0, 1, 8, 15, 20, 34]
    let active = try structure(rows: 5, columns: 7, cells: taken)
    let from = distribution(Self.outputs, Self.inputs)
    var counts = [Int](repeating: 0, count: 35)
    let trials = 20_000
    for step in 0..<trials {
      let subset = active.randomInactive(
        exactly: 1, from: from, stream: CounterRandom(seed: 9).stream(.candidates, step: step), site: site(active),
        meter: meter)
      for cell in cells(subset) { counts[cell] += 1 }
    }
    let weights = (0..<35).map { taken.contains($0) ? 0 : Self.outputs[$0 / 7] * Self.inputs[$0 % 7] }
    let total = Double(counts.reduce(0, +))
    #expect(total > 0.999 * Double(trials))
    var (statistic, cellCount) = (0.0, 0)
    for (count, weight) in zip(counts, weights) where weight > 0 {
      let expected = total * weight / weights.reduce(0, +)
      statistic += (Double(count) - expected) * (Double(count) - expected) / expected
      cellCount += 1
    }
    #expect(LayerStatistics.isPlausible(chiSquared: statistic, degrees: cellCount - 1))
  }
}

@Suite struct StreamedTopKTests {
  /// The same connections as one sort of the whole gradient, for every k, tile height and with ties.
  @Test(
    arguments: [(rows: 7, columns: 9, active: 20), (1, 40, 3), (40, 1, 3), (5, 5, 25), (6, 500, 300)], [false, true])
  func equalsOneSort(size: (rows: Int, columns: Int, active: Int), integers: Bool) throws {
    var random = LayerRandom(seed: 31)
    let meter = AllocationMeter()
    let cells = size.rows * size.columns
    for k in [0, 1, 2, size.active, 3 * size.active, cells - size.active, cells] {
      let layer = OracleLayer(rows: size.rows, columns: size.columns, count: size.active, using: &random)
      let structure = try SparseStructure(
        rows: size.rows, columns: size.columns, connections: layer.connections, meter: meter)
      let matrix = SparseMatrix(name: "layer", structure: structure, meter: meter)
      let gradient =
        integers ? (0..<cells).map { _ in Float(Int.random(in: -2...2, using: &random)) } : random.floats(cells)
      let expected = layer.inactiveCells.enumerated()
        .sorted { (-gradient[$0.element].magnitude, $0.offset) < (-gradient[$1.element].magnitude, $1.offset) }
        .prefix(k).map(\.element).sorted()
      for height in [1, 3, size.rows] {
        let topK = StreamedTopK(k, of: matrix)
        for first in stride(from: 0, to: size.rows, by: height) {
          let rows = first..<min(size.rows, first + height)
          gradient.withUnsafeBufferPointer { gradient in
            let part = UnsafeBufferPointer(
              rebasing: gradient[rows.lowerBound * size.columns..<rows.upperBound * size.columns])
            topK.add(GradientTile(rows: rows, columns: size.columns, gradients: part))
          }
        }
        let (found, gradients) = topK.finish()
        try found.check(name: "found")
        let foundCells = (0..<size.rows).flatMap { row in
          found.positions(ofRow: row).map { row * size.columns + Int(found.columnIndices[$0]) }
        }
        #expect(foundCells == expected)
        #expect(gradients.array == expected.map { gradient[$0] })
        #expect(topK.activeGradients.array == layer.cells.map { gradient[$0] })
      }
    }
    try meter.check()
  }

  /// What is larger than the k-th largest by one unit in the last place counts, what is smaller by one does not, and of what is equal
  /// the first: also once the buffer has been compacted.
  @Test(arguments: [1, Float(0.1), Float(sign: .minus, exponent: -128, significand: 1), 1e30])
  func tellsNeighbouringNumbersApart(value: Float) throws {
    let (rows, columns) = (6, 600)
    var random = LayerRandom(seed: 33)
    let layer = OracleLayer(rows: rows, columns: columns, count: 200, using: &random)
    let inactive = layer.inactiveCells
    func neighbour(_ steps: Int32) -> Float { Float(bitPattern: UInt32(Int64(value.bitPattern) + Int64(steps))) }
    for (k, place) in [(1, 3000), (2, 1500), (5, 1100)] {
      var gradient = [Float](repeating: neighbour(-1), count: rows * columns)
      for cell in inactive[20..<1040] { gradient[cell] = value }
      // The k-th largest is `value` when these pass.
      gradient[inactive[place]] = neighbour(1)
      gradient[inactive[place + 7]] = neighbour(-1)
      let expected = Array(inactive[20..<20 + k - 1]) + [inactive[place]]
      let meter = AllocationMeter()
      let structure = try SparseStructure(rows: rows, columns: columns, connections: layer.connections, meter: meter)
      let topK = StreamedTopK(k, of: SparseMatrix(name: "layer", structure: structure, meter: meter))
      gradient.withUnsafeBufferPointer {
        topK.add(GradientTile(rows: 0..<rows, columns: columns, gradients: $0))
      }
      let (found, gradients) = topK.finish()
      #expect(found.cells == expected)
      #expect(gradients.array.map(\.bitPattern) == expected.map { gradient[$0].bitPattern })
    }
  }

  /// Many times more entries than the buffer holds, in the order that fills it most often.
  @Test func aRisingStreamIsCompactedAgainAndAgain() throws {
    let (rows, columns) = (300, 400)
    var random = LayerRandom(seed: 32)
    let meter = AllocationMeter()
    let layer = OracleLayer(rows: rows, columns: columns, count: 900, using: &random)
    let structure = try SparseStructure(rows: rows, columns: columns, connections: layer.connections, meter: meter)
    let topK = StreamedTopK(700, of: SparseMatrix(name: "layer", structure: structure, meter: meter))
    let gradient = (0..<rows * columns).map { Float($0 + 1) * ($0 % 2 == 0 ? -1 : 1) }
    for row in 0..<rows {
      gradient.withUnsafeBufferPointer {
        topK.add(
          GradientTile(
            rows: row..<row + 1, columns: columns,
            gradients: UnsafeBufferPointer(rebasing: $0[row * columns..<(row + 1) * columns])))
      }
    }
    let gradients = topK.finish().gradients.array
    #expect(gradients == layer.inactiveCells.suffix(700).map { gradient[$0] })
    try meter.check()
  }
}

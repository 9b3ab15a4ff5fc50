import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct InitialGraphTests {
  private static let sizes = [
    (rows: 1, columns: 1, count: 1), (1, 9, 4), (9, 1, 4), (10, 20, 60), (20, 10, 60), (30, 40, 100), (7, 11, 77),
    (7, 11, 70), (50, 3, 10), (3, 50, 140), (8, 8, 0),
  ]

  private func graph(_ size: (rows: Int, columns: Int, count: Int), _ rewiring: Double, seed: UInt64 = 6) throws
    -> [Int]
  {
    let meter = AllocationMeter()
    let layer = SparseLayerShape(name: "layer", rows: size.rows, inChannels: size.columns)
    let structure = SparseStructure.initial(
      .smallWorld(rewiring: rewiring), layer, count: size.count, index: 3, random: CounterRandom(seed: seed),
      meter: meter)
    try structure.check(name: "layer")
    try meter.check()
    return structure.cells
  }

  /// How far an input is from an output on the rings, in inputs.
  private func distance(_ cell: Int, _ size: (rows: Int, columns: Int, count: Int)) -> Double {
    let place = (Double(cell / size.columns) + 0.5) * Double(size.columns) / Double(size.rows)
    let way = abs(Double(cell % size.columns) + 0.5 - place)
    return min(way, Double(size.columns) - way)
  }

  /// Without rewiring each output has its nearest inputs.
  @Test(arguments: sizes)
  func beginsAsARingLattice(size: (rows: Int, columns: Int, count: Int)) throws {
    let cells = try graph(size, 0)
    #expect(cells.count == size.count && Set(cells).count == size.count)
    for row in 0..<size.rows {
      let mine = cells.filter { $0 / size.columns == row }
      #expect(mine.count == (row + 1) * size.count / size.rows - row * size.count / size.rows)
      // Neighbours on the ring: the window may be off by less than an input.
      let farthest = mine.map { distance($0, size) }.max() ?? 0
      #expect(farthest <= Double(mine.count) / 2 + 1)
    }
  }

  /// Numbers, fan-ins and which are rewired, by a plain form of Watts and Strogatz' rule.
  @Test(arguments: sizes, [0.1, 0.5, 1])
  func rewiresAsThePlainRule(size: (rows: Int, columns: Int, count: Int), rewiring: Double) throws {
    let lattice = try graph(size, 0)
    let cells = try graph(size, rewiring)
    #expect(cells.count == size.count)
    let stream = CounterRandom(seed: 6).stream(.smallWorld, layer: 3)
    var position = 0
    for row in 0..<size.rows {
      // In the order of the ring, from the left end of the output's window.
      let count = (row + 1) * size.count / size.rows - row * size.count / size.rows
      let left = (2 * row + 1) * size.columns / (2 * size.rows) - count / 2
      var columns = (0..<count).map { (left + $0 + size.columns) % size.columns }
      #expect(columns.sorted() == lattice.filter { $0 / size.columns == row }.map { $0 % size.columns })
      for place in columns.indices {
        let first = UInt64(position) * 256
        position += 1
        guard count < size.columns, Double(stream.bits(first) >> 11) / 0x1p53 < rewiring else { continue }
        let drawn = (1...32).lazy.map { Int(stream.below(UInt64(size.columns), at: first + UInt64($0))) }
        let free = (0..<size.columns).filter { !columns.contains($0) }
        columns[place] =
          drawn.first { !columns.contains($0) } ?? free[Int(stream.below(UInt64(free.count), at: first + 33))]
      }
      #expect(columns.sorted() == cells.filter { $0 / size.columns == row }.map { $0 % size.columns })
    }
  }

  /// The number of connections that leave the lattice is binomial, but for those that land where others left.
  @Test(arguments: [0.1, 0.3])
  func rewiresWithItsProbability(rewiring: Double) throws {
    let size = (rows: 300, columns: 1000, count: 6000)
    let lattice = Set(try graph(size, 0))
    let moved = try graph(size, rewiring).filter { !lattice.contains($0) }
    // A new input is one of 980 that the output lacks, some of which others of its lattice have left: at most 20 * rewiring.
    let mean = rewiring * 6000
    let deviation = (6000 * rewiring * (1 - rewiring)).squareRoot()
    #expect(abs(Double(moved.count) - mean) < 4 * deviation + mean * 20 * rewiring / 980)
    // New inputs are uniform: over ten equal parts of the ring as seen from the output.
    var parts = [Int](repeating: 0, count: 10)
    for cell in moved {
      let centre = (2 * (cell / 1000) + 1) * 1000 / 600
      parts[(cell % 1000 - centre + 1500) % 1000 / 100] += 1
    }
    // The lattice takes 20 of the 200 inputs of the two parts in the middle.
    let weights = (0..<10).map { $0 == 4 || $0 == 5 ? 90.0 : 100.0 }
    let statistic = zip(parts, weights).reduce(0) { sum, part in
      let expected = Double(moved.count) * part.1 / 980
      return sum + (Double(part.0) - expected) * (Double(part.0) - expected) / expected
    }
    #expect(statistic < 27.9)  // chi-squared with 9 degrees of freedom: above it once in 1,000
  }

  @Test func theRandomGraphIsAsEver() throws {
    let meter = AllocationMeter()
    let layer = SparseLayerShape(name: "layer", rows: 12, inChannels: 15)
    let random = CounterRandom(seed: 9)
    let graph = SparseStructure.initial(.random, layer, count: 33, index: 2, random: random, meter: meter)
    let same = SparseStructure.random(layer, count: 33, stream: random.stream(.topology, layer: 2), meter: meter)
    #expect(graph.cells == same.cells && graph.count == 33)
  }
}

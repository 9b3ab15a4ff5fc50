import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct InvariantTests {
  static let sizes = [(rows: 6, columns: 8, count: 20), (1, 12, 3), (12, 1, 5), (5, 5, 25), (4, 9, 1), (10, 10, 51)]

  private func run(_ updater: some TopologyUpdater, scope: SelectionScope, seed: UInt64) throws {
    let meter = AllocationMeter()
    var random = LayerRandom(seed: seed)
    let layers = try makeLayers(Self.sizes, meter: meter, random: &random)
    let counts = layers.map(\.count)
    var trackers = layers.map { ExplorationTracker($0.matrix) }
    var explored = layers.map { Set($0.matrix.structure.cells) }
    for step in 1...1000 {
      let streams = CounterRandom(seed: seed)
      let offered = try layers.map { layer in
        let gradient = random.floats(layer.matrix.rows * layer.matrix.columns)
        return try updater.candidates(
          in: MadeUpProbe(weights: layer, gradient: gradient), step: step, random: streams)
      }
      let changes = try updater.changes(for: offered, step: step, random: streams)
      #expect(changes.count == layers.count)
      for (i, layer) in layers.enumerated() {
        let isAscending = zip(changes[i].prunedPositions, changes[i].prunedPositions.dropFirst())
          .allSatisfy { $0 < $1 }
        #expect(isAscending)
        try changes[i].grown.check(name: "grown")
        try trackers[i].add(changes[i].grown, to: layer.matrix)
        explored[i].formUnion(changes[i].grown.cells)
        try layer.apply(changes[i])
        try layer.matrix.structure.check(name: layer.name)
        #expect(trackers[i].count == explored[i].count)
        // Some weights move, most stay, so that ages and sizes mix.
        layer.withMutableValues { values in
          for j in values.indices where Bool.random(using: &random) {
            values[j] += Float.random(in: -0.5...0.5, using: &random)
          }
        }
      }
      switch scope {
      case .local: #expect(layers.map(\.count) == counts)
      case .global:
        #expect(layers.reduce(0) { $0 + $1.count } == counts.reduce(0, +))
        #expect(layers.allSatisfy { $0.count >= 1 })
      }
    }
    try meter.check()
  }

  @Test(arguments: SelectionScope.allCases, [0.2, 0.8])
  func gseKeepsThemOverAThousandUpdates(scope: SelectionScope, fraction: Double) throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: fraction)
    try run(GSE(schedule: schedule, scope: scope), scope: scope, seed: 91)
  }

  @Test(arguments: SelectionScope.allCases, [0.2, 0.8])
  func setKeepsThemOverAThousandUpdates(scope: SelectionScope, fraction: Double) throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: fraction)
    try run(SET(schedule: schedule, scope: scope), scope: scope, seed: 92)
  }
}

@Suite struct ExplorationTrackerTests {
  private let meter = AllocationMeter()

  private func matrix(rows: Int, columns: Int, cells: [Int]) throws -> SparseMatrix {
    let structure = try SparseStructure(
      rows: rows, columns: columns, connections: OracleLayer.connections(cells, columns: columns), meter: meter)
    return SparseMatrix(name: "layer", structure: structure, meter: meter)
  }

  @Test func countsTheUnion() throws {
    var random = LayerRandom(seed: 93)
    let start = (0..<120).shuffled(using: &random).prefix(20)
    let layer = try matrix(rows: 10, columns: 12, cells: Array(start))
    var tracker = ExplorationTracker(layer)
    var union = Set(start)
    #expect(tracker.count == 20)
    for _ in 0..<200 {
      let grown = (0..<120).shuffled(using: &random).prefix(Int.random(in: 0...3, using: &random))
      try tracker.add(matrix(rows: 10, columns: 12, cells: Array(grown)).structure, to: layer)
      union.formUnion(grown)
      #expect(tracker.count == union.count)
    }
    #expect(union.count > 100)
  }

  /// 200 x 200 with 400 connections: the rule allows a buffer 4 * (800 + 400) = 4,800 elements. Up to there it counts.
  @Test func givesUpRatherThanBreakTheRule() throws {
    let layer = try matrix(rows: 200, columns: 200, cells: Array(0..<400))
    var tracker = ExplorationTracker(layer)
    for step in 1...11 {
      try tracker.add(matrix(rows: 200, columns: 200, cells: Array(step * 400..<(step + 1) * 400)).structure, to: layer)
      #expect(tracker.count == (step + 1) * 400)
    }
    try tracker.add(matrix(rows: 200, columns: 200, cells: Array(0..<400)).structure, to: layer)
    #expect(tracker.count == 4800)
    let other = try matrix(rows: 200, columns: 200, cells: [399, 4800]).structure
    try meter.check()
    try tracker.add(other, to: layer)
    #expect(tracker.count == nil)
    try tracker.add(other, to: layer)
    #expect(tracker.count == nil)
    try meter.check()
  }
}

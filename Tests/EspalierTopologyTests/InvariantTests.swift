import EspalierCore
import EspalierTopology
import TestSupport
import Testing

@Suite struct InvariantTests {
  static let sizes = [(rows: 6, columns: 8, count: 20), (1, 12, 3), (12, 1, 5), (5, 5, 25), (4, 9, 1), (10, 10, 51)]

  private func run(_ updater: some TopologyUpdater, isLocal: Bool, seed: UInt64) throws {
    var updater = updater
    let meter = AllocationMeter()
    var random = LayerRandom(seed: seed)
    let layers = try makeLayers(Self.sizes, meter: meter, random: &random)
    let counts = layers.map(\.count)
    let total = counts.reduce(0, +)
    var trackers = layers.map { ExplorationTracker($0.matrix) }
    var explored = layers.map { Set($0.matrix.structure.cells) }
    var moved = 0
    for step in 1...1000 {
      let streams = CounterRandom(seed: seed)
      let active = layers.reduce(0) { $0 + $1.count }
      let offered = try layers.map { layer in
        var probe = MadeUpProbe(weights: layer, gradient: random.floats(layer.matrix.rows * layer.matrix.columns))
        probe.connections = active
        probe.sums = (
          random.floats(layer.matrix.columns).map(Double.init), random.floats(layer.matrix.rows).map(Double.init)
        )
        return try updater.candidates(in: probe, step: step, random: streams)
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
        moved += changes[i].grownCount
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
      let expected = updater.connections(afterStep: step, startingWith: total)
      #expect(layers.reduce(0) { $0 + $1.count } == expected)
      #expect(layers.allSatisfy { $0.count >= 1 })
      if isLocal { #expect(layers.map(\.count) == counts) }
    }
    #expect(moved > 1000)
    try meter.check()
  }

  @Test(arguments: SelectionScope.allCases, [0.2, 0.8])
  func gseAndSETKeepThemOverAThousandUpdates(scope: SelectionScope, fraction: Double) throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: fraction)
    try run(GSE(schedule: schedule, scope: scope), isLocal: scope == .local, seed: 91)
    try run(SET(schedule: schedule, scope: scope), isLocal: scope == .local, seed: 92)
  }

  @Test(arguments: [Guide.grabo, .graest], [GSE.SubsetSize.drawn, .exact])
  func guidedGSEKeepsThem(guide: Guide, size: GSE.SubsetSize) throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: 0.3)
    try run(GSE(schedule: schedule, guide: guide, subsetSize: size), isLocal: true, seed: 93)
  }

  @Test(arguments: SelectionScope.allCases)
  func rigLKeepsThem(scope: SelectionScope) throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: 0.5, finalFraction: 0.05)
    try run(RigL(schedule: schedule, scope: scope), isLocal: scope == .local, seed: 94)
  }

  @Test func rivalsKeepThem() throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: 0.3)
    try run(SET(schedule: schedule, rule: .original), isLocal: true, seed: 95)
    try run(MEST(schedule: schedule), isLocal: true, seed: 96)
    try run(DSR(schedule: schedule, threshold: 0.1), isLocal: false, seed: 97)
    try run(SNFS(schedule: schedule), isLocal: false, seed: 98)
  }

  /// 105 connections fall to 40, at each update to the number that the cubic schedule gives.
  @Test func graNetFollowsItsOwnBudget() throws {
    let schedule = UpdateSchedule(interval: 1, end: 1001, fraction: 0.5)
    let updater = try GraNet(schedule: schedule, startConnections: 105, finalConnections: 40)
    #expect(updater.connections(afterStep: 0, startingWith: 105) == 105)
    #expect(updater.connections(afterStep: 500, startingWith: 105) == 40 + 8)  // 65 / 8
    #expect(updater.connections(afterStep: 1000, startingWith: 105) == 40)
    try run(updater, isLocal: false, seed: 99)
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

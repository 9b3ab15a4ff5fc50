import EspalierCore
import EspalierTopology
import TestSupport
import Testing

/// Keeps what it is asked for.
private struct AskedProbe: LayerProbe {
  final class Asked { var cells: [Int] = [] }

  let inner: MadeUpProbe
  let asked = Asked()
  var weights: SparseParameter { inner.weights }
  var networkConnections: Int { inner.networkConnections }

  func gradients(at connections: SparseStructure) -> MeteredBuffer<Float> {
    asked.cells += connections.cells
    return inner.gradients(at: connections)
  }

  func activity(_ measure: ActivityMeasure) -> LayerActivity { inner.activity(measure) }
  func forEachGradientTile(_ body: (GradientTile) throws -> Void) rethrows { try inner.forEachGradientTile(body) }
}

@Suite struct GradientAuditTests {
  /// 1 + how many are smaller + half of how many others are equal.
  private func ranks(_ numbers: [Double]) -> [Double] {
    numbers.map { number in
      1 + Double(numbers.count { $0 < number }) + Double(numbers.count { $0 == number } - 1) / 2
    }
  }

  private func correlation(_ a: [Double], _ b: [Double]) -> Double {
    let (x, y) = (ranks(a), ranks(b))
    let mean = Double(a.count + 1) / 2
    func product(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + ($1.0 - mean) * ($1.1 - mean) } }
    return product(x, y) / (product(x, x) * product(y, y)).squareRoot()
  }

  /// Random rows of a layer, some of whose numbers are equal.
  @Test(arguments: [1, 3, 9, 50], [Guide.uniform, .grabo, .graest])
  func matchesAPlainCount(rows: Int, guide: Guide) throws {
    var random = LayerRandom(seed: 31)
    let meter = AllocationMeter()
    var chosen: Set<Set<Int>> = []
    for step in 1...12 {
      let layer = try makeLayers([(9, 14, 40)], meter: meter, random: &random)[0]
      let gradient = (0..<9 * 14).map { _ in Float(Int.random(in: -20...20, using: &random)) }
      var made = MadeUpProbe(weights: layer, gradient: gradient)
      made.sums = (
        (0..<14).map { _ in Double(Int.random(in: 0...5, using: &random)) },
        (0..<9).map { _ in Double(Int.random(in: -5...5, using: &random)) }
      )
      let probe = AskedProbe(inner: made)
      let audit = GradientAudit(rows: rows, of: probe, guide: guide, step: step, random: CounterRandom(seed: 4))
      let cells = probe.asked.cells
      let active = Set(layer.matrix.structure.cells)
      let looked = Set(cells.map { $0 / 14 })
      #expect(Set(cells) == Set((0..<126).filter { looked.contains($0 / 14) }).subtracting(active))
      chosen.insert(looked)

      let inactive = (0..<126).filter { !active.contains($0) }
      let grown = inactive.shuffled(using: &random).prefix(Int.random(in: 0...30, using: &random)).sorted()
      let structure = try SparseStructure(
        rows: 9, columns: 14, connections: OracleLayer.connections(grown, columns: 14), meter: meter)
      let result = audit.result(grown: structure)
      #expect(result.rows == min(rows, 9) && result.rows >= looked.count)
      if grown.isEmpty {
        #expect(result.recall == nil)
      } else {
        let share = Double(grown.count * cells.count) / Double(inactive.count)
        let count = min(cells.count, max(1, Int(share.rounded())))
        let largest = cells.sorted { (-abs(gradient[$0]), $0) < (-abs(gradient[$1]), $1) }.prefix(count)
        #expect(result.recall == Double(Set(largest).intersection(grown).count) / Double(count))
      }
      guard guide != .uniform, let sums = made.sums else {
        #expect(result.rankCorrelation == nil)
        continue
      }
      let products = cells.map { abs(sums.outputs[$0 / 14] * sums.inputs[$0 % 14]) }
      let expected = correlation(products, cells.map { Double(abs(gradient[$0])) })
      if expected.isFinite {
        #expect(abs((result.rankCorrelation ?? .nan) - expected) < 1e-12)
      } else {
        #expect(result.rankCorrelation == nil)
      }
    }
    #expect(chosen.count == (rows >= 9 ? 1 : chosen.count) && (rows >= 9 || chosen.count > 3))
    try meter.check()
  }

  /// Where the guide's products order connections as the gradient does, the correlation is 1; in reverse, -1; all that grew is found again.
  @Test func extremes() throws {
    var random = LayerRandom(seed: 32)
    let meter = AllocationMeter()
    let layer = try makeLayers([(6, 8, 10)], meter: meter, random: &random)[0]
    for sign in [1.0, -1.0] {
      let inputs = (1...8).map { 1.5 * Double($0) }
      let gradient = (0..<48).map { Float(sign > 0 ? inputs[$0 % 8] : 100 - inputs[$0 % 8]) }
      var probe = MadeUpProbe(weights: layer, gradient: gradient)
      probe.sums = (inputs, [Double](repeating: 2, count: 6))
      let audit = GradientAudit(rows: 6, of: probe, guide: .grabo, step: 1, random: CounterRandom(seed: 4))
      let largest = (0..<48).filter { cell in !layer.matrix.structure.cells.contains(cell) }
        .sorted { (-gradient[$0], $0) < (-gradient[$1], $1) }.prefix(7).sorted()
      let result = audit.result(
        grown: try SparseStructure(
          rows: 6, columns: 8, connections: OracleLayer.connections(largest, columns: 8), meter: meter))
      #expect(result.recall == 1)
      #expect(abs((result.rankCorrelation ?? 0) - sign) < 1e-12)
    }
  }

  /// As many rows as one buffer may have: a layer of 300 x 5,000 with 100 connections may have 4 * (200 + 5,300) numbers.
  @Test func looksAtNoMoreThanTheRuleAllows() throws {
    var random = LayerRandom(seed: 33)
    let meter = AllocationMeter()
    let layer = try makeLayers([(300, 5000, 100)], meter: meter, random: &random)[0]
    let probe = MadeUpProbe(weights: layer, gradient: [Float](repeating: 1, count: 300 * 5000))
    let audit = GradientAudit(rows: 300, of: probe, guide: .uniform, step: 1, random: CounterRandom(seed: 4))
    let none = SparseStructure.empty(
      rows: 300, columns: 5000, tag: .candidates, site: layer.matrix.site, meter: meter)
    #expect(audit.result(grown: none).rows == 4)
    try meter.check()
  }
}

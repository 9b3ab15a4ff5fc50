import Espalier

extension ScalingPlan {
  /// One self-contained HTML file: speed-up over ranks for a whole batch and for a batch a rank, and where the time of a step goes.
  public func page(title: String, note: String) -> String {
    let names = ["sparse", "dense", "as many times as ranks"]
    let seconds = ["sparse", "dense", "sparse, messages alone", "dense, messages alone"]
    let body = """
      <p class="note">\(note.escaped)</p>
      <h2>Speed-up over one rank</h2>
      \(Page.legend(names))<div class="charts">
      \(chart("Whole batch of \(batchSize)", speedUps(strong), strong).html)\
      \(chart("\(batchSize) samples on each rank", speedUps(weak), weak).html)</div>
      <h2>Milliseconds a step</h2>
      \(Page.legend(seconds))<div class="charts">
      \(LineChart(title: "Whole batch of \(batchSize)", xLabel: Self.axis, series: milliseconds(strong), scale: .logarithmic).html)\
      \(LineChart(title: "\(batchSize) samples on each rank", xLabel: Self.axis, series: milliseconds(weak), scale: .logarithmic).html)</div>

      """
    return Page.html(title: title, body: body)
  }

  private static let axis = "ranks"

  /// Samples a second, in proportion to one rank's.
  package func speedUps(_ row: Row) -> (sparse: Double, dense: Double) {
    let single = single
    let samples = Double(row.batchSize) / Double(single.batchSize)
    return (samples * single.sparse.seconds / row.sparse.seconds, samples * single.dense.seconds / row.dense.seconds)
  }

  private typealias Points = [(x: Double, y: Double)]

  private func speedUps(_ rows: [Row]) -> (sparse: Points, dense: Points) {
    let values = rows.map { (Double($0.ranks), speedUps($0)) }
    return (values.map { ($0, $1.sparse) }, values.map { ($0, $1.dense) })
  }

  private func chart(_ title: String, _ points: (sparse: Points, dense: Points), _ rows: [Row]) -> LineChart {
    LineChart(
      title: title, xLabel: Self.axis,
      series: [
        .init(name: "sparse", color: 0, points: points.sparse), .init(name: "dense", color: 1, points: points.dense),
        .init(name: "ranks", color: 2, points: rows.map { (Double($0.ranks), Double($0.ranks)) }, isFaint: true),
      ], scale: .logarithmic)
  }

  private func milliseconds(_ rows: [Row]) -> [LineChart.Series] {
    func series(_ name: String, _ color: Int, _ seconds: (Row) -> Double) -> LineChart.Series {
      // One rank sends nothing, for which a logarithmic axis has no place.
      let points = rows.map { (x: Double($0.ranks), y: 1000 * seconds($0)) }.filter { $0.y > 0 }
      return .init(name: name, color: color, points: points)
    }
    return [
      series("sparse", 0) { $0.sparse.seconds }, series("dense", 1) { $0.dense.seconds },
      series("sparse, messages", 2) { $0.sparse.messageSeconds },
      series("dense, messages", 3) { $0.dense.messageSeconds },
    ]
  }
}

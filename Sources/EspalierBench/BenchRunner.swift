import Espalier

/// Checks and times a list of cases.
public struct BenchRunner {
  /// What is checked and timed, in this order.
  public let cases: [KernelCase]
  /// Linear layers whose forward product is timed without a dense one beside it.
  public let wideLayers: [LayerCase]
  /// Numbers of threads, each of which times every case.
  public let threads: [Int]
  /// How long to measure.
  public let budget: MeasurementBudget

  /// A runner of these cases; nothing is measured yet.
  public init(cases: [KernelCase], wideLayers: [LayerCase] = [], threads: [Int], budget: MeasurementBudget) {
    self.cases = cases
    self.wideLayers = wideLayers
    self.threads = threads
    self.budget = budget
  }

  /// The cases of CaseCatalog.
  ///
  /// - Parameter kernels: those to measure; all of them where nil.
  public init(
    kernels: [BenchKernel]?, quick: Bool, threads: [Int], budget: MeasurementBudget? = nil
  ) throws {
    let cases = try CaseCatalog.cases(quick: quick).filter { kernels?.contains($0.kernel) ?? true }
    let withWide = !quick && (kernels?.contains(.forward) ?? true)
    self.init(
      cases: cases, wideLayers: withWide ? CaseCatalog.wideLayers : [], threads: threads,
      budget: budget ?? (quick ? .quick : .full))
  }

  /// Runs every case, layer by layer, and reports in the order of `cases`.
  ///
  /// - Parameter progress: told before each layer: its number, how many there are, its name.
  /// - Throws: `EspalierError.invariant` where a kernel computes a wrong result.
  public func run(progress: (Int, Int, String) -> Void = { _, _, _ in }) throws -> BenchReport {
    var report = BenchReport()
    var measured: [(place: Int, kernelCase: KernelCase, context: ComputeContext, sparse: Samples, dense: Samples)] = []
    var sgemm: [Int: [Double]] = [:]
    let layers = distinctLayers
    let total = (layers.count + wideLayers.count) * threads.count
    var done = 0
    for (turn, threads) in threads.enumerated() {
      for (number, layer) in layers.enumerated() {
        done += 1
        progress(done, total, "\(layer.name), \(layer.connections) connections, threads: \(threads)")
        if number % 8 == 0 || number == layers.count - 1 {  // spread over the run, as the rows are
          sgemm[threads, default: []].append(DenseSpeed.sgemm(threads: threads))
        }
        let context = try ComputeContext(threads: threads)
        let fixture = try LayerFixture(layer, context: context)
        for (place, kernelCase) in cases.enumerated() where kernelCase.layer == layer {
          let run = KernelRun(kernelCase, fixture: fixture)
          try run.check()
          let (sparse, dense) = try run.measure(budget)
          guard let dense else { continue }
          measured.append((turn * cases.count + place, kernelCase, context, sparse, dense))
        }
      }
      for layer in wideLayers {
        done += 1
        progress(done, total, "\(layer.name), threads: \(threads)")
        report.wide.append(try measureWide(layer, threads: threads))
      }
    }
    if sgemm[1] == nil { sgemm[1] = [DenseSpeed.sgemm(threads: 1)] }
    report.sgemmGflopsByThreads = sgemm.mapValues { Samples($0).median }
    for item in measured.sorted(by: { $0.place < $1.place }) {
      let row = BenchReport.Row(
        item.kernelCase, context: item.context, sparse: item.sparse, dense: item.dense,
        sgemm: report.sgemmGflopsByThreads[item.context.threads] ?? .nan)
      if row.kernel.products.count == 1 { report.rows.append(row) } else { report.backward.append(row) }
    }
    report.crossovers = BenchReport.Crossover.find(in: report.rows + report.backward)
    return report
  }

  private var distinctLayers: [LayerCase] {
    var seen: Set<LayerCase> = []
    return cases.map(\.layer).filter { seen.insert($0).inserted }
  }

  private func measureWide(_ layer: LayerCase, threads: Int) throws -> BenchReport.WideRow {
    let context = try ComputeContext(threads: threads)
    let run = try KernelRun(KernelCase(.forward, layer), context: context)
    try run.check(againstDense: false)
    let (sparse, _) = try run.measure(budget, withDense: false)
    return BenchReport.WideRow(
      units: layer.outputs, nnz: layer.connections, batch: layer.batch, threads: threads, ms: 1000 * sparse.median,
      nanosecondsPerConnection: 1e9 * sparse.median / Double(layer.connections))
  }
}

extension BenchReport {
  /// OpenBLAS's speed on 2048 x 2048 x 128 with one thread.
  public var sgemmGflops: Double { sgemmGflopsByThreads[1] ?? .nan }
}

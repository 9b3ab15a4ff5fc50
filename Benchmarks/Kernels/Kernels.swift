import Benchmark
import Espalier
import EspalierBench

/// The cases of `espalier bench`, under their layers' names: `vgg16-small.features.3 conv-forward`.
///
/// A new case is a line in EspalierBench's CaseCatalog. ESPALIER_ISA forces an instruction set.
let benchmarks: @Sendable () -> Void = {
  Benchmark.defaultConfiguration = .init(
    metrics: [.wallClock, .throughput], warmupIterations: 1, maxDuration: .milliseconds(500), maxIterations: 200)
  let cases = (try? CaseCatalog.cases(quick: false)) ?? []
  for kernelCase in cases {
    let layer = kernelCase.layer
    let isConvolution = layer.geometry != nil
    let name = isConvolution ? kernelCase.name : "\(layer.name)@\(layer.sparsity) \(kernelCase.kernel.rawValue)"
    let title = isConvolution && layer.batch == 32 ? "\(name) nnz \(layer.connections)" : name
    let measure: (Benchmark, KernelRun) throws -> Void = { benchmark, run in
      let product = try run.sparse()
      benchmark.startMeasurement()
      try product()
      benchmark.stopMeasurement()
    }
    Benchmark(title, closure: measure) {
      let run = try KernelRun(kernelCase, context: ComputeContext(threads: 1))
      try run.check()
      return run
    }
  }
}

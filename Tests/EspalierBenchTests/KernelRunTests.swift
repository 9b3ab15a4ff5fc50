import Espalier
import EspalierBench
import Testing

/// Layers with everything that makes kernels differ: strides, padding, kernels of other sizes, batches that leave lanes over.
private let layers: [LayerCase] = [
  LayerCase(name: "linear", outputs: 37, inputs: 65, batch: 128, connections: 400),
  LayerCase(name: "odd batch", outputs: 19, inputs: 23, batch: 37, connections: 60),
  LayerCase(name: "one connection", outputs: 5, inputs: 7, batch: 1, connections: 1),
  LayerCase(
    name: "conv", outputs: 9, inputs: 5, geometry: ConvolutionGeometry(kernel: 3, padding: 1), height: 7, width: 9,
    batch: 33, connections: 80),
  LayerCase(
    name: "strided", outputs: 6, inputs: 4, geometry: ConvolutionGeometry(kernel: 3, stride: 2, padding: 1), height: 5,
    width: 5, batch: 8, connections: 50),
  LayerCase(
    name: "pointwise", outputs: 12, inputs: 10, geometry: ConvolutionGeometry(kernel: 1), height: 4, width: 4,
    batch: 32,
    connections: 31),
  LayerCase(
    name: "stem", outputs: 4, inputs: 3, geometry: ConvolutionGeometry(kernel: 7, stride: 2, padding: 3), height: 6,
    width: 6, batch: 8, connections: 200),
]

private let cases = layers.flatMap { layer in
  BenchKernel.all(isConvolution: layer.geometry != nil).map { KernelCase($0, layer) }
}

@Suite struct KernelRunTests {
  @Test(arguments: cases, [1, 3])
  func rightResultsPass(_ kernelCase: KernelCase, threads: Int) throws {
    try KernelRun(kernelCase, context: ComputeContext(threads: threads)).check()
  }

  @Test(arguments: cases)
  func wrongResultsAreFound(_ kernelCase: KernelCase) throws {
    let run = try KernelRun(kernelCase, context: ComputeContext(threads: 1))
    let tamperings: [(UnsafeMutableBufferPointer<Float>) -> Void] = [
      { $0.update(repeating: 0) },
      { $0.update(repeating: .nan) },
      { output in for i in output.indices { output[i] *= 1.001 } },
    ]
    for tampering in tamperings {
      let error = #expect(throws: EspalierError.self) { try run.check(againstDense: true, tampering: tampering) }
      #expect(error?.kind == .invariant)
      #expect(error?.message.contains(kernelCase.name) == true, "\(error?.message ?? "")")
    }
  }

  /// One wrong number that no sample happens to be is found in the comparison with the whole dense product.
  @Test(arguments: cases.filter { $0.layer.connections > 40 })
  func oneWrongNumberIsFound(_ kernelCase: KernelCase) throws {
    let run = try KernelRun(kernelCase, context: ComputeContext(threads: 1))
    #expect(throws: EspalierError.self) {
      try run.check(againstDense: true) { output in
        let victim = output.indices.max { abs(output[$0]) < abs(output[$1]) } ?? 0
        output[victim] *= 1.25
      }
    }
  }

  /// The definition in Double finds what is wrong without any dense product.
  @Test func theOracleStandsAlone() throws {
    for kernelCase in cases {
      let run = try KernelRun(kernelCase, context: ComputeContext(threads: 1))
      try run.check(againstDense: false) { _ in }
      #expect(throws: EspalierError.self) {
        try run.check(againstDense: false) { output in for i in output.indices { output[i] += 1 } }
      }
    }
  }
}

@Suite struct BenchRunnerTests {
  @Test func rowsComeInOrderWithTheirNumbers() throws {
    let runner = BenchRunner(
      cases: cases, wideLayers: [LayerCase(name: "wide", outputs: 500, inputs: 500, batch: 32, connections: 4000)],
      threads: [1, 2], budget: .single)
    var told: [String] = []
    let report = try runner.run { told.append("\($0)/\($1) \($2)") }
    #expect(told.count == 2 * (layers.count + 1))
    let both: [BenchKernel] = [.backward, .convBackward]
    let single = cases.filter { !both.contains($0.kernel) }, double = cases.filter { both.contains($0.kernel) }
    #expect(report.rows.map { "\($0.name) \($0.kernel.rawValue)" } == (single + single).map(\.name))
    #expect(report.backward.map { "\($0.name) \($0.kernel.rawValue)" } == (double + double).map(\.name))
    #expect(report.rows.map(\.threads) == single.map { _ in 1 } + single.map { _ in 2 })
    for (row, kernelCase) in zip(report.rows + report.backward, single + single + double + double) {
      let layer = kernelCase.layer
      #expect(row.repetitions == 1 && row.ms > 0 && row.denseMs > 0)
      #expect(row.variant == (try InstructionSet.selected().name))
      #expect(
        (row.outputs, row.inputs, row.height, row.width) == (layer.outputs, layer.inputs, layer.height, layer.width))
      let products = both.contains(row.kernel) ? 2 : 1
      let operations = 2 * Double(products * layer.connections * layer.height * layer.width * layer.batch)
      #expect(abs(row.gflops * row.ms * 1e6 - operations) <= 1e-9 * operations)
      #expect(abs(row.speedup * row.ms - row.denseMs) <= 1e-9 * row.denseMs)
    }
    #expect(Set(report.sgemmGflopsByThreads.keys) == [1, 2] && report.sgemmGflops > 0)
    #expect(report.wide.map(\.threads) == [1, 2] && report.wide.allSatisfy { $0.nnz == 4000 })
    #expect(report.crossovers.isEmpty)
  }

  @Test func crossoversAreInterpolated() throws {
    let layers = CaseCatalog.linearLayers(units: [64], sparsities: [0.5, 0.9])
    let runner = BenchRunner(
      cases: layers.flatMap { layer in BenchKernel.all(isConvolution: false).map { KernelCase($0, layer) } },
      threads: [1], budget: .single)
    let found = try #require(try runner.run().crossovers.first)
    #expect(found.units == 64 && found.batch == 128 && found.threads == 1)
    #expect((0.5...0.9).contains(found.sparsity))
    typealias Crossover = BenchReport.Crossover
    let between = try #require(Crossover.cross([(0.5, 2), (0.8, 1.5), (0.9, 0.5)]))
    #expect(abs(between.0 - 0.85) < 1e-12 && between.1 == .between)
    #expect(Crossover.cross([(0.5, 0.9), (0.8, 0.5)]).map { $0.1 } == .below)
    #expect(Crossover.cross([(0.5, 4), (0.8, 2)]).map { $0.1 } == .above)
    // Where a time was disturbed, the last crossing counts.
    #expect(Crossover.cross([(0.5, 0.9), (0.8, 1.5), (0.9, 0.5)]).map { $0.1 } == .between)
  }
}

@Suite struct CaseCatalogTests {
  private func has(
    _ cases: [KernelCase], _ kernel: BenchKernel, _ inputs: Int, _ outputs: Int, height: Int = 1, batch: Int = 128,
    where condition: (LayerCase) -> Bool = { _ in true }
  ) -> Bool {
    cases.contains {
      $0.kernel == kernel && $0.layer.inputs == inputs && $0.layer.outputs == outputs && $0.layer.height == height
        && $0.layer.width == height && $0.layer.batch == batch && condition($0.layer)
    }
  }

  @Test func aFullRunHasEveryMandatoryRow() throws {
    let cases = try CaseCatalog.cases(quick: false)
    for kernel in BenchKernel.all(isConvolution: false) {
      for units in [1024, 2048, 4096] {
        for sparsity in [0.5, 0.8, 0.9, 0.95, 0.98, 0.99] {
          #expect(
            has(cases, kernel, units, units) {
              $0.connections == Int(((1 - sparsity) * Double(units * units)).rounded())
            })
        }
      }
    }
    let vgg =
      [(3, 16, 32), (16, 16, 32), (16, 32, 16), (32, 32, 16), (32, 64, 8), (64, 64, 8), (64, 128, 4)]
      + [(128, 128, 4), (128, 128, 2)]
    let resNet = [(3, 16, 32), (16, 16, 32), (16, 32, 16), (32, 32, 16), (32, 64, 8), (64, 64, 8)]
    for kernel in BenchKernel.all(isConvolution: true) {
      for (model, shapes) in [("vgg16-small", vgg), ("resnet56", resNet)] {
        for (inputs, outputs, size) in shapes {
          #expect(has(cases, kernel, inputs, outputs, height: size) { $0.name.hasPrefix(model) })
        }
        #expect(cases.count { $0.kernel == kernel && $0.layer.name.hasPrefix(model) } == shapes.count)
      }
      for (channels, size) in [(64, 56), (256, 14)] {
        for density in [0.06, 0.12] {
          #expect(
            has(cases, kernel, channels, channels, height: size, batch: 32) {
              $0.connections == Int((density * Double(channels * channels * 9)).rounded())
            })
        }
      }
    }
    #expect(cases.count == 4 * 18 + 4 * (9 + 6 + 4))
    #expect(CaseCatalog.wideLayers.map(\.outputs) == [4096, 65_536, 1_048_576])
    #expect(CaseCatalog.wideLayers.allSatisfy { $0.connections == 8 * $0.outputs && $0.batch == 32 })
  }

  @Test func aQuickRunCoversEveryKernel() throws {
    let all = Set(try CaseCatalog.cases(quick: false))
    let quick = try CaseCatalog.cases(quick: true)
    #expect(Set(quick.map(\.kernel)) == Set(BenchKernel.allCases))
    #expect(all.isSuperset(of: quick) && quick.count < all.count)
  }

  /// Erdos-Renyi by hand: density of a layer is k (rows + columns) / (rows * columns), at most 1.
  @Test func modelsHaveTheirErdosRenyiDensities() throws {
    let layers = try CaseCatalog.modelConvolutions()
    let last = try #require(layers.first { $0.name == "resnet56.layer3.0.conv2" })
    let first = try #require(layers.first { $0.name == "resnet56.layer1.0.conv1" })
    #expect(last.size == 36_864 && first.size == 2304)
    let expected = (16.0 + 144) / (64 + 576)
    #expect(abs(Double(first.connections) / Double(last.connections) - expected) < 0.01)
    #expect(layers.allSatisfy { $0.connections <= $0.size && $0.connections > 0 })
  }

  @Test func unknownKernelsAreRefusedWithASuggestion() {
    let error = #expect(throws: EspalierError.self) { try BenchKernel.list("forward,conv-forwrd") }
    #expect(error?.kind == .usage)
    #expect(error?.message.contains("'conv-forwrd' is unknown; did you mean 'conv-forward'?") == true)
    #expect(throws: EspalierError.self) { try BenchKernel.list("") }
  }
}

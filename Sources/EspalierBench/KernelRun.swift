import Espalier

/// One kernel made ready to run: checked first, then timed.
public final class KernelRun {
  /// What runs.
  public let kernelCase: KernelCase
  private let fixture: LayerFixture
  private var products: [BenchKernel.Product] { kernelCase.kernel.products }

  /// Draws random weights and activations, from a fixed seed.
  ///
  /// - Throws: `EspalierError.usage` where the kernel cannot take the sizes.
  public convenience init(_ kernelCase: KernelCase, context: ComputeContext) throws {
    self.init(kernelCase, fixture: try LayerFixture(kernelCase.layer, context: context))
  }

  init(_ kernelCase: KernelCase, fixture: LayerFixture) {
    self.kernelCase = kernelCase
    self.fixture = fixture
  }

  /// Does what is not to be timed; the closure that it returns runs the sparse kernel once, and may be called once.
  public func sparse() throws -> () throws -> Void {
    let run = try fixture.products(products)
    return { _ = try run() }
  }

  /// Runs OpenBLAS once on the same products with all weights.
  public func dense() { products.forEach(fixture.dense.run) }

  /// Compares sampled outputs with their definition in Double, and all of them with OpenBLAS's where `againstDense`.
  ///
  /// - Throws: `EspalierError.invariant` where one is off by more than rounding.
  public func check(againstDense: Bool = true) throws { try check(againstDense: againstDense) { _ in } }

  /// - Parameter tampering: changes the outputs before they are compared; how tests see that a wrong one is found.
  package func check(againstDense: Bool, tampering: (UnsafeMutableBufferPointer<Float>) -> Void) throws {
    let run = try fixture.products(products)
    products.forEach(fixture.spoilOutput)
    for (product, result) in zip(products, try run()) {
      tampering(result)
      try check(result, of: product, againstDense: againstDense)
    }
  }

  private func check(
    _ result: UnsafeMutableBufferPointer<Float>, of product: BenchKernel.Product, againstDense: Bool
  ) throws {
    for output in SampledOracle(fixture).outputs(of: product) {
      let found = Double(result[output.offset])
      guard abs(found - output.value) <= output.bound else {
        throw failure("output \(output.offset) is \(found), expected \(output.value)")
      }
    }
    guard againstDense else { return }
    fixture.dense.run(product)
    let (largest, scale) = fixture.dense.difference(from: result, product: product, fixture: fixture)
    guard largest <= tolerance(of: product) * scale || largest == 0 else {
      throw failure("an output is off by \(largest) from OpenBLAS's; they are of size \(scale)")
    }
  }

  /// Sums of n terms of random sign err by some sqrt(n) units in the last place of their typical size.
  private func tolerance(of product: BenchKernel.Product) -> Double {
    let layer = kernelCase.layer
    let terms =
      switch product {
      case .forward: layer.columns
      case .inputGradient: layer.outputs * layer.taps
      case .weightGradient: layer.batch * layer.positions
      }
    return 16 * Double(Float.ulpOfOne) * Double(terms).squareRoot()
  }

  private func failure(_ what: String) -> EspalierError {
    let layer = kernelCase.layer
    return .invariant(
      "bench: \(kernelCase.name) (\(layer.outputs) x \(layer.columns), \(layer.connections) connections, batch \(layer.batch), \(fixture.context.instructionSet)) computes a wrong result: \(what)"
    )
  }
}

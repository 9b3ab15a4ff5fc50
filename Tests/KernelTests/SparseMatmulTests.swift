import EspSparseMatmul
import TestSupport
import Testing

/// Y = W X + bias, its transposed form and the weight gradient, against dense loops in Double.
@Suite struct SparseMatmulTests {
  static let sweep =
    SparseCase.sweep(rows: [1, 7, 8, 9], columns: [1, 31, 32, 33], densities: [0, 0.1, 1], seed: 17)
    + [SparseCase(rows: 70, columns: 130, density: 0.2, seed: 23)]

  @Test(arguments: sweep) func productMatchesTheOracle(_ w: SparseCase) {
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      for bias in [nil, SparseActivations(samples: 1, features: w.rows, lanes: 1, seed: 6).storage] {
        let y = w.product(isa, x, bias: bias, threads: 1)
        expectClose(y.unpadded, DenseOracle.product(w, x, bias: bias), context)
        #expect(!y.storage.contains { $0.isNaN }, "padding lanes are written too; \(context)")
        for threads in SparseSweep.threads {
          expectSameBits(
            w.product(isa, x, bias: bias, threads: threads).storage, y.storage, "\(context), \(threads) threads")
        }
      }
    }
  }

  @Test(arguments: sweep) func weightGradientMatchesTheOracle(_ w: SparseCase) {
    forEachSparseVariant { isa, lanes, samples, context in
      // Padding lanes of D are zero, those of X are whatever a layer left there.
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5, padding: 1e6)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let g = w.weightGradient(isa, x, d, threads: 1)
      expectClose(g, DenseOracle.weightGradient(w, x, d), context)
      for threads in SparseSweep.threads {
        expectSameBits(w.weightGradient(isa, x, d, threads: threads), g, "\(context), \(threads) threads")
      }
    }
  }

  @Test(arguments: sweep) func transposedProductIsTheAdjoint(_ w: SparseCase) {
    let (transposed, _) = w.transposed()
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let y = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let forward = innerProduct(w.product(isa, x, bias: nil, threads: 2), y)
      let backward = innerProduct(x, transposed.product(isa, y, bias: nil, threads: 2))
      // |<Wx, y> - <x, W'y>| <= sum over rows and columns of the bounds of both products, as |x|, |y| < 1.
      let product = DenseOracle.product(w, x, bias: nil)
      let adjoint = DenseOracle.product(transposed, y, bias: nil)
      let bound =
        product.values.indices.reduce(0) { $0 + product.bound($1) }
        + adjoint.values.indices.reduce(0) { $0 + adjoint.bound($1) }
      #expect(abs(forward - backward) <= bound, "\(context)")
    }
  }

  @Test func rowsDoNotDependOnTheRowsBefore() {
    let w = SparseCase(rows: 19, columns: 33, density: 0.4, seed: 31)
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let whole = w.product(isa, x, bias: nil, threads: 1)
      for first in 0..<w.rows {
        let part = w.suffix(from: first).product(isa, x, bias: nil, threads: 1)
        let expected = (0..<samples).flatMap { sample in (first..<w.rows).map { whole[sample, $0] } }
        expectSameBits(part.unpadded, expected, "\(context), from row \(first)")
      }
    }
  }

  @Test(arguments: [1, 2, 3, 5, 7, 8]) func gradientsDoNotDependOnTheOtherConnections(divisor: Int) {
    let w = SparseCase(rows: 19, columns: 33, density: 0.4, seed: 31)
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let whole = w.weightGradient(isa, x, d, threads: 1)
      for remainder in 0..<divisor {
        let (subset, positions) = w.subset { $0 % divisor == remainder }
        expectSameBits(subset.weightGradient(isa, x, d, threads: 1), positions.map { whole[$0] }, context)
        let (suffix, kept) = w.subset { $0 >= remainder }
        expectSameBits(suffix.weightGradient(isa, x, d, threads: 1), kept.map { whole[$0] }, context)
      }
    }
  }

  /// So wide that L2 holds no more than two blocks, or one: those that are taken together change.
  @Test(arguments: [5000, 9000]) func wideInputsMatchTheOracle(columns: Int) {
    let w = SparseCase(rows: 3, columns: columns, density: 0.02, seed: 29)
    let x = SparseActivations(samples: 129, features: columns, lanes: 32, seed: 5)
    let d = SparseActivations(samples: 129, features: w.rows, lanes: 32, seed: 7)
    let product = DenseOracle.product(w, x, bias: nil)
    let gradient = DenseOracle.weightGradient(w, x, d)
    for isa in SparseSweep.isas {
      let y = w.product(isa, x, bias: nil, threads: 1)
      let g = w.weightGradient(isa, x, d, threads: 1)
      expectClose(y.unpadded, product, "\(columns) columns")
      expectClose(g, gradient, "\(columns) columns")
      for threads in SparseSweep.threads {
        expectSameBits(w.product(isa, x, bias: nil, threads: threads).storage, y.storage, "\(threads) threads")
        expectSameBits(w.weightGradient(isa, x, d, threads: threads), g, "\(threads) threads")
      }
    }
  }

  @Test func noBlocksMeansNoGradient() {
    let w = SparseCase(rows: 3, columns: 4, density: 1, seed: 1)
    let none = SparseActivations(samples: 0, features: 4, lanes: 8, filler: 0)
    for isa in SparseSweep.isas {
      #expect(w.weightGradient(isa, none, none, threads: 2) == [Float](repeating: 0, count: 12))
      #expect(w.product(isa, none, bias: nil, threads: 2).storage.isEmpty)
    }
  }

  /// The oracle is worth something only if it finds fault with outputs that are wrong.
  @Test func oracleRejectsZerosAndADroppedConnection() {
    let w = SparseCase(rows: 70, columns: 130, density: 0.2, seed: 23)
    let x = SparseActivations(samples: 33, features: w.columns, lanes: 32, seed: 5)
    let d = SparseActivations(samples: 33, features: w.rows, lanes: 32, seed: 7)
    let product = DenseOracle.product(w, x, bias: nil)
    let gradient = DenseOracle.weightGradient(w, x, d)
    #expect(firstMismatch([Float](repeating: 0, count: product.values.count), product) != nil)
    #expect(firstMismatch([Float](repeating: 0, count: gradient.values.count), gradient) != nil)
    #expect(firstMismatch([Float](repeating: .nan, count: product.values.count), product) != nil)
    for dropped in [0, w.count / 2, w.count - 1] {
      let (damaged, _) = w.subset { $0 != dropped }
      let y = damaged.product(ESP_ISA_SCALAR, x, bias: nil, threads: 1)
      #expect(firstMismatch(y.unpadded, product) != nil)
      var g = w.weightGradient(ESP_ISA_SCALAR, x, d, threads: 1)
      #expect(firstMismatch(g, gradient) == nil)
      g[dropped] = 0
      #expect(firstMismatch(g, gradient) != nil)
    }
  }
}

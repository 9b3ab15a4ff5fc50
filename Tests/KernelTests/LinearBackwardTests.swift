import EspSparseMatmul
import TestSupport
import Testing

/// Both gradients of a linear layer in one pass, against dense loops in Double and the kernels of one gradient each.
@Suite struct LinearBackwardTests {
  @Test(arguments: SparseMatmulTests.sweep) func bothMatchTheOracle(_ w: SparseCase) {
    let transposed = w.transposed().matrix
    forEachSparseVariant { isa, lanes, samples, context in
      // Padding lanes of D are zero, those of X are whatever a layer left there.
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5, padding: 1e6)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let (dx, g) = w.gradients(isa, x, d, threads: 1)
      expectClose(dx.unpadded, DenseOracle.product(transposed, d, bias: nil), context)
      expectClose(g, DenseOracle.weightGradient(w, x, d), context)
      #expect(!dx.storage.contains { $0.isNaN }, "padding lanes are written too; \(context)")
      for threads in SparseSweep.threads {
        let again = w.gradients(isa, x, d, threads: threads)
        expectSameBits(again.dx.storage, dx.storage, "\(context), \(threads) threads")
        expectSameBits(again.g, g, "\(context), \(threads) threads")
      }
    }
  }

  /// Rows longer than the buffer of lane sums, and more connections than are asked for ahead.
  @Test(arguments: [(3, 200), (200, 3), (150, 170)]) func longRowsMatchTheOracle(rows: Int, columns: Int) {
    let w = SparseCase(rows: rows, columns: columns, density: 0.9, seed: 19)
    let transposed = w.transposed().matrix
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: columns, lanes: lanes, seed: 5)
      let d = SparseActivations(samples: samples, features: rows, lanes: lanes, seed: 7)
      let (dx, g) = w.gradients(isa, x, d, threads: 2)
      expectClose(dx.unpadded, DenseOracle.product(transposed, d, bias: nil), context)
      expectClose(g, DenseOracle.weightGradient(w, x, d), context)
    }
  }

  /// The input gradient is the forward kernel's to the bit, whether its weights' gradient is wanted or not.
  @Test func inputGradientsAreTheProductsToTheBit() {
    let w = SparseCase(rows: 70, columns: 130, density: 0.2, seed: 23)
    let transposed = w.transposed().matrix
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let alone = transposed.product(isa, d, bias: nil, threads: 1)
      expectSameBits(w.gradients(isa, x, d, threads: 1).dx.storage, alone.storage, context)
    }
  }

  @Test func bothAreAddedToWhatIsThere() {
    let w = SparseCase(rows: 9, columns: 33, density: 0.4, seed: 31)
    let transposed = w.transposed().matrix
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let base = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 8)
      let before = (0..<w.count).map { Float($0) / Float(w.count) }
      let (dx, g) = w.gradients(isa, x, d, base: base, adding: before, threads: 2)
      var product = DenseOracle.product(transposed, d, bias: nil)
      for (i, value) in base.unpadded.enumerated() { product.add(Double(value), to: i) }
      expectClose(dx.unpadded, product, context)
      var gradient = DenseOracle.weightGradient(w, x, d)
      for (k, value) in before.enumerated() { gradient.add(Double(value), to: k) }
      expectClose(g, gradient, context)
    }
  }

  /// dx may take base's place.
  @Test func inPlace() {
    let w = SparseCase(rows: 9, columns: 33, density: 0.4, seed: 31)
    let (transposed, _) = w.transposed()
    forEachSparseVariant { isa, lanes, samples, context in
      let x = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 5)
      let d = SparseActivations(samples: samples, features: w.rows, lanes: lanes, seed: 7)
      let base = SparseActivations(samples: samples, features: w.columns, lanes: lanes, seed: 8)
      let apart = w.gradients(isa, x, d, base: base, threads: 1).dx
      var place = base.storage
      var g = [Float](repeating: .nan, count: w.count)
      place.withUnsafeMutableBufferPointer { place in
        transposed.withStructure {
          esp_linear_backward_f32(
            isa, $0, transposed.values, x.blocks, lanes, x.storage, d.storage, place.baseAddress, place.baseAddress, 0,
            &g, 3)
        }
      }
      expectSameBits(place, apart.storage, context)
    }
  }

  @Test func noBlocksMeansNoGradient() {
    let w = SparseCase(rows: 3, columns: 4, density: 1, seed: 1)
    let x = SparseActivations(samples: 0, features: 4, lanes: 8, filler: 0)
    let d = SparseActivations(samples: 0, features: 3, lanes: 8, filler: 0)
    for isa in SparseSweep.isas {
      #expect(w.gradients(isa, x, d, threads: 2).g == [Float](repeating: 0, count: 12))
    }
  }

  /// More elements than are asked for ahead, and more than a cache holds.
  @Test(arguments: [0, 1, 127, 129, (1 << 17) + 3]) func unpermutingTakesBackAPermutation(count: Int) {
    var random = SparseRandom(seed: 3)
    let permutation = (0..<UInt32(count)).shuffled(using: &random)
    let values = (0..<count).map { Float($0) }
    for threads in SparseSweep.threads {
      var permuted = [Float](repeating: .nan, count: count)
      var restored = permuted
      esp_permute_f32(values, permutation, count, &permuted, threads)
      #expect(permuted == permutation.map { Float($0) })
      esp_unpermute_f32(permuted, permutation, count, &restored, threads)
      #expect(restored == values)
    }
  }
}

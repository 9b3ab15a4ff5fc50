import EspSparseConv
import TestSupport
import Testing

/// The convolution and both of its gradients, against plain loops in Double.
@Suite struct SparseConvTests {
  /// Kernels of 1, 3 and 5 on a non-square image, with every stride and padding, and a few odd ones.
  static let sweep =
    [1, 3, 5].flatMap { kernel in
      [1, 2].flatMap { stride in
        [0, 1, 2].map { padding in
          DenseConvolution(
            image: (3, 7, 9), outChannels: 4, kernel: (kernel, kernel), stride: stride, padding: padding)
        }
      }
    } + [
      DenseConvolution(image: (2, 5, 13), outChannels: 3, kernel: (3, 1), stride: 1, padding: 0),
      DenseConvolution(image: (2, 6, 11), outChannels: 3, kernel: (2, 4), stride: 3, padding: 1),
      DenseConvolution(image: (1, 1, 1), outChannels: 1, kernel: (3, 3), stride: 1, padding: 1),
      DenseConvolution(image: (1, 12, 70), outChannels: 2, kernel: (3, 3), stride: 1, padding: 1),
      // Padding wider than the image's half.
      DenseConvolution(image: (1, 10, 9), outChannels: 2, kernel: (9, 9), stride: 1, padding: 4),
    ]

  private func weights(_ convolution: DenseConvolution) -> [SparseCase] {
    [
      convolution.weights(density: 0, seed: 1), convolution.weights(density: 1, seed: 2),
      convolution.weights(density: 0.3, seed: 3) { $0 % 3 == 1 },
    ]
  }

  @Test(arguments: sweep) func forwardMatchesTheOracle(_ convolution: DenseConvolution) {
    let bias = SparseActivations(samples: 1, features: convolution.outChannels, lanes: 1, seed: 6).storage
    for w in weights(convolution) {
      forEachSparseVariant { isa, lanes, samples, context in
        let x = convolution.input(samples: samples, lanes: lanes)
        let y = convolution.forward(isa, w, x, bias: bias, threads: 1)
        expectClose(y.unpadded, convolution.forward(w, x, bias: bias), "\(w), \(context)")
        #expect(!y.storage.contains { $0.isNaN }, "padding lanes are written too; \(context)")
        for threads in SparseSweep.threads {
          expectSameBits(
            convolution.forward(isa, w, x, bias: bias, threads: threads).storage, y.storage,
            "\(w), \(context), \(threads) threads")
        }
      }
    }
  }

  @Test(arguments: sweep.filter { $0.padding < min($0.kernelHeight, $0.kernelWidth) })
  func inputGradientMatchesTheScatteringOracle(_ convolution: DenseConvolution) {
    for w in weights(convolution) {
      forEachSparseVariant { isa, lanes, samples, context in
        let d = convolution.outputGradient(samples: samples, lanes: lanes)
        let gradient = convolution.inputGradient(isa, w, d, threads: 1)
        expectClose(gradient.unpadded, convolution.inputGradient(w, d), "\(w), \(context)")
        for threads in SparseSweep.threads {
          expectSameBits(
            convolution.inputGradient(isa, w, d, threads: threads).storage, gradient.storage,
            "\(w), \(context), \(threads) threads")
        }
      }
    }
  }

  @Test(arguments: sweep) func weightGradientMatchesTheOracle(_ convolution: DenseConvolution) {
    for w in weights(convolution) {
      forEachSparseVariant { isa, lanes, samples, context in
        let x = convolution.input(samples: samples, lanes: lanes, padding: 1e6)
        let d = convolution.outputGradient(samples: samples, lanes: lanes)
        let g = convolution.weightGradient(isa, w, x, d, threads: 1)
        expectClose(g, convolution.weightGradient(w, x, d), "\(w), \(context)")
        for threads in SparseSweep.threads {
          expectSameBits(
            convolution.weightGradient(isa, w, x, d, threads: threads), g, "\(w), \(context), \(threads) threads")
        }
      }
    }
  }

  @Test(arguments: sweep.filter { $0.padding < min($0.kernelHeight, $0.kernelWidth) })
  func inputGradientIsTheAdjoint(_ convolution: DenseConvolution) {
    let w = convolution.weights(density: 0.4, seed: 11)
    forEachSparseVariant { isa, lanes, samples, context in
      let x = convolution.input(samples: samples, lanes: lanes)
      let d = convolution.outputGradient(samples: samples, lanes: lanes)
      let forward = innerProduct(convolution.forward(isa, w, x, bias: nil, threads: 2), d)
      let backward = innerProduct(x, convolution.inputGradient(isa, w, d, threads: 2))
      // As |x|, |d| < 1, the two differ by at most the sum of all bounds.
      let product = convolution.forward(w, x, bias: nil)
      let adjoint = convolution.inputGradient(w, d)
      let bound =
        product.values.indices.reduce(0) { $0 + product.bound($1) }
        + adjoint.values.indices.reduce(0) { $0 + adjoint.bound($1) }
      #expect(abs(forward - backward) <= bound, "\(context)")
    }
  }

  /// Large enough for several bands, the last of which is shorter, in all three operations.
  @Test(arguments: [1, 2], [0, 1]) func imagesOfSeveralBands(stride: Int, padding: Int) {
    let convolution = DenseConvolution(
      image: (40, 23, 40), outChannels: 40, kernel: (3, 3), stride: stride, padding: padding)
    let w = convolution.weights(density: 0.02, seed: 13)
    for isa in SparseSweep.isas {
      let x = convolution.input(samples: 33, lanes: 32)
      let d = convolution.outputGradient(samples: 33, lanes: 32)
      let y = convolution.forward(isa, w, x, bias: nil, threads: 1)
      let dx = convolution.inputGradient(isa, w, d, threads: 1)
      let g = convolution.weightGradient(isa, w, x, d, threads: 1)
      expectClose(y.unpadded, convolution.forward(w, x, bias: nil))
      expectClose(dx.unpadded, convolution.inputGradient(w, d))
      expectClose(g, convolution.weightGradient(w, x, d))
      for threads in SparseSweep.threads {
        expectSameBits(convolution.forward(isa, w, x, bias: nil, threads: threads).storage, y.storage)
        expectSameBits(convolution.inputGradient(isa, w, d, threads: threads).storage, dx.storage)
        expectSameBits(convolution.weightGradient(isa, w, x, d, threads: threads), g)
      }
    }
  }

  /// Weight gradients of images whose tiles are bands of rows of some of the channels, of both or of several blocks;
  /// with so few connections that their input is read in place where lanes are many, and so many that it is copied.
  @Test(arguments: [
    DenseConvolution(image: (37, 64, 3), outChannels: 5, kernel: (3, 3), stride: 1, padding: 1),
    DenseConvolution(image: (301, 9, 9), outChannels: 3, kernel: (3, 3), stride: 1, padding: 1),
    DenseConvolution(image: (150, 17, 15), outChannels: 9, kernel: (3, 3), stride: 2, padding: 1),
    DenseConvolution(image: (520, 8, 9), outChannels: 18, kernel: (1, 1), stride: 1, padding: 0),
    DenseConvolution(image: (70, 30, 31), outChannels: 25, kernel: (1, 1), stride: 2, padding: 0),
    DenseConvolution(image: (3, 50, 61), outChannels: 6, kernel: (7, 7), stride: 2, padding: 3),
    DenseConvolution(image: (30, 2, 2), outChannels: 20, kernel: (3, 3), stride: 1, padding: 1),
    DenseConvolution(image: (20, 4, 4), outChannels: 12, kernel: (3, 3), stride: 1, padding: 1),
  ])
  func weightGradientOfEveryTiling(_ convolution: DenseConvolution) {
    let w = convolution.weights(density: 0.06, seed: 14)
    let full = convolution.weights(density: 0.9, seed: 14)
    for isa in SparseSweep.isas {
      check(convolution, full, isa, lanes: 16, samples: 9)
      for (lanes, samples) in [(1, 2), (8, 17), (32, 130)] where lanes < 32 || convolution.inFeatures < 1000 {
        check(convolution, w, isa, lanes: lanes, samples: samples)
      }
      check(convolution, w, isa, lanes: 32, samples: 33)
    }
  }

  private func check(_ convolution: DenseConvolution, _ w: SparseCase, _ isa: esp_isa, lanes: Int, samples: Int) {
    let x = convolution.input(samples: samples, lanes: lanes)
    let d = convolution.outputGradient(samples: samples, lanes: lanes)
    let g = convolution.weightGradient(isa, w, x, d, threads: 1)
    expectClose(g, convolution.weightGradient(w, x, d), "isa \(isa), \(lanes) lanes")
    for threads in SparseSweep.threads {
      expectSameBits(convolution.weightGradient(isa, w, x, d, threads: threads), g, "isa \(isa), \(threads) threads")
    }
  }

  @Test(arguments: [3, 400]) func gradientsDoNotDependOnTheOtherConnections(channels: Int) {
    let convolution = DenseConvolution(image: (channels, 7, 9), outChannels: 4, kernel: (3, 3), stride: 1, padding: 1)
    let w = convolution.weights(density: channels == 3 ? 1 : 0.01, seed: 15)
    forEachSparseVariant { isa, lanes, samples, context in
      let x = convolution.input(samples: samples, lanes: lanes)
      let d = convolution.outputGradient(samples: samples, lanes: lanes)
      let whole = convolution.weightGradient(isa, w, x, d, threads: 1)
      for first in 0..<9 {
        // As many as are read in the same way.
        let some = channels == 3 ? w.subset { $0 % 9 != first } : w.subset { $0 % 9 == first }
        for (subset, positions) in [w.subset { $0 >= first }, some] {
          let g = convolution.weightGradient(isa, subset, x, d, threads: 1)
          expectSameBits(g, positions.map { whole[$0] }, context)
        }
      }
    }
  }

  /// Beside the threads' tiles, a weight gradient's workspace is no larger than an always-sparse layer's may be.
  @Test(arguments: [1, 3, 7], [1, 2]) func weightGradientsWorkspaceIsNeverDense(kernel: Int, stride: Int) {
    for (channels, side) in [(3, 32), (64, 8), (128, 2), (2048, 7)] {
      for outChannels in [1, 16, 128, 1000] {
        let convolution = DenseConvolution(
          image: (channels, side, side), outChannels: outChannels, kernel: (kernel, kernel), stride: stride,
          padding: kernel / 2)
        let columns = channels * kernel * kernel
        let dense = outChannels * columns
        var shape = convolution.shape
        for nnz in Set([0, 1, dense / 64, dense / 5, dense / 4, dense / 3, dense / 2, dense / 2 + 1, dense - 1, dense])
        {
          for (blocks, lanes) in [(1, 1), (1, 8), (3, 16), (4, 32), (40, 32)] {
            let one = esp_sparse_conv_sddmm_workspace(&shape, nnz, blocks, lanes, 1)
            let tile = esp_sparse_conv_sddmm_workspace(&shape, nnz, blocks, lanes, 2) - one
            let shared = one - tile
            #expect(shared <= 4 * (nnz + outChannels + columns), "\(convolution), \(nnz) connections")
            #expect(shared < dense || dense <= 16_384, "\(convolution), \(nnz) connections")
          }
        }
      }
    }
  }

  /// The oracle is worth something only if it finds fault with outputs that are wrong.
  @Test func oracleRejectsZerosAndADroppedConnection() {
    let convolution = DenseConvolution(image: (16, 8, 8), outChannels: 16, kernel: (3, 3), stride: 1, padding: 1)
    let w = convolution.weights(density: 0.2, seed: 15)
    let x = convolution.input(samples: 9, lanes: 8)
    let d = convolution.outputGradient(samples: 9, lanes: 8)
    let forward = convolution.forward(w, x, bias: nil)
    let backward = convolution.inputGradient(w, d)
    let gradient = convolution.weightGradient(w, x, d)
    for expected in [forward, backward, gradient] {
      #expect(firstMismatch([Float](repeating: 0, count: expected.values.count), expected) != nil)
    }
    for dropped in [0, w.count / 2, w.count - 1] {
      let (damaged, _) = w.subset { $0 != dropped }
      let y = convolution.forward(ESP_ISA_SCALAR, damaged, x, bias: nil, threads: 1)
      #expect(firstMismatch(y.unpadded, forward) != nil)
      let dx = convolution.inputGradient(ESP_ISA_SCALAR, damaged, d, threads: 1)
      #expect(firstMismatch(dx.unpadded, backward) != nil)
      var g = convolution.weightGradient(ESP_ISA_SCALAR, w, x, d, threads: 1)
      #expect(firstMismatch(g, gradient) == nil)
      g[dropped] = 0
      #expect(firstMismatch(g, gradient) != nil)
    }
  }

  @Test(arguments: GuardedSide.allCases) func convolutionsStayInBounds(_ side: GuardedSide) {
    for convolution in Self.sweep {
      let w = convolution.weights(density: 0.3, seed: 3)
      forEachSparseVariant { isa, lanes, samples, context in
        var shape = convolution.shape
        let guarded = GuardedStructure(w, side)
        let input = convolution.input(samples: samples, lanes: lanes)
        let x = GuardedBuffer(input.storage, guarding: side)
        let bias = GuardedBuffer([Float](repeating: 1, count: w.rows), guarding: side)
        let outputs = [Float](repeating: .nan, count: input.blocks * convolution.outFeatures * lanes)
        let y = GuardedBuffer(outputs, guarding: side)
        let g = GuardedBuffer([Float](repeating: .nan, count: w.count), guarding: side)
        for threads: Int32 in [1, 3] {
          let size = esp_sparse_conv_workspace(&shape, w.count, lanes, threads)
          let workspace = GuardedBuffer([Float](repeating: .nan, count: size), guarding: side)
          esp_sparse_conv_f32(
            isa, &guarded.csr, guarded.values.base, bias.base, &shape, input.blocks, lanes, x.base, y.base,
            workspace.base, threads)
          let gradientSize = esp_sparse_conv_sddmm_workspace(&shape, w.count, input.blocks, lanes, threads)
          let gradientSpace = GuardedBuffer([Float](repeating: .nan, count: gradientSize), guarding: side)
          esp_sparse_conv_sddmm_f32(
            isa, &guarded.csr, &shape, input.blocks, lanes, x.base, y.base, g.base, gradientSpace.base, threads)
        }
        #expect(!(y.contents + g.contents).contains { $0.isNaN }, "\(context)")
      }
    }
  }

  /// What grows with the connections keeps the rule for buffers on the side of the weights, in all shapes.
  @Test(arguments: [1, 8, 16, 32]) func listsAreNeverDense(lanes: Int) {
    for (kernel, padding, stride) in [
      (1, 0, 1), (1, 0, 2), (3, 0, 1), (3, 1, 1), (3, 1, 2), (5, 2, 1), (7, 3, 2), (18, 2, 1),
    ] {
      for inChannels in [1, 3, 14, 64, 700, 2000, 8000] {
        for outChannels in [1, 2, 3, 64, 700] {
          let convolution = DenseConvolution(
            image: (inChannels, 18, 20), outChannels: outChannels, kernel: (kernel, kernel), stride: stride,
            padding: padding)
          var forward = convolution.shape
          for var shape in [forward, esp_conv_input_gradient_shape(&forward)] {
            let rows = shape.out_channels
            let columns = shape.in_channels * kernel * kernel
            for density in [0, 0.001, 0.02, 0.12, 0.3, 0.49, 1] {
              let count = Int(density * Double(rows * columns))
              // All workspaces hold the lists once, and a band for each thread.
              let one = esp_sparse_conv_workspace(&shape, count, lanes, 1)
              let lists = 2 * one - esp_sparse_conv_workspace(&shape, count, lanes, 2)
              #expect(lists <= max(16_384, 4 * (count + rows + columns)), "\(convolution), \(count) connections")
              #expect(
                lists <= 16_384 || lists < rows * columns || density > 0.5, "\(convolution), \(count) connections")
            }
          }
        }
      }
    }
  }

  /// Convolutions whose lists are made for some output channels at a time, one of them for some pairs of runs at a time.
  @Test func listsOfSeveralPanels() {
    let wide = DenseConvolution(image: (40, 6, 7), outChannels: 40, kernel: (3, 3), stride: 1, padding: 1)
    let heavy = DenseConvolution(image: (16, 9, 8), outChannels: 24, kernel: (7, 7), stride: 1, padding: 3)
    let full = SparseCase(rows: 24, columns: 16 * 49, seed: 17, name: "one full row") { row, column in
      row == 5 || (row * 31 + column) % 97 == 0
    }
    for (convolution, w) in [(wide, wide.weights(density: 0.3, seed: 16)), (heavy, full)] {
      for isa in SparseSweep.isas {
        for lanes in SparseSweep.lanes {
          let x = convolution.input(samples: 9, lanes: lanes)
          let y = convolution.forward(isa, w, x, bias: nil, threads: 1)
          expectClose(y.unpadded, convolution.forward(w, x, bias: nil), "\(convolution), \(lanes) lanes")
          for threads in SparseSweep.threads {
            expectSameBits(convolution.forward(isa, w, x, bias: nil, threads: threads).storage, y.storage)
          }
        }
      }
    }
  }
}

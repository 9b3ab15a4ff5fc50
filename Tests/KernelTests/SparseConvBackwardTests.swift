import EspSparseConv
import TestSupport
import Testing

/// Both gradients of a convolution in one pass over D: the bits of the kernels for each.
@Suite struct SparseConvBackwardTests {
  static let convolutions =
    SparseConvTests.sweep.filter { $0.padding < min($0.kernelHeight, $0.kernelWidth) } + [
      // Several bands, of which the last is shorter; images whose blocks share a unit; several panels of lists.
      DenseConvolution(image: (16, 21, 32), outChannels: 16, kernel: (3, 3), stride: 1, padding: 1),
      DenseConvolution(image: (5, 4, 4), outChannels: 7, kernel: (3, 3), stride: 1, padding: 1),
      DenseConvolution(image: (40, 6, 7), outChannels: 40, kernel: (3, 3), stride: 1, padding: 1),
    ]

  @Test(arguments: convolutions) func matchesTheKernelsForEach(_ convolution: DenseConvolution) {
    for w in [convolution.weights(density: 0.3, seed: 3) { $0 % 3 == 1 }, convolution.weights(density: 0, seed: 1)] {
      forEachSparseVariant { isa, lanes, samples, context in
        let x = convolution.input(samples: samples, lanes: lanes)
        let d = convolution.outputGradient(samples: samples, lanes: lanes)
        let dx = convolution.inputGradient(isa, w, d, threads: 1)
        let g = convolution.weightGradient(isa, w, x, d, threads: 1)
        for threads in SparseSweep.threads {
          let both = convolution.gradients(isa, w, x, d, base: nil, threads: threads)
          expectSameBits(both.dx, dx.storage, "\(w), \(context), \(threads) threads")
          expectSameBits(both.g, g, "\(w), \(context), \(threads) threads")
        }
      }
    }
  }

  /// More floats than go through the caches, and fewer.
  @Test(arguments: [(16, 36, 32), (3, 7, 9), (2, 5, 20)]) func addsToABase(channels: Int, height: Int, width: Int) {
    let convolution = DenseConvolution(
      image: (channels, height, width), outChannels: 4, kernel: (3, 3), stride: 1, padding: 1)
    let w = convolution.weights(density: 0.2, seed: 9)
    for isa in SparseSweep.isas {
      for lanes in channels == 16 ? [32] : SparseSweep.lanes {
        let samples = 33
        let (x, d) = (
          convolution.input(samples: samples, lanes: lanes), convolution.outputGradient(samples: samples, lanes: lanes)
        )
        let base = SparseActivations(samples: samples, features: convolution.inFeatures, lanes: lanes, seed: 21)
        var expected = convolution.inputGradient(w, d)
        let added = base.unpadded
        for i in added.indices { expected.add(Double(added[i]), to: i) }
        let one = convolution.gradients(isa, w, x, d, base: base, threads: 1)
        var dx = SparseActivations(samples: samples, features: convolution.inFeatures, lanes: lanes, filler: .nan)
        dx.storage = one.dx
        expectClose(dx.unpadded, expected, "\(isa), \(lanes) lanes")
        for threads in SparseSweep.threads {
          let other = convolution.gradients(isa, w, x, d, base: base, threads: threads)
          expectSameBits(other.dx, one.dx, "\(isa), \(lanes) lanes, \(threads) threads")
          expectSameBits(other.g, one.g, "\(isa), \(lanes) lanes, \(threads) threads")
        }
      }
    }
  }
}

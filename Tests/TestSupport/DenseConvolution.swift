/// A 2-D convolution to test with, without any cleverness about its geometry.
public struct DenseConvolution: Sendable, CustomStringConvertible {
  public let inChannels: Int
  public let inHeight: Int
  public let inWidth: Int
  public let outChannels: Int
  public let kernelHeight: Int
  public let kernelWidth: Int
  public let stride: Int
  public let padding: Int

  public init(
    image: (channels: Int, height: Int, width: Int), outChannels: Int, kernel: (height: Int, width: Int),
    stride: Int = 1, padding: Int = 0
  ) {
    (inChannels, inHeight, inWidth) = image
    (kernelHeight, kernelWidth) = kernel
    self.outChannels = outChannels
    self.stride = stride
    self.padding = padding
  }

  public var outHeight: Int { (inHeight + 2 * padding - kernelHeight) / stride + 1 }
  public var outWidth: Int { (inWidth + 2 * padding - kernelWidth) / stride + 1 }
  public var taps: Int { kernelHeight * kernelWidth }
  public var inFeatures: Int { inChannels * inHeight * inWidth }
  public var outFeatures: Int { outChannels * outHeight * outWidth }
  public var description: String {
    "\(inChannels)x\(inHeight)x\(inWidth) -> \(outChannels), kernel \(kernelHeight)x\(kernelWidth), "
      + "stride \(stride), padding \(padding)"
  }

  /// Weights of this convolution's size.
  public func weights(density: Double, seed: UInt64, isEmpty: (Int) -> Bool = { _ in false }) -> SparseCase {
    SparseCase(rows: outChannels, columns: inChannels * taps, density: density, seed: seed, isEmpty: isEmpty)
  }

  /// W * X + bias, [samples, outFeatures].
  public func forward(_ w: SparseCase, _ x: SparseActivations, bias: [Float]?) -> Expectation {
    var expected = Expectation(count: x.samples * outFeatures)
    for sample in 0..<x.samples {
      if let bias {
        for out in 0..<outFeatures {
          expected.add(Double(bias[out / (outHeight * outWidth)]), to: sample * outFeatures + out)
        }
      }
      forEachProduct(of: w) { k, input, output in
        expected.add(Double(w.values[k]) * Double(x[sample, input]), to: sample * outFeatures + output)
      }
    }
    return expected
  }

  /// The gradient of sum(d * (W * X)) with respect to X, by scattering, [samples, inFeatures].
  public func inputGradient(_ w: SparseCase, _ d: SparseActivations) -> Expectation {
    var expected = Expectation(count: d.samples * inFeatures)
    for sample in 0..<d.samples {
      forEachProduct(of: w) { k, input, output in
        expected.add(Double(w.values[k]) * Double(d[sample, output]), to: sample * inFeatures + input)
      }
    }
    return expected
  }

  /// The gradient of sum(d * (W * X)) with respect to the connections' values.
  public func weightGradient(_ w: SparseCase, _ x: SparseActivations, _ d: SparseActivations) -> Expectation {
    var expected = Expectation(count: w.count)
    for sample in 0..<x.samples {
      forEachProduct(of: w) { k, input, output in
        expected.add(Double(d[sample, output]) * Double(x[sample, input]), to: k)
      }
    }
    return expected
  }

  /// Calls `body` with (connection, input feature, output feature) for every product of one sample's convolution.
  private func forEachProduct(of w: SparseCase, _ body: (Int, Int, Int) -> Void) {
    for (k, (o, column)) in w.connections.enumerated() {
      let c = column / taps
      let ky = column % taps / kernelWidth
      let kx = column % taps % kernelWidth
      for y in 0..<outHeight {
        for x in 0..<outWidth {
          let i = y * stride + ky - padding
          let j = x * stride + kx - padding
          guard (0..<inHeight).contains(i), (0..<inWidth).contains(j) else { continue }
          body(k, (c * inHeight + i) * inWidth + j, (o * outHeight + y) * outWidth + x)
        }
      }
    }
  }
}

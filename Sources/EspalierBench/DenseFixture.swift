import EspDense
import Espalier

/// The same layer with all its weights, absent ones being zero, on OpenBLAS: sgemm for a linear layer, im2col and sgemm for a convolution.
final class DenseFixture {
  private let layer: LayerCase
  private let context: ComputeContext
  private let weights: FloatArray
  /// A linear layer's, one feature a row: [features, samples]; a convolution's in the layout of activations.
  private let input, delta: FloatArray
  private let output: FloatArray
  private let workspace: FloatArray
  private var shape = esp_conv_shape()
  private let blocks, lanes: Int

  init(_ fixture: LayerFixture) {
    esp_dense_prepare()
    self.layer = fixture.layer
    context = fixture.context
    let (layer, weights) = (fixture.layer, FloatArray(count: fixture.layer.size, filledWith: 0))
    let structure = fixture.parameter.matrix.structure
    fixture.parameter.matrix.withValues { values in
      for row in 0..<structure.rows {
        for k in structure.positions(ofRow: row) {
          weights.pointer[row * layer.columns + Int(structure.columnIndices.pointer[k])] = values[k]
        }
      }
    }
    self.weights = weights
    let inputShape = fixture.input.shape
    (blocks, lanes) = (inputShape.blocks, inputShape.lanes)
    if let shape = fixture.kernelShape {
      self.shape = shape
      workspace = FloatArray(count: esp_dense_conv_workspace(&self.shape, lanes, context.threadCount))
      input = FloatArray(fixture.input.buffer)
      delta = FloatArray(fixture.delta.buffer)
    } else {
      workspace = FloatArray(count: 0)
      input = FloatArray(fixture.input.samplesByFeature())
      delta = FloatArray(fixture.delta.samplesByFeature())
    }
    output = FloatArray(count: max(layer.size, input.count, delta.count))
  }

  /// Computes the product once.
  func run(_ product: BenchKernel.Product) {
    if layer.geometry == nil { runLinear(product) } else { runConvolution(product) }
  }

  private func runLinear(_ product: BenchKernel.Product) {
    let (rows, columns, batch, threads) = (layer.outputs, layer.inputs, layer.batch, context.threadCount)
    switch product {
    case .forward:
      esp_dense_gemm(
        0, 0, rows, batch, columns, weights.pointer, columns, input.pointer, batch, output.pointer, threads)
    case .inputGradient:
      esp_dense_gemm(
        1, 0, columns, batch, rows, weights.pointer, columns, delta.pointer, batch, output.pointer, threads)
    case .weightGradient:
      esp_dense_gemm(
        0, 1, rows, columns, batch, delta.pointer, batch, input.pointer, batch, output.pointer, threads)
    }
  }

  private func runConvolution(_ product: BenchKernel.Product) {
    let threads = context.threadCount
    switch product {
    case .forward:
      esp_dense_conv_forward(
        weights.pointer, nil, &shape, blocks, lanes, input.pointer, output.pointer, workspace.pointer, threads)
    case .inputGradient:
      esp_dense_conv_input_gradient(
        weights.pointer, &shape, blocks, lanes, delta.pointer, output.pointer, workspace.pointer, threads)
    case .weightGradient:
      esp_dense_conv_weight_gradient(
        &shape, blocks, lanes, input.pointer, delta.pointer, output.pointer, workspace.pointer, threads)
    }
  }

  /// Largest difference between the last product and the sparse one, and the root of the dense one's mean square.
  func difference(
    from sparse: UnsafeMutableBufferPointer<Float>, product: BenchKernel.Product, fixture: LayerFixture
  ) -> (largest: Double, scale: Double) {
    var largest = 0.0
    var squares = 0.0
    var count = 0
    func compare(_ a: Float, _ b: Float) {
      let distance = Double(abs(a - b))
      if !(distance <= largest) { largest = distance }  // NaN stays
      squares += Double(b) * Double(b)
      count += 1
    }
    if product == .weightGradient {
      let structure = fixture.parameter.matrix.structure
      for row in 0..<structure.rows {
        for k in structure.positions(ofRow: row) {
          compare(sparse[k], output.pointer[row * layer.columns + Int(structure.columnIndices.pointer[k])])
        }
      }
    } else {
      let shape = product == .forward ? fixture.delta.shape : fixture.input.shape
      let isLinear = layer.geometry == nil
      var i = 0
      for block in 0..<shape.blocks {
        for feature in 0..<shape.features {
          for lane in 0..<shape.lanes {
            let sample = block * shape.lanes + lane
            if sample < shape.samples {
              compare(sparse[i], output.pointer[isLinear ? feature * shape.samples + sample : i])
            }
            i += 1
          }
        }
      }
    }
    return (largest, (squares / Double(max(1, count))).squareRoot())
  }
}

extension Activations {
  /// [features, samples]
  fileprivate func samplesByFeature() -> [Float] {
    let shape = shape
    return [Float](unsafeUninitializedCapacity: shape.features * shape.samples) { out, count in
      for feature in 0..<shape.features {
        for sample in 0..<shape.samples {
          out[feature * shape.samples + sample] = buffer[offset(sample: sample, feature: feature)]
        }
      }
      count = shape.features * shape.samples
    }
  }
}

/// Numbers on the dense side, which no meter counts.
final class FloatArray {
  let pointer: UnsafeMutablePointer<Float>
  let count: Int

  init(count: Int) {
    self.count = count
    let raw = UnsafeMutableRawPointer.allocate(byteCount: max(1, count) * 4, alignment: 64)
    pointer = raw.bindMemory(to: Float.self, capacity: max(1, count))
  }

  convenience init(count: Int, filledWith value: Float) {
    self.init(count: count)
    pointer.update(repeating: value, count: count)
  }

  convenience init(_ numbers: some Collection<Float>) {
    self.init(count: numbers.count)
    _ = UnsafeMutableBufferPointer(start: pointer, count: count).update(fromContentsOf: numbers)
  }

  deinit { UnsafeMutableRawPointer(pointer).deallocate() }
}

/// OpenBLAS's single-precision product, by which machines are compared.
public enum DenseSpeed {
  /// GFLOP/s of one product of 2048 x 2048 with 2048 x 128.
  static func sgemm(threads: Int) -> Double {
    esp_dense_prepare()
    let n = 2048
    let batch = 128
    let a = FloatArray(count: n * n, filledWith: 0.5)
    let b = FloatArray(count: n * batch, filledWith: 0.25)
    let c = FloatArray(count: n * batch)
    return withExtendedLifetime((a, b, c)) {
      let times = (0..<5).map { _ in
        ContinuousClock().measure {
          esp_dense_gemm(0, 0, n, batch, n, a.pointer, n, b.pointer, batch, c.pointer, Int32(threads))
        }.seconds
      }
      return 2 * Double(n * n * batch) / Samples(times).median * 1e-9
    }
  }
}

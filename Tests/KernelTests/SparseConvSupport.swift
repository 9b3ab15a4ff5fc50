import EspSparseConv
import TestSupport

extension DenseConvolution {
  /// The geometry as the kernels take it.
  var shape: esp_conv_shape {
    esp_conv_shape(
      in_channels: inChannels, in_height: inHeight, in_width: inWidth, out_channels: outChannels,
      out_height: outHeight, out_width: outWidth, kernel_height: kernelHeight, kernel_width: kernelWidth,
      stride: stride, pad_top: padding, pad_left: padding, input_dilation: 1)
  }

  /// W * X + bias by the kernel, into a tensor of NaN, with a workspace of NaN.
  func forward(
    _ isa: esp_isa, _ w: SparseCase, _ x: SparseActivations, bias: [Float]?, threads: Int32
  ) -> SparseActivations {
    convolve(isa, shape, w, x, bias: bias, threads: threads)
  }

  /// The input gradient by the kernel, through the transposed structure.
  func inputGradient(_ isa: esp_isa, _ w: SparseCase, _ d: SparseActivations, threads: Int32) -> SparseActivations {
    var forward = shape
    let (transposed, _) = w.transposed(taps: taps)
    return convolve(isa, esp_conv_input_gradient_shape(&forward), transposed, d, bias: nil, threads: threads)
  }

  /// The weight gradient by the kernel, into NaN, with a workspace of NaN.
  func weightGradient(
    _ isa: esp_isa, _ w: SparseCase, _ x: SparseActivations, _ d: SparseActivations, threads: Int32
  ) -> [Float] {
    var shape = shape
    var g = [Float](repeating: .nan, count: w.count)
    let size = esp_sparse_conv_sddmm_workspace(&shape, w.count, x.blocks, x.lanes, threads)
    var workspace = [Float](repeating: .nan, count: size)
    w.withStructure {
      esp_sparse_conv_sddmm_f32(isa, $0, &shape, x.blocks, x.lanes, x.storage, d.storage, &g, &workspace, threads)
    }
    return g
  }

  /// Both gradients in one pass, dx added to `base`, into NaN, with a workspace of NaN.
  func gradients(
    _ isa: esp_isa, _ w: SparseCase, _ x: SparseActivations, _ d: SparseActivations, base: SparseActivations?,
    threads: Int32
  ) -> (dx: [Float], g: [Float]) {
    var shape = shape
    let (transposed, _) = w.transposed(taps: taps)
    let size = esp_sparse_conv_backward_workspace(&shape, w.count, x.blocks, x.lanes, threads)
    // A cache line's start, so that large gradients are written past the caches.
    let dx = UnsafeMutableRawBufferPointer.allocate(byteCount: x.storage.count * 4 + 64, alignment: 64)
      .bindMemory(to: Float.self)
    dx.initialize(repeating: .nan)
    defer { dx.deallocate() }
    var (g, workspace) = ([Float](repeating: .nan, count: w.count), [Float](repeating: .nan, count: size))
    w.withStructure { csr in
      transposed.withStructure { transposedStructure in
        transposed.values.withUnsafeBufferPointer { values in
          x.storage.withUnsafeBufferPointer { xs in
            d.storage.withUnsafeBufferPointer { ds in
              g.withUnsafeMutableBufferPointer { g in
                func run(_ base: UnsafePointer<Float>?) {
                  var call = esp_conv_gradients(
                    w: csr, transposed: transposedStructure, transposed_values: values.baseAddress, x: xs.baseAddress,
                    d: ds.baseAddress, base: base, g: g.baseAddress, dx: dx.baseAddress)
                  esp_sparse_conv_backward_f32(isa, &call, &shape, x.blocks, x.lanes, &workspace, threads)
                }
                if let base { base.storage.withUnsafeBufferPointer { run($0.baseAddress) } } else { run(nil) }
              }
            }
          }
        }
      }
    }
    return (Array(dx.prefix(x.storage.count)), g)
  }

  /// Signed random images.
  func input(samples: Int, lanes: Int, padding: Float = 0) -> SparseActivations {
    SparseActivations(samples: samples, features: inFeatures, lanes: lanes, seed: 5, padding: padding)
  }

  /// Signed random output gradients; padding lanes are zero.
  func outputGradient(samples: Int, lanes: Int) -> SparseActivations {
    SparseActivations(samples: samples, features: outFeatures, lanes: lanes, seed: 7)
  }
}

private func convolve(
  _ isa: esp_isa, _ shape: esp_conv_shape, _ w: SparseCase, _ x: SparseActivations, bias: [Float]?, threads: Int32
) -> SparseActivations {
  var shape = shape
  let features = shape.out_channels * shape.out_height * shape.out_width
  var y = SparseActivations(samples: x.samples, features: features, lanes: x.lanes, filler: .nan)
  let size = esp_sparse_conv_workspace(&shape, w.count, x.lanes, threads)
  var workspace = [Float](repeating: .nan, count: size)
  w.withStructure {
    esp_sparse_conv_f32(
      isa, $0, w.values, bias, &shape, x.blocks, x.lanes, x.storage, &y.storage, &workspace, threads)
  }
  return y
}

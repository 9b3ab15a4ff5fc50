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

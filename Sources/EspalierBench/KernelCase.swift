import Espalier

/// The kernels that are measured, under the names of the command line.
public enum BenchKernel: String, Sendable, Hashable, CaseIterable, Encodable {
  /// A linear layer's output.
  case forward
  /// The gradient of a linear layer's input.
  case inputGradient = "input-gradient"
  /// The gradient of a linear layer's active weights.
  case weightGradient = "weight-gradient"
  /// Both of a linear layer's gradients, as training computes them.
  case backward
  /// A convolution's output.
  case convForward = "conv-forward"
  /// The gradient of a convolution's input.
  case convInputGradient = "conv-input-gradient"
  /// The gradient of a convolution's active weights.
  case convWeightGradient = "conv-weight-gradient"
  /// Both of a convolution's gradients, as training computes them.
  case convBackward = "conv-backward"

  /// All that a layer, which is a convolution or not, can be asked for.
  public static func all(isConvolution: Bool) -> [BenchKernel] {
    isConvolution
      ? [.convForward, .convInputGradient, .convWeightGradient, .convBackward]
      : [.forward, .inputGradient, .weightGradient, .backward]
  }

  /// What a step of training takes of a layer.
  public static func step(isConvolution: Bool) -> [BenchKernel] {
    isConvolution ? [.convForward, .convBackward] : [.forward, .backward]
  }

  /// The kernels of a comma-separated list.
  ///
  /// - Throws: `EspalierError.usage` for a name that is none of them, with the nearest one.
  public static func list(_ text: String) throws -> [BenchKernel] {
    try text.split(separator: ",", omittingEmptySubsequences: false).map { name in
      if let kernel = BenchKernel(rawValue: String(name)) { return kernel }
      let names = allCases.map(\.rawValue)
      let hint = EspalierError.nearest(to: String(name), among: names).map { "; did you mean '\($0)'?" } ?? ""
      throw EspalierError.usage("kernel: '\(name)' is unknown\(hint) (expected \(names.joined(separator: ", ")))")
    }
  }

  var products: [Product] {
    switch self {
    case .forward, .convForward: [.forward]
    case .inputGradient, .convInputGradient: [.inputGradient]
    case .weightGradient, .convWeightGradient: [.weightGradient]
    case .backward, .convBackward: [.inputGradient, .weightGradient]
    }
  }

  /// A layer's three products.
  enum Product { case forward, inputGradient, weightGradient }
}

/// The sizes of a layer at work on a batch.
public struct LayerCase: Sendable, Hashable {
  /// What it is part of, e.g. `vgg16-small.features.3`.
  public let name: String
  /// Outputs, or output channels.
  public let outputs: Int
  /// Inputs of a linear layer, input channels of a convolution.
  public let inputs: Int
  /// nil for a linear layer.
  public let geometry: ConvolutionGeometry?
  /// Size of the output in pixels; 1 x 1 for a linear layer.
  public let height, width: Int
  /// Samples.
  public let batch: Int
  /// Number of active connections.
  public let connections: Int

  /// - Parameters:
  ///   - height: of the output in pixels, as `width`.
  /// - Precondition: 0 <= connections <= outputs * inputs * taps.
  public init(
    name: String, outputs: Int, inputs: Int, geometry: ConvolutionGeometry? = nil, height: Int = 1, width: Int = 1,
    batch: Int, connections: Int
  ) {
    self.name = name
    self.outputs = outputs
    self.inputs = inputs
    self.geometry = geometry
    self.height = height
    self.width = width
    self.batch = batch
    self.connections = connections
    precondition(connections >= 0 && connections <= size)
  }

  /// Kernel height * width; 1 of a linear layer.
  public var taps: Int { geometry?.taps ?? 1 }
  /// inputs * taps
  public var columns: Int { inputs * taps }
  /// Weights of its dense form.
  public var size: Int { outputs * columns }
  /// Output positions a sample.
  public var positions: Int { height * width }
  /// Fraction of the weights that are absent.
  public var sparsity: Double { 1 - Double(connections) / Double(size) }
  /// Useful operations of one product: a multiply-add counts 2.
  public var flops: Double { 2 * Double(connections) * Double(positions) * Double(batch) }
  /// The dense product's.
  public var denseFlops: Double { 2 * Double(size) * Double(positions) * Double(batch) }

  var inputHeight: Int { inputLength(height, kernel: geometry?.kernelHeight) }
  var inputWidth: Int { inputLength(width, kernel: geometry?.kernelWidth) }

  /// Of the input lengths with this output length the one that networks have: a multiple of the stride where that is one of them.
  private func inputLength(_ output: Int, kernel: Int?) -> Int {
    guard let geometry, let kernel else { return output }
    let least = (output - 1) * geometry.stride + kernel - 2 * geometry.padding
    return max(1, min((least + geometry.stride - 1) / geometry.stride * geometry.stride, least + geometry.stride - 1))
  }
}

/// One kernel on one layer: what a benchmark measures.
public struct KernelCase: Sendable, Hashable {
  /// The product.
  public let kernel: BenchKernel
  /// The layer that it is of.
  public let layer: LayerCase

  /// One product of one layer.
  public init(_ kernel: BenchKernel, _ layer: LayerCase) {
    precondition(BenchKernel.all(isConvolution: layer.geometry != nil).contains(kernel))
    self.kernel = kernel
    self.layer = layer
  }

  /// For reports: `vgg16-small.features.3 conv-forward`.
  public var name: String { "\(layer.name) \(kernel.rawValue)" }
}

import Espalier
import EspalierTopology

/// The cases that every benchmark of this package measures. A new one is a line here.
public enum CaseCatalog {
  /// Inputs and outputs of the square linear layers.
  public static let units = [1024, 2048, 4096]
  /// Sparsities at which each of them is measured.
  public static let sparsities = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]

  /// Square linear layers, batch 128.
  public static func linearLayers(
    units: [Int] = units, sparsities: [Double] = sparsities
  ) -> [LayerCase] {
    units.flatMap { units in
      sparsities.map { sparsity in
        LayerCase(
          name: "linear-\(units)", outputs: units, inputs: units, batch: 128,
          connections: Int(((1 - sparsity) * Double(units * units)).rounded()))
      }
    }
  }

  /// The distinct 3x3 convolutions of VGG-16-small and ResNet-56 at their densities in a 98 % sparse network, batch 128.
  public static func modelConvolutions() throws -> [LayerCase] {
    try convolutions(of: "vgg16-small") + convolutions(of: "resnet56")
  }

  /// Large convolutions, as in ImageNet models, 6 and 12 % dense, batch 32.
  public static let largeConvolutions: [LayerCase] = [(64, 56), (256, 14)].flatMap { channels, pixels in
    [0.06, 0.12].map { density in
      LayerCase(
        name: "conv-\(channels)-\(pixels)x\(pixels)", outputs: channels, inputs: channels,
        geometry: ConvolutionGeometry(kernel: 3, padding: 1), height: pixels, width: pixels, batch: 32,
        connections: Int((density * Double(channels * channels * 9)).rounded()))
    }
  }

  /// Very wide layers with 8 connections a unit, batch 32: forward only.
  public static let wideLayers: [LayerCase] = [4096, 65_536, 1_048_576].map { units in
    LayerCase(name: "wide-\(units)", outputs: units, inputs: units, batch: 32, connections: 8 * units)
  }

  /// Every case of a full run but the very wide layers, or a subset that covers every kernel.
  public static func cases(quick: Bool) throws -> [KernelCase] {
    var layers = linearLayers()
    var convolutions = try modelConvolutions() + largeConvolutions
    if quick {
      layers = linearLayers(units: [1024]) + linearLayers(units: [2048], sparsities: [0.9, 0.98])
      let names = ["vgg16-small.features.3", "vgg16-small.features.27", "resnet56.layer1.0.conv1"]
      convolutions = convolutions.filter { names.contains($0.name) } + [largeConvolutions[2]]
    }
    return (layers + convolutions).flatMap { layer in
      BenchKernel.all(isConvolution: layer.geometry != nil).map { KernelCase($0, layer) }
    }.grouped()
  }

  private static func convolutions(of model: String) throws -> [LayerCase] {
    let images = FeatureSize(channels: 3, height: 32, width: 32)
    let spec = try ModelCatalog.spec(ModelCatalog.Request(name: model, images: images, classes: 10))
    let budgets = try ErdosRenyi().budgets(for: spec.weightLayers.map(\.shape), sparsity: 0.98)
    return distinct(
      zip(spec.weightLayers, budgets).filter { $0.0.shape.taps == 9 }.map { layer, budget in
        layer.benchCase(name: "\(model).\(layer.shape.name)", batch: 128, connections: budget)
      })
  }

  /// The first layer of each shape; budgets of equal layers differ by one connection at most.
  private static func distinct(_ layers: [LayerCase]) -> [LayerCase] {
    var seen: Set<[Int]> = []
    return layers.filter {
      seen.insert([$0.outputs, $0.inputs, $0.height, $0.width, $0.geometry?.stride ?? 0]).inserted
    }
  }
}

extension [KernelCase] {
  /// Kernel by kernel, each in the given order.
  fileprivate func grouped() -> [KernelCase] {
    BenchKernel.allCases.flatMap { kernel in filter { $0.kernel == kernel } }
  }
}

extension WeightLayer {
  /// The layer on a batch: a convolution's positions as a rectangle that is nearly a square, a linear layer's tokens as so many more
  /// samples.
  func benchCase(name: String, batch: Int, connections: Int) -> LayerCase {
    guard let geometry else {
      return LayerCase(
        name: name, outputs: shape.rows, inputs: shape.inChannels, batch: batch * positions, connections: connections)
    }
    let height = (1...max(1, Int(Double(positions).squareRoot()))).last { positions % $0 == 0 } ?? 1
    return LayerCase(
      name: name, outputs: shape.rows, inputs: shape.inChannels, geometry: geometry, height: height,
      width: positions / height, batch: batch, connections: connections)
  }
}

import Espalier
import EspalierTopology

/// The cases that every benchmark of this package measures. A new one is a line here.
public enum CaseCatalog {
  public static let units = [1024, 2048, 4096]
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
    try vggSmall() + resNet56()
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

  private static func vggSmall() throws -> [LayerCase] {
    let images = FeatureSize(channels: 3, height: 32, width: 32)
    let spec = try ModelCatalog.spec(ModelCatalog.Request(name: "vgg16-small", images: images, classes: 10))
    let budgets = try ErdosRenyi().budgets(for: spec.weightLayers.map(\.shape), sparsity: 0.98)
    return distinct(
      zip(spec.weightLayers, budgets).filter { $0.0.shape.taps == 9 }.map { layer, budget in
        layer.benchCase(name: "\(spec.name).\(layer.shape.name)", batch: 128, connections: budget)
      })
  }

  /// Its layers by arithmetic (He et al. 2016, section 4.2): three stages of 18 convolutions, the second and third halve the image.
  private static func resNet56() throws -> [LayerCase] {
    var shapes = [SparseLayerShape(name: "conv1", rows: 16, inChannels: 3, kernelHeight: 3, kernelWidth: 3)]
    var strides = [1]
    var pixels = [32]
    for (stage, channels) in [16, 32, 64].enumerated() {
      for convolution in 0..<18 {
        let narrows = stage > 0 && convolution == 0
        shapes.append(
          SparseLayerShape(
            name: "layer\(stage + 1).\(convolution / 2).conv\(convolution % 2 + 1)", rows: channels,
            inChannels: narrows ? channels / 2 : channels, kernelHeight: 3, kernelWidth: 3))
        strides.append(narrows ? 2 : 1)
        pixels.append(32 >> stage)
      }
    }
    let head = SparseLayerShape(name: "linear", rows: 10, inChannels: 64)
    let budgets = try ErdosRenyi().budgets(for: shapes + [head], sparsity: 0.98)
    return distinct(
      shapes.indices.map { i in
        LayerCase(
          name: "resnet56.\(shapes[i].name)", outputs: shapes[i].rows, inputs: shapes[i].inChannels,
          geometry: ConvolutionGeometry(kernel: 3, stride: strides[i], padding: 1), height: pixels[i],
          width: pixels[i], batch: 128, connections: budgets[i])
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
  /// The layer on a batch. A linear layer at several positions (tokens) is a 1x1 convolution over them.
  func benchCase(name: String, batch: Int, connections: Int) -> LayerCase {
    let height = (1...max(1, Int(Double(positions).squareRoot()))).last { positions % $0 == 0 } ?? 1
    let pointwise = positions > 1 ? ConvolutionGeometry(kernel: 1) : nil
    return LayerCase(
      name: name, outputs: shape.rows, inputs: shape.inChannels, geometry: geometry ?? pointwise, height: height,
      width: positions / height, batch: batch, connections: connections)
  }
}

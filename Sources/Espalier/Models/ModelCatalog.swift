import EspalierCore

/// The models that have a name.
public enum ModelCatalog {
  /// What a named model is made for and with.
  public struct Request: Sendable, Hashable {
    /// One of `ModelCatalog.names`.
    public var name: String
    /// Multiplies channels.
    public var width: Double
    /// Units of `mlp`'s hidden layers.
    public var hidden: [Int]
    /// The data set's images as stored.
    public var images: FeatureSize
    /// Number of classes: the head's outputs.
    public var classes: Int

    /// What `ModelCatalog.spec(_:)` shall describe; checked there.
    public init(name: String, width: Double = 1, hidden: [Int] = defaultHidden, images: FeatureSize, classes: Int) {
      self.name = name
      self.width = width
      self.hidden = hidden
      self.images = images
      self.classes = classes
    }
  }

  /// Units of `mlp`'s hidden layers where nothing else is asked for.
  public static let defaultHidden = [512, 512]

  /// All names, as the command line lists them.
  public static let names: [String] =
    ["mlp"] + CIFARResNet.depths.map { "resnet\($0)" } + VGG.smallNames + SimpleViT.names + ImageNetResNet.names
    + VGG.imageNetNames

  /// Whether a model was designed for ImageNet: for large images of a thousand classes.
  public static func isForImageNet(_ name: String) -> Bool {
    name == "simple-vit" || ImageNetResNet.names.contains(name) || VGG.imageNetNames.contains(name)
  }

  /// Whether a model comes in several widths.
  package static func takesWidth(_ name: String) -> Bool {
    !ImageNetResNet.names.contains(name) && !VGG.imageNetNames.contains(name)
  }

  /// - Throws: `EspalierError.usage` for an unknown name, a width or a hidden size that makes no model.
  public static func spec(_ request: Request) throws -> ModelSpec {
    guard request.width > 0, request.width.isFinite, request.width <= 1024 else {
      throw EspalierError.usage("width: \(request.width) is out of range; expected above 0 and at most 1024")
    }
    if request.name == "mlp" { return try mlp(request) }
    if let model = VGG(request) { return try model.spec(request) }
    if let model = CIFARResNet(request) { return try model.spec(request) }
    if let model = ImageNetResNet(request) { return try model.spec(request) }
    if let model = SimpleViT(request) { return try model.spec(request) }
    try refuse(request.name)
  }

  /// The learning rate that a model trains at unless told otherwise.
  public static func learningRate(of name: String) -> Double {
    if name == "mlp" { return 0.05 }
    return SimpleViT.names.contains(name) ? 0.01 : 0.1
  }

  /// Says that there is no such model.
  private static func refuse(_ name: String) throws -> Never {
    let known = "available: \(names.joined(separator: ", "))"
    let hint = EspalierError.nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
    throw EspalierError.usage("model: '\(name)' is unknown\(hint) (\(known))")
  }

  /// Inputs or units that a layer of `mlp` may have, so that sizes of layers and of their sum fit 64 bits.
  private static let largestLayer = 1 << 24

  /// The pixels as they are, flattened; linear + bias + ReLU for each hidden layer; linear + bias.
  private static func mlp(_ request: Request) throws -> ModelSpec {
    let images = request.images
    guard Double(images.channels) * Double(images.height) * Double(images.width) <= Double(largestLayer) else {
      throw EspalierError.usage(
        "mlp: images of \(images.channels) x \(images.height) x \(images.width) are too large; expected at most \(largestLayer) pixels"
      )
    }
    var layers: [LayerSpec] = [.flatten]
    for units in request.hidden {
      let scaled = max(1, Double(units) * request.width)
      guard units >= 1, scaled <= Double(largestLayer) else {
        throw EspalierError.usage(
          "hidden: \(units) is out of range; expected 1 to \(largestLayer) units, the width of \(request.width) counted in"
        )
      }
      layers += [.linear(name: "layers.\(layers.count - 1)", outputs: Int(scaled)), .relu]
    }
    layers.append(.linear(name: "layers.\(layers.count - 1)", outputs: request.classes))
    return try ModelSpec(name: request.name, input: images, classes: request.classes, layers: layers)
  }
}

extension ModelCatalog.Request {
  /// The input of a model that takes colour images of `side` x `side`: smaller ones are padded, a single channel is repeated.
  ///
  /// - Throws: `EspalierError.usage` where the data set's images do not fit.
  func colourInput(side: Int) throws -> FeatureSize {
    guard images.height <= side, images.width <= side, images.channels == 3 || images.channels == 1 else {
      throw EspalierError.usage(
        "\(name): takes images of at most \(side) x \(side) with 1 or 3 channels, the data set has \(images)")
    }
    return FeatureSize(channels: 3, height: side, width: side)
  }

  /// The input of a convolutional network of ImageNet's: the data set's images in colour, padded to 32 x 32 where they are smaller.
  ///
  /// - Throws: `EspalierError.usage` where they have neither 1 nor 3 channels or are too large.
  func imageNetInput() throws -> FeatureSize {
    let largest = 4096
    guard images.channels == 3 || images.channels == 1, max(images.height, images.width) <= largest else {
      throw EspalierError.usage(
        "\(name): takes images of at most \(largest) x \(largest) with 1 or 3 channels, the data set has \(images)")
    }
    return FeatureSize(channels: 3, height: max(32, images.height), width: max(32, images.width))
  }

  /// - Throws: `EspalierError.usage` for another width than 1, which the convolutional networks of ImageNet's do not take.
  func requireUnitWidth() throws {
    guard width == 1 else {
      throw EspalierError.usage(
        "width: \(width) does not apply to \(name), whose channels are fixed; expected 1, or a model for small images such as resnet20 or vgg16-small"
      )
    }
  }
}

import EspalierCore

/// The models that have a name.
public enum ModelCatalog {
  /// What a named model is made for and with.
  public struct Request: Sendable, Hashable {
    public var name: String
    /// Multiplies channels.
    public var width: Double
    /// Units of `mlp`'s hidden layers.
    public var hidden: [Int]
    /// The data set's images as stored.
    public var images: FeatureSize
    public var classes: Int

    public init(name: String, width: Double = 1, hidden: [Int] = [512, 512], images: FeatureSize, classes: Int) {
      self.name = name
      self.width = width
      self.hidden = hidden
      self.images = images
      self.classes = classes
    }
  }

  public static let names = ["mlp"] + VGGSmall.depths.keys.sorted().map { "vgg\($0)-small" }
  /// Part of the command line's contract, not built yet.
  static let planned =
    ["resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet1202", "simple-vit-tiny", "simple-vit"]
    + ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "vgg11", "vgg13", "vgg16", "vgg19"]

  /// - Throws: `EspalierError.usage` for an unknown name, a width or a hidden size that makes no model.
  public static func spec(_ request: Request) throws -> ModelSpec {
    guard request.width > 0, request.width.isFinite, request.width <= 1024 else {
      throw EspalierError.usage("width: \(request.width) is out of range; expected above 0 and at most 1024")
    }
    if request.name == "mlp" { return try mlp(request) }
    if request.name.hasPrefix("vgg"), request.name.hasSuffix("-small"),
      let depth = Int(request.name.dropFirst(3).dropLast(6)), VGGSmall.depths[depth] != nil
    {
      return try VGGSmall(depth: depth, width: request.width).spec(request)
    }
    try refuse(request.name)
  }

  /// Says that there is no such model.
  private static func refuse(_ name: String) throws -> Never {
    let known = "available: \(names.joined(separator: ", "))"
    guard !planned.contains(name) else {
      throw EspalierError.usage("model: '\(name)' is not in this version; \(known)")
    }
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

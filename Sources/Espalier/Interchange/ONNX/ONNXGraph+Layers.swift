import EspalierCore
import EspalierProtobuf

extension ONNXGraph {
  /// A model as it computes in evaluation mode: dropout is gone, batch norms take their running statistics.
  ///
  /// Images are [batch, channels, height, width], tokens [batch, tokens, features], vectors [batch, features].
  init(_ spec: ModelSpec) throws {
    self.init()
    let last = try add(spec.layers, input: spec.input, to: Self.inputName)
    finish(name: spec.name, input: spec.input, classes: spec.classes, last: last)
  }

  /// Adds layers, one after the other, to the value `x` of size `input`.
  private mutating func add(_ layers: [LayerSpec], input: FeatureSize, to x: String) throws -> String {
    var (x, size) = (x, input)
    for layer in layers {
      x = try add(layer, input: size, to: x)
      size = try layer.output(of: size)
    }
    return x
  }

  private mutating func add(_ layer: LayerSpec, input: FeatureSize, to x: String) throws -> String {
    switch layer {
    case .convolution(let name, _, let geometry, let bias):
      return add("Conv", [x, "\(name).weight"] + (bias ? ["\(name).bias"] : []), Self.window(geometry))
    case .linear(let name, _, let bias): return linear(name, bias: bias, input: input, to: x)
    case .batchNorm(let name, let relu):
      let state = ["weight", "bias", "running_mean", "running_var"].map { "\(name).\($0)" }
      let y = add("BatchNormalization", [x] + state, ["epsilon": .real(BatchNormState.epsilon)])
      return relu ? add("Relu", [y]) : y
    case .layerNorm(let name):
      return add(
        "LayerNormalization", [x, "\(name).weight", "\(name).bias"],
        ["axis": .number(-1), "epsilon": .real(LayerNormState.epsilon)])
    case .relu: return add("Relu", [x])
    case .gelu: return gelu(x)
    case .maxPool(let geometry): return add("MaxPool", [x], Self.window(geometry))
    case .averagePool(let geometry): return averagePool(geometry, to: x)
    case .adaptiveAveragePool(let height, let width):
      return adaptiveAveragePool(height: height, width: width, input: input, to: x)
    case .globalAveragePool:
      guard !input.isTokens else { return add("ReduceMean", [x], ["axes": .numbers([1]), "keepdims": .number(0)]) }
      return add("Flatten", [add("GlobalAveragePool", [x])])
    case .dropout: return x
    case .flatten: return add("Flatten", [x])
    case .residual(let body, let shortcut, let relu):
      let sum = add("Add", [try add(body, input: input, to: x), try add(shortcut, input: input, to: x)])
      return relu ? add("Relu", [sum]) : sum
    case .paddedShortcut(let outChannels, let stride):
      return paddedShortcut(added: outChannels - input.channels, stride: stride, to: x)
    case .patches(let size): return patches(size: size, input: input, to: x)
    case .positionEmbedding: return positionEmbedding(input, to: x)
    case .attention(let heads, let size): return attention(heads: heads, size: size, tokens: input.positions, to: x)
    }
  }

  private static func window(_ geometry: ConvolutionGeometry) -> KeyValuePairs<String, Attribute> {
    [
      "kernel_shape": .numbers([geometry.kernelHeight, geometry.kernelWidth]),
      "strides": .numbers([geometry.stride, geometry.stride]),
      "pads": .numbers([Int](repeating: geometry.padding, count: 4)),
    ]
  }

  private static func window(_ geometry: PoolGeometry) -> KeyValuePairs<String, Attribute> {
    window(ConvolutionGeometry(kernel: geometry.kernel, stride: geometry.stride, padding: geometry.padding))
  }

  private mutating func linear(_ name: String, bias: Bool, input: FeatureSize, to x: String) -> String {
    let (weight, biases) = ("\(name).weight", bias ? ["\(name).bias"] : [])
    guard input.isTokens else {
      return add("Gemm", [input.positions == 1 ? x : add("Flatten", [x]), weight] + biases, ["transB": .number(1)])
    }
    let product = add("MatMul", [x, add("Transpose", [weight], ["perm": .numbers([1, 0])])])
    return bias ? add("Add", [product] + biases) : product
  }

  /// x * (1 + erf(x / sqrt(2))) / 2
  private mutating func gelu(_ x: String) -> String {
    let (root, one, half) = (
      constant([Float(2).squareRoot()], shape: []), constant([1], shape: []), constant([0.5], shape: [])
    )
    let sum = add("Add", [add("Erf", [add("Div", [x, root])]), one])
    return add("Mul", [add("Mul", [x, sum]), half])
  }

  private mutating func averagePool(_ geometry: PoolGeometry, to x: String) -> String {
    add(
      "AveragePool", [x],
      [
        "kernel_shape": .numbers([geometry.kernel, geometry.kernel]),
        "strides": .numbers([geometry.stride, geometry.stride]),
        "pads": .numbers([Int](repeating: geometry.padding, count: 4)), "count_include_pad": .number(1),
      ])
  }

  /// ONNX has no pooling into shares of any size, so columns and rows are each multiplied by a matrix of means.
  private mutating func adaptiveAveragePool(height: Int, width: Int, input: FeatureSize, to x: String) -> String {
    guard (input.height, input.width) != (height, width) else { return x }
    /// [count, size]: which of `size` positions each of `count` shares averages.
    func shares(_ count: Int, of size: Int) -> [[Float]] {
      (0..<count).map { share in
        let range = share * size / count..<((share + 1) * size + count - 1) / count
        return (0..<size).map { range.contains($0) ? 1 / Float(range.count) : 0 }
      }
    }
    let (rows, columns) = (shares(height, of: input.height), shares(width, of: input.width))
    let transposed = (0..<input.width).flatMap { position in columns.map { $0[position] } }
    let right = constant(transposed, shape: [input.width, width])
    let left = constant(rows.flatMap { $0 }, shape: [height, input.height])
    return add("MatMul", [left, add("MatMul", [x, right])])
  }

  /// Every `stride`-th pixel, between zeros for half of the added channels each.
  private mutating func paddedShortcut(added: Int, stride: Int, to x: String) -> String {
    var y = x
    if stride > 1 {
      let (starts, ends) = (constant([0, 0]), constant([Int(Int32.max), Int(Int32.max)]))
      y = add("Slice", [y, starts, ends, constant([2, 3]), constant([stride, stride])])
    }
    guard added > 0 else { return y }
    return add("Pad", [y, constant([0, added / 2, 0, 0, 0, added / 2, 0, 0])])
  }

  /// Squares of pixels as tokens: features (row, column, channel) of the square.
  private mutating func patches(size: Int, input: FeatureSize, to x: String) -> String {
    let (rows, columns) = (input.height / size, input.width / size)
    let squares = add("Reshape", [x, constant([0, input.channels, rows, size, columns, size])])
    let tokens = add("Transpose", [squares], ["perm": .numbers([0, 2, 4, 3, 5, 1])])
    return add("Reshape", [tokens, constant([0, rows * columns, size * size * input.channels])])
  }

  private mutating func positionEmbedding(_ input: FeatureSize, to x: String) -> String {
    let embedding = PositionEmbedding(
      channels: input.channels, height: input.height, width: input.width, meter: AllocationMeter())
    return add("Add", [x, constant(embedding.values.array, shape: [input.positions, input.channels])])
  }

  /// softmax(q k' / sqrt(size)) v for each head; features are queries head by head, then keys, then values.
  private mutating func attention(heads: Int, size: Int, tokens: Int, to x: String) -> String {
    let split = add("Reshape", [x, constant([0, tokens, 3, heads, size])])
    // [3, batch, heads, tokens, size]
    let stacked = add("Transpose", [split], ["perm": .numbers([2, 0, 3, 1, 4])])
    let parts = (0..<3).map { part in
      add(
        "Squeeze",
        [add("Slice", [stacked, constant([part]), constant([part + 1]), constant([0])]), constant([0])])
    }
    let keys = add("Transpose", [parts[1]], ["perm": .numbers([0, 1, 3, 2])])
    let scale = constant([1 / Float(size).squareRoot()], shape: [])
    let scores = add("Mul", [add("MatMul", [parts[0], keys]), scale])
    let result = add("MatMul", [add("Softmax", [scores], ["axis": .number(-1)]), parts[2]])
    let joined = add("Transpose", [result], ["perm": .numbers([0, 2, 1, 3])])
    return add("Reshape", [joined, constant([0, tokens, heads * size])])
  }
}

extension ModelSpec {
  /// The graph alone, without weights.
  package func onnxGraph() throws -> Onnx_GraphProto { try ONNXGraph(self).proto }
}

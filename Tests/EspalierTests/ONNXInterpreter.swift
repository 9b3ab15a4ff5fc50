import EspalierProtobuf
import Foundation

/// Numbers of a shape, row-major, in Double.
struct PlainTensor {
  var shape: [Int]
  var numbers: [Double]

  var strides: [Int] {
    shape.indices.map { shape[($0 + 1)...].reduce(1, *) }
  }

  /// The indices of a flat place.
  static func indices(_ place: Int, _ shape: [Int]) -> [Int] {
    shape.indices.map { place / shape[($0 + 1)...].reduce(1, *) % shape[$0] }
  }

  /// A tensor by a rule for each element.
  init(_ shape: [Int], _ rule: ([Int]) -> Double) {
    self.shape = shape
    numbers = (0..<shape.reduce(1, *)).map { rule(Self.indices($0, shape)) }
  }

  init(shape: [Int], numbers: [Double]) { (self.shape, self.numbers) = (shape, numbers) }

  subscript(_ indices: [Int]) -> Double { numbers[zip(indices, strides).reduce(0) { $0 + $1.0 * $1.1 }] }

  /// Zero outside.
  func padded(_ indices: [Int], outside: Double = 0) -> Double {
    zip(indices, shape).allSatisfy { 0 <= $0 && $0 < $1 } ? self[indices] : outside
  }

  /// The element that broadcasting puts at `indices`.
  func broadcast(_ indices: [Int]) -> Double {
    self[zip(indices.suffix(shape.count), shape).map { $1 == 1 ? 0 : $0 }]
  }

  static func elementwise(_ a: PlainTensor, _ b: PlainTensor, _ rule: (Double, Double) -> Double) -> PlainTensor {
    let rank = max(a.shape.count, b.shape.count)
    func size(_ tensor: PlainTensor, _ axis: Int) -> Int {
      axis < rank - tensor.shape.count ? 1 : tensor.shape[axis - rank + tensor.shape.count]
    }
    return PlainTensor((0..<rank).map { max(size(a, $0), size(b, $0)) }) { rule(a.broadcast($0), b.broadcast($0)) }
  }
}

/// Runs the ONNX operators that exports use, slowly and plainly, as docs/Operators.md of github.com/onnx/onnx defines them.
struct ONNXInterpreter {
  struct Unknown: Error { let name: String }

  let graph: Onnx_GraphProto
  private var values: [String: PlainTensor] = [:]

  init(_ graph: Onnx_GraphProto) {
    self.graph = graph
    for tensor in graph.initializer {
      let bytes = [UInt8](tensor.rawData)
      let isInteger = tensor.dataType == 7
      values[tensor.name] = PlainTensor(
        shape: tensor.dims.map { Int($0) },
        numbers: bytes.withUnsafeBytes { raw in
          (0..<bytes.count / (isInteger ? 8 : 4)).map {
            isInteger
              ? Double(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self))
              : Double(raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self))
          }
        })
    }
  }

  mutating func callAsFunction(_ input: PlainTensor) throws -> PlainTensor {
    values[graph.input[0].name] = input
    for node in graph.node {
      let inputs = try node.input.map { name in
        guard let value = values[name] else { throw Unknown(name: name) }
        return value
      }
      values[node.output[0]] = try Operation(node: node, inputs: inputs).result()
    }
    guard let output = values[graph.output[0].name] else { throw Unknown(name: graph.output[0].name) }
    return output
  }
}

private struct Operation {
  let node: Onnx_NodeProto
  let inputs: [PlainTensor]

  private var x: PlainTensor { inputs[0] }
  private func attribute(_ name: String) -> Onnx_AttributeProto? { node.attribute.first { $0.name == name } }
  private func integers(_ name: String) -> [Int] { (attribute(name)?.ints ?? []).map { Int($0) } }
  private func integers(_ input: Int) -> [Int] { inputs[input].numbers.map { Int($0) } }
  private var epsilon: Double { Double(attribute("epsilon")?.f ?? 0) }

  func result() throws -> PlainTensor {
    switch node.opType {
    case "Add": .elementwise(inputs[0], inputs[1], +)
    case "Mul": .elementwise(inputs[0], inputs[1], *)
    case "Div": .elementwise(inputs[0], inputs[1], /)
    case "Relu": PlainTensor(shape: x.shape, numbers: x.numbers.map { max(0, $0) })
    case "Erf": PlainTensor(shape: x.shape, numbers: x.numbers.map { erf($0) })
    case "Flatten": PlainTensor(shape: [x.shape[0], x.shape[1...].reduce(1, *)], numbers: x.numbers)
    case "Reshape": reshape()
    case "Transpose": transpose()
    case "Squeeze": squeeze()
    case "Slice": slice()
    case "Pad": pad()
    case "Gemm": gemm()
    case "MatMul": matMul()
    case "Softmax": softmax()
    case "ReduceMean": reduceMean()
    case "BatchNormalization": batchNormalization()
    case "LayerNormalization": layerNormalization()
    case "GlobalAveragePool": globalAveragePool()
    case "Conv": window(sum: true)
    case "MaxPool", "AveragePool": window(sum: false)
    default: throw ONNXInterpreter.Unknown(name: node.opType)
    }
  }

  private func reshape() -> PlainTensor {
    let wanted = integers(1).enumerated().map { $1 == 0 ? x.shape[$0] : $1 }
    return PlainTensor(shape: wanted, numbers: x.numbers)
  }

  private func transpose() -> PlainTensor {
    let order = integers("perm")
    return PlainTensor(order.map { x.shape[$0] }) { indices in
      var source = [Int](repeating: 0, count: order.count)
      for (axis, from) in order.enumerated() { source[from] = indices[axis] }
      return x[source]
    }
  }

  private func squeeze() -> PlainTensor {
    let axes = integers(1)
    return PlainTensor(
      shape: x.shape.enumerated().filter { !axes.contains($0.offset) }.map(\.element), numbers: x.numbers)
  }

  /// Inputs: starts, ends, axes and, perhaps, steps.
  private func slice() -> PlainTensor {
    let (starts, ends, axes) = (integers(1), integers(2), integers(3))
    let steps = inputs.count > 4 ? integers(4) : axes.map { _ in 1 }
    var (shape, first, step) = (x.shape, x.shape.map { _ in 0 }, x.shape.map { _ in 1 })
    for (i, axis) in axes.enumerated() {
      first[axis] = starts[i]
      step[axis] = steps[i]
      shape[axis] = (min(ends[i], x.shape[axis]) - starts[i] + steps[i] - 1) / steps[i]
    }
    return PlainTensor(shape) { indices in x[indices.indices.map { first[$0] + indices[$0] * step[$0] }] }
  }

  private func pad() -> PlainTensor {
    let (pads, rank) = (integers(1), x.shape.count)
    return PlainTensor((0..<rank).map { x.shape[$0] + pads[$0] + pads[rank + $0] }) { indices in
      x.padded(indices.indices.map { indices[$0] - pads[$0] })
    }
  }

  /// x W' + b
  private func gemm() -> PlainTensor {
    PlainTensor([x.shape[0], inputs[1].shape[0]]) { at in
      let sum = (0..<x.shape[1]).reduce(0) { $0 + x[[at[0], $1]] * inputs[1][[at[1], $1]] }
      return sum + (inputs.count > 2 ? inputs[2][[at[1]]] : 0)
    }
  }

  private func matMul() -> PlainTensor {
    let (a, b) = (inputs[0], inputs[1])
    let batch = a.shape.count > b.shape.count ? a.shape.dropLast(2) : b.shape.dropLast(2)
    let inner = b.shape[b.shape.count - 2]
    return PlainTensor(Array(batch) + [a.shape[a.shape.count - 2], b.shape[b.shape.count - 1]]) { at in
      let (front, row, column) = (Array(at.dropLast(2)), at[at.count - 2], at[at.count - 1])
      return (0..<inner).reduce(0) { $0 + a.broadcast(front + [row, $1]) * b.broadcast(front + [$1, column]) }
    }
  }

  private func softmax() -> PlainTensor {
    let sums = lastAxis { row in row.reduce(0) { $0 + exp($1) } }
    return PlainTensor(x.shape) { exp(x[$0]) / sums[Array($0.dropLast())] }
  }

  /// One number of each row along the last axis.
  private func lastAxis(_ rule: ([Double]) -> Double) -> PlainTensor {
    PlainTensor(Array(x.shape.dropLast())) { at in rule((0..<x.shape[x.shape.count - 1]).map { x[at + [$0]] }) }
  }

  private func reduceMean() -> PlainTensor {
    PlainTensor([x.shape[0], x.shape[2]]) { at in
      (0..<x.shape[1]).reduce(0) { $0 + x[[at[0], $1, at[1]]] } / Double(x.shape[1])
    }
  }

  private func batchNormalization() -> PlainTensor {
    PlainTensor(x.shape) { at in
      let (scale, shift, mean, variance) = (
        inputs[1].numbers[at[1]], inputs[2].numbers[at[1]], inputs[3].numbers[at[1]], inputs[4].numbers[at[1]]
      )
      return scale * (x[at] - mean) / (variance + epsilon).squareRoot() + shift
    }
  }

  private func layerNormalization() -> PlainTensor {
    let means = lastAxis { $0.reduce(0, +) / Double($0.count) }
    let variances = lastAxis { row in
      let mean = row.reduce(0, +) / Double(row.count)
      return row.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(row.count)
    }
    return PlainTensor(x.shape) { at in
      let (row, feature) = (Array(at.dropLast()), at[at.count - 1])
      let normal = (x[at] - means[row]) / (variances[row] + epsilon).squareRoot()
      return normal * inputs[1].numbers[feature] + inputs[2].numbers[feature]
    }
  }

  private func globalAveragePool() -> PlainTensor {
    PlainTensor([x.shape[0], x.shape[1], 1, 1]) { at in
      var sum = 0.0
      for row in 0..<x.shape[2] { for column in 0..<x.shape[3] { sum += x[[at[0], at[1], row, column]] } }
      return sum / Double(x.shape[2] * x.shape[3])
    }
  }

  /// A convolution where `sum`, else a pool.
  private func window(sum isConvolution: Bool) -> PlainTensor {
    let (kernel, strides, pads) = (integers("kernel_shape"), integers("strides"), integers("pads"))
    let sizes = (0..<2).map { (axis: Int) -> Int in
      let padded = x.shape[2 + axis] + pads[axis] + pads[2 + axis]
      return (padded - kernel[axis]) / strides[axis] + 1
    }
    let isMaximum = node.opType == "MaxPool"
    return PlainTensor([x.shape[0], isConvolution ? inputs[1].shape[0] : x.shape[1]] + sizes) { at in
      var result = isMaximum ? -Double.infinity : 0
      for channel in isConvolution ? 0..<x.shape[1] : at[1]..<at[1] + 1 {
        for i in 0..<kernel[0] {
          for j in 0..<kernel[1] {
            let place = [at[0], channel, at[2] * strides[0] - pads[0] + i, at[3] * strides[1] - pads[1] + j]
            let value = x.padded(place, outside: isMaximum ? -.infinity : 0)
            if isMaximum {
              result = max(result, value)
            } else {
              result +=
                isConvolution ? value * inputs[1][[at[1], channel, i, j]] : value / Double(kernel[0] * kernel[1])
            }
          }
        }
      }
      return result + (isConvolution && inputs.count > 2 ? inputs[2].numbers[at[1]] : 0)
    }
  }
}

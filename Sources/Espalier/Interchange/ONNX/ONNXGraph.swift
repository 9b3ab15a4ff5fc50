import EspalierProtobuf
import Foundation

/// A graph of ONNX operators in the making. Values go by names; weights stand in it by name alone.
///
/// Source: github.com/onnx/onnx, docs/Operators.md, operator set 17.
struct ONNXGraph {
  /// The first with LayerNormalization; onnxruntime runs it from 1.12 on.
  static let operatorSet = 17
  static let inputName = "input"
  static let outputName = "logits"

  private(set) var proto = Onnx_GraphProto()

  enum Attribute {
    case number(Int)
    case numbers([Int])
    case real(Float)
  }

  /// Adds an operator.
  ///
  /// - Returns: the name of its result.
  mutating func add(_ type: String, _ inputs: [String], _ attributes: KeyValuePairs<String, Attribute> = [:]) -> String
  {
    var node = Onnx_NodeProto()
    node.opType = type
    node.name = "\(type)_\(proto.node.count)"
    node.input = inputs
    node.output = ["\(node.name)_output"]
    node.attribute = attributes.map { name, value in
      var attribute = Onnx_AttributeProto()
      attribute.name = name
      switch value {
      case .number(let number): (attribute.type, attribute.i) = (.int, Int64(number))
      case .numbers(let numbers): (attribute.type, attribute.ints) = (.ints, numbers.map(Int64.init))
      case .real(let number): (attribute.type, attribute.f) = (.float, number)
      }
      return attribute
    }
    proto.node.append(node)
    return node.output[0]
  }

  /// Adds a vector of integers: a shape, say.
  mutating func constant(_ numbers: [Int]) -> String {
    constant(.int64, shape: [numbers.count], numbers.flatMap { Self.bytes(Int64($0)) })
  }

  /// Adds numbers of `shape`.
  mutating func constant(_ numbers: [Float], shape: [Int]) -> String {
    constant(.float, shape: shape, numbers.flatMap { Self.bytes($0.bitPattern) })
  }

  private mutating func constant(_ type: Onnx_TensorProto.DataType, shape: [Int], _ bytes: [UInt8]) -> String {
    var tensor = Onnx_TensorProto()
    tensor.name = "constant_\(proto.initializer.count)"
    tensor.dataType = Int32(type.rawValue)
    tensor.dims = shape.map(Int64.init)
    tensor.rawData = Data(bytes)
    proto.initializer.append(tensor)
    return tensor.name
  }

  private static func bytes<T: FixedWidthInteger>(_ number: T) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
  }

  /// Names the graph and what goes in and out; `last` becomes `outputName`.
  mutating func finish(name: String, input: FeatureSize, classes: Int, last: String) {
    proto.name = name
    proto.input = [Self.value(Self.inputName, [input.channels, input.height, input.width])]
    proto.output = [Self.value(Self.outputName, [classes])]
    if let index = proto.node.lastIndex(where: { $0.output == [last] }) {
      proto.node[index].output = [Self.outputName]
    }
  }

  /// Numbers of shape [batch, sizes...], the batch being any.
  private static func value(_ name: String, _ sizes: [Int]) -> Onnx_ValueInfoProto {
    var shape = Onnx_TensorShapeProto()
    shape.dim =
      [Onnx_TensorShapeProto.Dimension()]
      + sizes.map { size in
        var dimension = Onnx_TensorShapeProto.Dimension()
        dimension.dimValue = Int64(size)
        return dimension
      }
    shape.dim[0].dimParam = "batch"
    var value = Onnx_ValueInfoProto()
    value.name = name
    value.type.tensorType.elemType = Int32(Onnx_TensorProto.DataType.float.rawValue)
    value.type.tensorType.shape = shape
    return value
  }
}

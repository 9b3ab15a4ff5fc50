/// The element types of safetensors files, named as the format names them.
///
/// Declared in the official library's order, which sorts the tensors of a file: by width, then as below.
/// Source: the format's description and `Dtype` in github.com/huggingface/safetensors.
public enum SafetensorsType: String, Sendable, CaseIterable {
  case bool = "BOOL"
  case uint8 = "U8"
  case int8 = "I8"
  case int16 = "I16"
  case uint16 = "U16"
  case float16 = "F16"
  case bfloat16 = "BF16"
  case int32 = "I32"
  case uint32 = "U32"
  case float32 = "F32"
  case float64 = "F64"
  case int64 = "I64"
  case uint64 = "U64"

  /// Bytes of one element.
  public var byteWidth: Int {
    switch self {
    case .bool, .uint8, .int8: 1
    case .int16, .uint16, .float16, .bfloat16: 2
    case .int32, .uint32, .float32: 4
    case .float64, .int64, .uint64: 8
    }
  }

  /// Bytes of a tensor of this type: the product of `shape` (1 for a scalar, `[]`) times `byteWidth`.
  ///
  /// Nil where a dimension is negative or a product, taken from the left, overflows.
  public func byteCount(shape: [Int]) -> Int? {
    var count = 1
    for dimension in shape {
      let (product, overflow) = count.multipliedReportingOverflow(by: dimension)
      guard dimension >= 0, !overflow else { return nil }
      count = product
    }
    let (bytes, overflow) = count.multipliedReportingOverflow(by: byteWidth)
    return overflow ? nil : bytes
  }
}

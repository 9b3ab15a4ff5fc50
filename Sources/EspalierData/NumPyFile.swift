import EspalierCore

/// An array in a NumPy file (.npy), open for reading: its header is checked and held, its elements are read when asked for.
///
/// Versions 1 to 3 of the format, elements in row-major (C) order, little-endian. Pickled objects, structured types and column-major
/// arrays are refused. Opening allocates no more than the header's few bytes, whatever shape the header claims.
/// Source: NumPy Enhancement Proposal 1 and `numpy.lib.format`.
public final class NumPyFile: Sendable {
  /// The element types that are read and written, named as NumPy's headers name them.
  public enum ElementType: String, Sendable, CaseIterable {
    /// One byte, 0 or 1.
    case bool = "|b1"
    /// Unsigned, 8 bits.
    case uint8 = "|u1"
    /// Signed, 8 bits.
    case int8 = "|i1"
    /// Unsigned, 16 bits.
    case uint16 = "<u2"
    /// Signed, 16 bits.
    case int16 = "<i2"
    /// Unsigned, 32 bits.
    case uint32 = "<u4"
    /// Signed, 32 bits.
    case int32 = "<i4"
    /// Unsigned, 64 bits.
    case uint64 = "<u8"
    /// Signed, 64 bits.
    case int64 = "<i8"
    /// IEEE 754 single precision.
    case float32 = "<f4"
    /// IEEE 754 double precision.
    case float64 = "<f8"

    /// Bytes of one element.
    public var byteWidth: Int {
      switch self {
      case .bool, .uint8, .int8: 1
      case .uint16, .int16: 2
      case .uint32, .int32, .float32: 4
      case .uint64, .int64, .float64: 8
      }
    }

    /// As NumPy's functions call it.
    public var name: String {
      switch self {
      case .bool: "bool"
      case .uint8: "uint8"
      case .int8: "int8"
      case .uint16: "uint16"
      case .int16: "int16"
      case .uint32: "uint32"
      case .int32: "int32"
      case .uint64: "uint64"
      case .int64: "int64"
      case .float32: "float32"
      case .float64: "float64"
      }
    }
  }

  /// Where the file lies.
  public let path: String
  /// The type of its numbers.
  public let type: ElementType
  /// Empty for a scalar; dimensions may be zero.
  public let shape: [Int]
  /// Number of elements: the product of `shape`.
  public let count: Int
  private let dataStart: Int
  private let file: RandomAccessFile

  /// Opens a file and checks its header against the file's length.
  ///
  /// - Throws: `EspalierError.input` if the file is absent or unreadable, no NumPy file, of a type or an order that is not read here,
  ///   or holds fewer or more bytes than its header tells.
  public init(path: String) throws {
    let file = try RandomAccessFile(path: path)
    let (text, dataStart) = try Self.header(of: file)
    let header = try NumPyHeader(text, of: file)
    guard let type = ElementType(rawValue: header.type) else { throw Self.unreadable(header.type, file) }
    guard !header.isColumnMajor else {
      throw file.failure("expected an array in C order, found Fortran order; save numpy.ascontiguousarray(x)")
    }
    var count = 1
    var bytes = type.byteWidth
    for dimension in header.shape {
      let (elements, tooMany) = count.multipliedReportingOverflow(by: dimension)
      let (size, tooLarge) = elements.multipliedReportingOverflow(by: type.byteWidth)
      guard !tooMany, !tooLarge else {
        throw file.failure("expected an array of fewer than 2^63 bytes, found shape \(header.shape); get it again")
      }
      (count, bytes) = (elements, size)
    }
    guard file.size - dataStart == bytes else {
      throw file.failure(
        "expected \(bytes) bytes of data for \(type.name) \(header.shape), found \(file.size - dataStart); "
          + "truncated or damaged, get it again")
    }
    (self.path, self.file, self.dataStart) = (path, file, dataStart)
    (self.type, shape, self.count) = (type, header.shape, count)
  }

  /// Reads the elements from number `first` on, as many as `buffer` has room for, as they are stored. May be called by several
  /// threads.
  ///
  /// - Precondition: `buffer` is a whole number of elements long.
  /// - Throws: `EspalierError.usage` for elements that the array does not have; `EspalierError.input` if the file fails or has
  ///   shrunk since it was opened.
  public func read(from first: Int = 0, into buffer: UnsafeMutableRawBufferPointer) throws {
    let elements = buffer.count / type.byteWidth
    precondition(elements * type.byteWidth == buffer.count, "elements are read whole")
    guard first >= 0, elements <= count, first <= count - elements else {
      throw EspalierError.usage("\(path): elements \(first) to \(first + elements) asked for, there are \(count)")
    }
    try file.read(into: buffer, at: dataStart + first * type.byteWidth)
  }

  /// The whole array of whole numbers (or of bools, as 0 and 1): for labels and the like.
  ///
  /// - Throws: `EspalierError.input` where the array is of floating-point numbers, or the file fails.
  public func integers() throws -> [Int] {
    switch type {
    case .bool, .uint8: return try elements(UInt8.self).map(Int.init)
    case .int8: return try elements(Int8.self).map(Int.init)
    case .uint16: return try elements(UInt16.self).map(Int.init)
    case .int16: return try elements(Int16.self).map(Int.init)
    case .uint32: return try elements(UInt32.self).map(Int.init)
    case .int32: return try elements(Int32.self).map(Int.init)
    case .uint64:
      return try elements(UInt64.self).enumerated().map { index, value in
        guard let whole = Int(exactly: value) else {
          throw file.failure("expected numbers below 2^63, found \(value) at \(index)")
        }
        return whole
      }
    case .int64: return try elements(Int64.self).map(Int.init)
    case .float32, .float64:
      throw file.failure("expected whole numbers, found \(type.name); save x.astype('int64')")
    }
  }

  private func elements<T: BitwiseCopyable & FixedWidthInteger>(_: T.Type) throws -> [T] {
    try [T](unsafeUninitializedCapacity: count) { buffer, initialized in
      try read(into: UnsafeMutableRawBufferPointer(buffer.extracting(0..<count)))
      initialized = count
    }
  }

  /// What stands between the magic bytes and the data, and where the data start.
  private static func header(of file: RandomAccessFile) throws -> (text: [UInt8], dataStart: Int) {
    func bytes(_ count: Int, at offset: Int) throws -> [UInt8] {
      guard file.size - offset >= count else {
        throw file.failure("expected \(offset + count) bytes at least, found \(file.size); truncated, get it again")
      }
      var result = [UInt8](repeating: 0, count: count)
      try result.withUnsafeMutableBytes { try file.read(into: $0, at: offset) }
      return result
    }
    guard try bytes(6, at: 0) == NumPyHeader.magic else {
      throw file.failure("expected a NumPy file, which starts with \\x93NUMPY, found another; is it a .npy file?")
    }
    let version = try bytes(2, at: 6)
    guard (1...3).contains(version[0]), version[1] == 0 else {
      throw file.failure("expected version 1.0, 2.0 or 3.0 of the format, found \(version[0]).\(version[1])")
    }
    let width = version[0] == 1 ? 2 : 4
    let length = try bytes(width, at: 8).reversed().reduce(0) { $0 << 8 | Int($1) }
    guard length <= NumPyHeader.maximumLength else {
      throw file.failure("expected a header of at most \(NumPyHeader.maximumLength) bytes, found \(length)")
    }
    return (try bytes(length, at: 8 + width), 8 + width + length)
  }

  private static func unreadable(_ type: String, _ file: RandomAccessFile) -> EspalierError {
    let known = ElementType.allCases.map(\.name).joined(separator: ", ")
    guard !type.contains("O") else {
      return file.failure("holds pickled objects, which are not read; save numbers (\(known))")
    }
    return file.failure(
      "expected \(known) (little-endian), found '\(type)'; save x.astype('<f4'), labels y.astype('<i8')")
  }
}

import EspalierCore
import EspalierData

/// A safetensors file, open for reading: its header is checked and held, its tensors are read one at a time.
///
/// Format: `u64` little-endian N, N bytes of JSON (`"name": {"dtype", "shape", "data_offsets"}` and
/// `"__metadata__"`), then the tensors, little-endian and row-major. What is allocated while
/// opening stays in proportion to the file's size.
/// Source: the format's description in github.com/huggingface/safetensors.
public final class SafetensorsFile: Sendable {
  /// One tensor of the file.
  public struct Entry: Sendable, Equatable {
    /// The type of its numbers.
    public let type: SafetensorsType
    /// Empty for a scalar; dimensions may be zero.
    public let shape: [Int]
    /// Counted from the start of the data, as the header does; as many bytes as type and shape ask for.
    public let byteRange: Range<Int>
  }

  /// Where the file lies.
  public let path: String
  /// The texts under `__metadata__`; empty where there are none.
  public let metadata: [String: String]
  /// The tensors' names, in the order of their data.
  public let names: [String]
  private let entries: [String: Entry]
  private let dataStart: Int
  private let input: RandomAccessFile

  /// Opens a file and checks its whole header.
  ///
  /// Names that differ only in Unicode normalization are the same to Swift, and count as duplicates here.
  ///
  /// - Throws: `EspalierError.input` if the file is absent, unreadable or no regular file; if the header is longer than
  ///   100,000,000 bytes or than the file, no UTF-8, or no JSON of the format's form; for duplicate keys at any level,
  ///   unknown dtypes, numbers that are negative or not whole, sizes that overflow or contradict the offsets, and for
  ///   data with a hole, an overlap, too few or too many bytes.
  /// - Complexity: O(n log n) in the header's length; reads no tensor.
  public init(path: String) throws {
    let input = try RandomAccessFile(path: path)
    let bytes = try Self.readHeader(input)
    let header = try SafetensorsHeader(path: path, bytes: bytes, dataLength: input.size - 8 - bytes.count)
    self.path = path
    self.input = input
    dataStart = 8 + bytes.count
    metadata = header.metadata
    names = header.entries.map(\.name)
    entries = Dictionary(header.entries.map { ($0.name, $0.entry) }) { first, _ in first }
  }

  /// Type, shape and place of the tensor `name`; nil where there is none.
  public func entry(named name: String) -> Entry? { entries[name] }

  /// Reads the whole tensor `name` into `buffer`, which must have exactly its size. May be called by several threads.
  ///
  /// - Throws: `EspalierError.input` if there is no such tensor, or the file fails or has shrunk since it was opened;
  ///   `EspalierError.usage` if `buffer` has another size.
  public func read(_ name: String, into buffer: UnsafeMutableRawBufferPointer) throws {
    let entry = try existing(name)
    guard buffer.count == entry.byteRange.count else {
      throw EspalierError.usage(
        "\(path): tensor \(SafetensorsText.quoted(name)) has \(entry.byteRange.count) bytes (\(entry.type.rawValue), "
          + "shape \(entry.shape)), found a buffer of \(buffer.count); pass one of its size")
    }
    try input.read(into: buffer, at: dataStart + entry.byteRange.lowerBound)
  }

  /// Fills `buffer` with the tensor's bytes from number `offset` on.
  ///
  /// - Throws: as `read(_:into:)`; `EspalierError.usage` for bytes that the tensor does not have.
  public func read(_ name: String, from offset: Int, into buffer: UnsafeMutableRawBufferPointer) throws {
    let entry = try existing(name)
    let size = entry.byteRange.count
    guard offset >= 0, buffer.count <= size, offset <= size - buffer.count else {
      throw EspalierError.usage(
        "\(path): tensor \(SafetensorsText.quoted(name)) has \(size) bytes, \(buffer.count) asked for from \(offset) on"
      )
    }
    try input.read(into: buffer, at: dataStart + entry.byteRange.lowerBound + offset)
  }

  private func existing(_ name: String) throws -> Entry {
    if let entry = entries[name] { return entry }
    let hint = EspalierError.nearest(to: name, among: names).map { "did you mean \(SafetensorsText.quoted($0))?" }
    throw input.failure(
      "expected tensor \(SafetensorsText.quoted(name)), found none of that name; \(hint ?? "is it the right file?")")
  }

  /// Bytes of the file.
  public var byteCount: Int { input.size }

  private static func readHeader(_ input: RandomAccessFile) throws -> [UInt8] {
    guard input.size >= 8 else {
      throw input.failure("expected at least 8 bytes, found \(input.size); the file is truncated, get it again")
    }
    var word: UInt64 = 0
    try withUnsafeMutableBytes(of: &word) { try input.read(into: $0, at: 0) }
    let length = UInt64(littleEndian: word)
    guard length <= UInt64(SafetensorsText.maximumHeaderLength) else {
      throw input.failure(
        "expected a header of at most \(SafetensorsText.maximumHeaderLength) bytes, found a length of \(length); "
          + "is it a safetensors file?")
    }
    guard length <= UInt64(input.size - 8) else {
      throw input.failure(
        "expected a header of \(length) bytes, found \(input.size - 8) bytes in the file after its length; "
          + "truncated or no safetensors file, get it again")
    }
    var bytes = [UInt8](repeating: 0, count: Int(length))
    try bytes.withUnsafeMutableBytes { try input.read(into: $0, at: 8) }
    return bytes
  }
}

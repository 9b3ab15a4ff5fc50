import EspalierCore
import EspalierData

/// Writes tensors to a safetensors file, each streamed from where it lies.
///
/// The file is the official library's for the same content: a compact JSON header padded with spaces to a multiple of 8
/// bytes, metadata first, then the tensors by type (`SafetensorsType`'s order, from the last: so the widest come first
/// and all are aligned) and by name, their data without gaps.
/// Source: `serialize_to_file` in github.com/huggingface/safetensors.
public struct SafetensorsWriter {
  /// One tensor to write.
  public struct Entry {
    /// Takes the next bytes of a tensor; they need to live only for the call.
    public typealias Sink = (UnsafeRawBufferPointer) throws -> Void

    /// The tensor's name.
    public let name: String
    /// The type of its numbers.
    public let type: SafetensorsType
    /// Its dimensions, outermost first.
    public let shape: [Int]
    fileprivate let write: (Sink) throws -> Void

    /// - Parameters:
    ///   - name: Any text but `__metadata__`.
    ///   - type: The elements' type; they are little-endian and row-major.
    ///   - shape: Empty for a scalar; dimensions may be zero.
    ///   - write: Passes the tensor's bytes, from the first to the last and in as many pieces as it likes, to the sink.
    ///     Called once by each `write(to:)`. Its own errors end the writing and pass through.
    public init(name: String, type: SafetensorsType, shape: [Int], write: @escaping (_ sink: Sink) throws -> Void) {
      self.name = name
      self.type = type
      self.shape = shape
      self.write = write
    }
  }

  /// In the order of the file, with each one's size in bytes.
  private let entries: [(entry: Entry, byteCount: Int)]
  /// The file's bytes up to the data: the header's length, the header, its padding.
  private let head: [UInt8]

  /// Plans a file of `entries`, given in any order.
  ///
  /// - Throws: `EspalierError.usage` for a name that occurs twice or is `__metadata__`, a negative dimension, a size
  ///   that overflows, and a header of more than 100,000,000 bytes.
  public init(entries: [Entry], metadata: [String: String] = [:]) throws {
    let ordinals = Dictionary(uniqueKeysWithValues: zip(SafetensorsType.allCases, 0...))
    let sorted = entries.sorted { a, b in
      a.type == b.type ? SafetensorsText.precedes(a.name, b.name) : ordinals[a.type]! > ordinals[b.type]!
    }
    var names: Set<String> = [SafetensorsText.metadataKey]
    self.entries = try sorted.map { entry in
      let tensor = "safetensors tensor \(SafetensorsText.quoted(entry.name))"
      guard names.insert(entry.name).inserted else {
        throw EspalierError.usage("\(tensor): expected a name of its own, found it taken; choose another name")
      }
      guard let byteCount = entry.type.byteCount(shape: entry.shape) else {
        throw EspalierError.usage(
          "\(tensor): expected dimensions from zero up, fewer than 2^63 bytes, found shape \(entry.shape); correct it"
        )
      }
      return (entry, byteCount)
    }
    head = try Self.head(of: self.entries, metadata: metadata)
  }

  /// Writes the file, and returns when its bytes are on disk.
  ///
  /// The file appears, or takes the place of an older one, when it is whole; after an error nothing has changed.
  ///
  /// - Throws: `EspalierError.write` if the file cannot be created, written (a full disk) or synchronized;
  ///   `EspalierError.usage` if an entry passed more or fewer bytes than its shape has; an entry's own errors.
  /// - Complexity: O(bytes); holds one small buffer.
  public func write(to path: String) throws {
    let output = try OutputFile(path: path)
    try output.write(head)
    for (entry, byteCount) in entries {
      var written = 0
      try entry.write { bytes in
        written += bytes.count
        guard written <= byteCount else { throw Self.mismatch(path, entry, byteCount, "at least \(written)") }
        try output.write(bytes)
      }
      guard written == byteCount else { throw Self.mismatch(path, entry, byteCount, "\(written)") }
    }
    try output.finish()
  }
}

extension SafetensorsWriter {
  private static func head(of entries: [(entry: Entry, byteCount: Int)], metadata: [String: String]) throws -> [UInt8] {
    var json = Array("{".utf8)
    if !metadata.isEmpty { appendMetadata(metadata, to: &json) }
    var offset = 0
    for (entry, byteCount) in entries {
      let (end, overflow) = offset.addingReportingOverflow(byteCount)
      guard !overflow else {
        throw EspalierError.usage("safetensors: expected tensors of less than 2^63 bytes in all; write fewer of them")
      }
      if json.count > 1 { json.append(UInt8(ascii: ",")) }
      SafetensorsText.appendQuoted(entry.name.utf8, to: &json)
      let shape = entry.shape.map(String.init).joined(separator: ",")
      let type = entry.type.rawValue
      json += Array(#":{"dtype":"\#(type)","shape":[\#(shape)],"data_offsets":[\#(offset),\#(end)]}"#.utf8)
      offset = end
    }
    json.append(UInt8(ascii: "}"))
    json += Array(repeating: UInt8(ascii: " "), count: (8 - json.count % 8) % 8)
    guard json.count <= SafetensorsText.maximumHeaderLength else {
      throw EspalierError.usage(
        "safetensors: expected a header of at most \(SafetensorsText.maximumHeaderLength) bytes, found \(json.count); "
          + "shorten the metadata or write fewer tensors")
    }
    return withUnsafeBytes(of: UInt64(json.count).littleEndian) { Array($0) } + json
  }

  /// Sorted by key, so that equal content makes equal files.
  private static func appendMetadata(_ metadata: [String: String], to json: inout [UInt8]) {
    SafetensorsText.appendQuoted(SafetensorsText.metadataKey.utf8, to: &json)
    json += Array(":{".utf8)
    for (index, key) in metadata.keys.sorted(by: SafetensorsText.precedes).enumerated() {
      if index > 0 { json.append(UInt8(ascii: ",")) }
      SafetensorsText.appendQuoted(key.utf8, to: &json)
      json.append(UInt8(ascii: ":"))
      SafetensorsText.appendQuoted(metadata[key]!.utf8, to: &json)
    }
    json.append(UInt8(ascii: "}"))
  }

  private static func mismatch(_ path: String, _ entry: Entry, _ expected: Int, _ found: String) -> EspalierError {
    .usage(
      "\(path): tensor \(SafetensorsText.quoted(entry.name)): expected \(expected) bytes for \(entry.type.rawValue) "
        + "\(entry.shape), found \(found); pass the whole tensor and no more")
  }
}

import EspZlib
import EspalierCore
import EspalierData

/// Writes ZIP archives whose members are stored as they are, each streamed from where it lies.
///
/// Without the extension for large files: a member, and all of them together, are shorter than 4 GiB.
/// Source: PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.16 (its end).
struct ZipArchive {
  typealias Sink = SafetensorsWriter.Entry.Sink

  struct Member {
    let name: String
    let byteCount: Int
    /// Passes the member's bytes on, from the first to the last. Called twice: for the checksum, then for the file.
    let write: (Sink) throws -> Void
  }

  private let members: [Member]

  init(_ members: [Member]) { self.members = members }

  /// - Throws: `EspalierError.write`; `EspalierError.usage` for what is too large; a member's own errors.
  func write(to path: String) throws {
    let total = members.reduce(0) { $0 + $1.byteCount + 2 * $1.name.utf8.count + 128 }
    guard total < Int(UInt32.max), members.count < Int(UInt16.max) else {
      throw EspalierError.usage(
        "\(path): \(total) bytes are too many for an archive of 4 GiB; write safetensors instead")
    }
    let output = try OutputFile(path: path)
    var directory: [UInt8] = []
    for member in members {
      let offset = output.count
      let fields = Self.fields(of: member, checksum: try Self.checksum(of: member))
      try output.write(Self.bytes(0x0403_4b50 as UInt32) + fields + Array(member.name.utf8))
      try member.write { try output.write($0) }
      directory += Self.bytes(0x0201_4b50 as UInt32) + Self.bytes(20 as UInt16) + fields
      // No comment, first disk, no attributes.
      directory += [UInt8](repeating: 0, count: 10) + Self.bytes(UInt32(offset)) + Array(member.name.utf8)
    }
    let (start, count) = (output.count, Self.bytes(UInt16(members.count)))
    try output.write(directory)
    try output.write(
      Self.bytes(0x0605_4b50 as UInt32) + [0, 0, 0, 0] + count + count + Self.bytes(UInt32(directory.count))
        + Self.bytes(UInt32(start)) + [0, 0])
    try output.finish()
  }

  /// What a local header and the directory's entry have in common.
  private static func fields(of member: Member, checksum: UInt32) -> [UInt8] {
    let (version, utf8Names, stored, midnight, newYear1980) = (20, 1 << 11, 0, 0, 0x21)
    let head = [version, utf8Names, stored, midnight, newYear1980].flatMap { bytes(UInt16($0)) }
    let size = bytes(UInt32(member.byteCount))
    return head + bytes(checksum) + size + size + bytes(UInt16(member.name.utf8.count)) + [0, 0]
  }

  private static func checksum(of member: Member) throws -> UInt32 {
    var checksum = crc32_z(0, nil, 0)
    var count = 0
    try member.write { piece in
      guard piece.count > 0 else { return }
      count += piece.count
      checksum = crc32_z(checksum, piece.baseAddress?.assumingMemoryBound(to: UInt8.self), piece.count)
    }
    guard count == member.byteCount else {
      throw EspalierError.invariant("\(member.name): \(member.byteCount) bytes announced, \(count) passed on")
    }
    return UInt32(truncatingIfNeeded: checksum)
  }

  private static func bytes<T: FixedWidthInteger>(_ number: T) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
  }
}

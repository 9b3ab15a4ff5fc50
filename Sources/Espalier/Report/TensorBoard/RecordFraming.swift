/// The framing of TensorFlow's record files: each record's length and bytes with a checksum of either.
///
/// Source: tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details"; RFC 3720, appendix B.4, for the checksum.
enum RecordFraming {
  /// Length (64 bits), its checksum, the payload, its checksum; little-endian.
  static func record(_ payload: [UInt8]) -> [UInt8] {
    let length = bytes(UInt64(payload.count))
    return length + bytes(maskedChecksum(length)) + payload + bytes(maskedChecksum(payload))
  }

  /// The checksum, turned by 15 bits and moved on, so that checksums of data that hold checksums stay good.
  private static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
    let checksum = checksum(bytes)
    return (checksum >> 15 | checksum << 17) &+ 0xa282_ead8
  }

  /// CRC-32C (Castagnoli).
  static func checksum(_ bytes: [UInt8]) -> UInt32 {
    ~bytes.reduce(~0) { register, byte in table[Int(UInt8(truncatingIfNeeded: register) ^ byte)] ^ register >> 8 }
  }

  private static let table: [UInt32] = (0..<256).map { byte in
    (0..<8).reduce(UInt32(byte)) { register, _ in register >> 1 ^ (register & 1 == 1 ? 0x82f6_3b78 : 0) }
  }

  private static func bytes<T: FixedWidthInteger>(_ number: T) -> [UInt8] {
    withUnsafeBytes(of: number.littleEndian) { Array($0) }
  }
}

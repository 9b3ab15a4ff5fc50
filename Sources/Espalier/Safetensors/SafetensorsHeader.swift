import EspalierCore

/// What a safetensors header tells, checked in itself and against the length of the data that follow it.
struct SafetensorsHeader {
  private(set) var metadata: [String: String] = [:]
  /// Ranges count from the data's start; in the data's order.
  private(set) var entries: [(name: String, entry: SafetensorsFile.Entry)] = []

  /// - Throws: `EspalierError.input` for whatever is no valid header of `dataLength` bytes of data.
  init(path: String, bytes: [UInt8], dataLength: Int) throws {
    guard bytes.first == UInt8(ascii: "{") else {
      throw EspalierError.input(
        "\(path): expected a header that starts with '{', found another byte; is it a safetensors file?")
    }
    var scanner = SafetensorsScanner(path: path, bytes: bytes)
    try scanRoot(&scanner)
    try scanner.scanEnd()
    // Empty tensors come before the one that starts where they are; names make the order unique.
    entries.sort { a, b in
      let (x, y) = (a.entry.byteRange, b.entry.byteRange)
      if x.lowerBound != y.lowerBound { return x.lowerBound < y.lowerBound }
      return x.upperBound != y.upperBound ? x.upperBound < y.upperBound : SafetensorsText.precedes(a.name, b.name)
    }
    try requireCoverage(path: path, dataLength: dataLength)
  }

  private mutating func scanRoot(_ scanner: inout SafetensorsScanner) throws {
    var names: Set<String> = []
    try scanner.scanObject { scanner, name in
      guard names.insert(name).inserted else { throw Self.duplicate(name, scanner) }
      if name == SafetensorsText.metadataKey {
        try scanMetadata(&scanner)
      } else {
        entries.append((name, try Self.scanEntry(&scanner, name: name)))
      }
    }
  }

  private mutating func scanMetadata(_ scanner: inout SafetensorsScanner) throws {
    try scanner.scanObject { scanner, key in
      let value = try scanner.scanString()
      guard metadata.updateValue(value, forKey: key) == nil else { throw Self.duplicate(key, scanner) }
    }
  }

  private static func scanEntry(_ scanner: inout SafetensorsScanner, name: String) throws -> SafetensorsFile.Entry {
    let tensor = "tensor \(SafetensorsText.quoted(name))"
    var type: SafetensorsType?
    var shape: [Int]?
    var offsets: [Int]?
    try scanner.scanObject { scanner, key in
      switch key {
      case "dtype" where type == nil:
        let found = try scanner.scanString()
        guard let known = SafetensorsType(rawValue: found) else {
          let expected = SafetensorsType.allCases.map(\.rawValue).joined(separator: " ")
          throw scanner.failure("\(tensor): expected a dtype of \(expected), found \(SafetensorsText.quoted(found))")
        }
        type = known
      case "shape" where shape == nil: shape = try scanner.scanIntegers()
      case "data_offsets" where offsets == nil: offsets = try scanner.scanIntegers()
      case "dtype", "shape", "data_offsets": throw duplicate(key, scanner)
      default:
        throw scanner.failure(
          "\(tensor): expected \"dtype\", \"shape\" or \"data_offsets\", found \(SafetensorsText.quoted(key))")
      }
    }
    guard let type, let shape, let offsets else {
      throw scanner.failure("\(tensor): expected \"dtype\", \"shape\" and \"data_offsets\", found not all of them")
    }
    guard offsets.count == 2, offsets[0] <= offsets[1] else {
      throw scanner.failure("\(tensor): expected data_offsets [begin, end], found \(abridged(offsets))")
    }
    guard let length = type.byteCount(shape: shape) else {
      throw scanner.failure("\(tensor): expected a size in bytes below 2^63, found shape \(abridged(shape))")
    }
    guard length == offsets[1] - offsets[0] else {
      throw scanner.failure(
        "\(tensor): expected \(length) bytes for \(type.rawValue) \(abridged(shape)), found data_offsets \(offsets)")
    }
    return SafetensorsFile.Entry(type: type, shape: shape, byteRange: offsets[0]..<offsets[1])
  }

  /// Throws unless each tensor starts where the last one ended and the last ends where the data do.
  private func requireCoverage(path: String, dataLength: Int) throws {
    var end = 0
    for (name, entry) in entries {
      let begin = entry.byteRange.lowerBound
      guard begin == end else {
        throw EspalierError.input(
          "\(path): tensor \(SafetensorsText.quoted(name)): expected data from byte \(end), found \(begin): "
            + "tensors \(begin < end ? "overlap" : "leave a hole"); get the file again")
      }
      end = entry.byteRange.upperBound
    }
    guard end == dataLength else {
      throw EspalierError.input(
        "\(path): expected \(end) bytes of data after the header, found \(dataLength): "
          + "\(dataLength < end ? "the file is truncated" : "bytes belong to no tensor"); get it again")
    }
  }

  private static func duplicate(_ key: String, _ scanner: SafetensorsScanner) -> EspalierError {
    scanner.failure("expected each key once, found \(SafetensorsText.quoted(key)) again")
  }

  /// A list for an error's single line: shortened where it is long.
  private static func abridged(_ numbers: [Int]) -> String {
    numbers.count <= 8 ? "\(numbers)" : "\(numbers.count) numbers"
  }
}

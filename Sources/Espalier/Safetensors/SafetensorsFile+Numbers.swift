import EspalierCore

extension SafetensorsType {
  /// The types of numbers that weights come in.
  static let floatingPoint: [SafetensorsType] = [.float32, .float16, .bfloat16, .float64]
}

extension SafetensorsFile {
  /// Numbers that are held at once while a tensor is read in pieces.
  private static let pieceLength = 16_384

  /// Shows the numbers of a floating-point tensor as floats, from the first to the last, piece by piece.
  ///
  /// A number is zero exactly where the stored one is: what is too small for a float becomes the smallest one.
  ///
  /// - Parameters:
  ///   - site: the layer that the memory is for; a piece is then at most rows + columns long.
  ///   - body: takes a piece and the number of its first element; the piece lives only for the call.
  /// - Throws: `EspalierError.input` where there is no such tensor, it is of another type, the file fails, or a number is not finite
  ///   as a float, with its index; what `body` throws.
  func forEachPiece(
    of name: String, site: WeightSite?, meter: AllocationMeter,
    _ body: (_ first: Int, _ numbers: UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    guard let entry = entry(named: name), SafetensorsType.floatingPoint.contains(entry.type) else {
      throw EspalierError.input("\(path): tensor \(SafetensorsText.quoted(name)) is missing or not of numbers")
    }
    let width = entry.type.byteWidth
    let count = entry.byteRange.count / width
    let room = min(count, Self.pieceLength, site.map { $0.rows + $0.columns } ?? .max)
    let floats = MeteredBuffer<Float>(count: room, tag: .transfer, site: site, meter: meter)
    let raw = MeteredBuffer<UInt64>(
      count: entry.type == .float32 ? 0 : room, tag: .transfer, site: site, meter: meter)
    for first in stride(from: 0, to: count, by: max(1, room)) {
      let length = min(room, count - first)
      let numbers = UnsafeMutableBufferPointer(rebasing: floats.buffer[..<length])
      let bytes =
        entry.type == .float32
        ? UnsafeMutableRawBufferPointer(numbers)
        : UnsafeMutableRawBufferPointer(start: raw.pointer, count: length * width)
      try read(name, from: first * width, into: bytes)
      Self.convert(UnsafeRawBufferPointer(bytes), entry.type, into: numbers)
      if let index = numbers.firstIndex(where: { !$0.isFinite }) {
        throw notFinite(name, entry, index: first + index, value: numbers[index])
      }
      try body(first, UnsafeBufferPointer(numbers))
    }
    withExtendedLifetime((floats, raw)) {}
  }

  private static func convert(
    _ bytes: UnsafeRawBufferPointer, _ type: SafetensorsType, into numbers: UnsafeMutableBufferPointer<Float>
  ) {
    switch type {
    case .float64:
      let source = bytes.assumingMemoryBound(to: Double.self)
      for i in numbers.indices { numbers[i] = float(source[i]) }
    case .float16:
      let source = bytes.assumingMemoryBound(to: UInt16.self)
      for i in numbers.indices { numbers[i] = float(halfBits: source[i]) }
    case .bfloat16:
      let source = bytes.assumingMemoryBound(to: UInt16.self)
      for i in numbers.indices { numbers[i] = Float(bitPattern: UInt32(source[i]) << 16) }
    default: break  // read in place
    }
  }

  /// The nearest float; not zero unless the number is.
  private static func float(_ number: Double) -> Float {
    let result = Float(number)
    guard result == 0, number != 0 else { return result }
    return number < 0 ? -.leastNonzeroMagnitude : .leastNonzeroMagnitude
  }

  /// The number with these bits of IEEE 754's binary16.
  private static func float(halfBits bits: UInt16) -> Float {
    let sign = UInt32(bits & 0x8000) << 16
    let (exponent, fraction) = (UInt32(bits >> 10 & 31), UInt32(bits & 0x3ff))
    switch exponent {
    case 0: return Float(sign: sign == 0 ? .plus : .minus, exponent: -24, significand: Float(fraction))
    case 31: return Float(bitPattern: sign | 0x7f80_0000 | fraction << 13)
    default: return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
    }
  }

  private func notFinite(_ name: String, _ entry: Entry, index: Int, value: Float) -> EspalierError {
    var (rest, place) = (index, [Int]())
    for dimension in entry.shape.reversed() {
      place.insert(rest % dimension, at: 0)
      rest /= dimension
    }
    return .input(
      "\(path): tensor \(SafetensorsText.quoted(name)) holds \(value) at \(place); expected finite numbers, as a float "
        + "holds them; was the model diverged?")
  }
}

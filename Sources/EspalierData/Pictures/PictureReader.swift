import EspImages
import EspalierCore
import Glibc

/// Why a picture cannot be used: something about the picture itself, not about the system that it is read from.
package struct PictureDamage: Error {
  package let reason: String
}

/// Reads, decodes, crops and resizes one picture at a time, in memory that it keeps.
package struct PictureReader: ~Copyable {
  /// Bytes that a picture's file may have.
  package static let largestFile = 1 << 28
  /// Memory that is kept from one picture to the next, each of three times.
  private static let keptBytes = 1 << 24
  /// JPEG is decoded at a half, a quarter or an eighth of its size where that leaves at least this factor to the resampling.
  /// On photographs the result then stays within half a grey level, on average, of what decoding all of it gives.
  static let leastReduction = 3.0

  private let isa: esp_isa
  private let size: PictureSize
  private var file = Scratch()
  private var pixels = Scratch()
  private var workspace = Scratch()

  package init(size: PictureSize, instructionSet: InstructionSet) {
    self.size = size
    isa = instructionSet.isa
  }

  /// out [3, height, width] := the part of a file's picture that `crop` chooses by its width and height.
  ///
  /// - Throws: `PictureDamage` where the file holds no picture; `EspalierError.input` that names it where it cannot be opened or
  ///   read, or where there is no memory.
  mutating func read(
    _ files: ImageFiles, _ number: UInt32, into out: UnsafeMutablePointer<UInt8>,
    crop: (_ width: Int, _ height: Int) -> PictureCrop
  ) throws {
    defer { for scratch in [file, pixels, workspace] { scratch.shrink(to: Self.keptBytes) } }
    do {
      let bytes = try files.withSystemPath(number) { try load($0) }
      try decode(bytes, into: out, crop: crop)
    } catch let error as EspalierError {
      throw EspalierError(error.kind, "\(files.path(number)): \(error.message)")
    }
  }

  /// Decodes a picture in memory.
  ///
  /// - Throws: `PictureDamage` where it is none; `EspalierError.input` where there is no memory.
  package mutating func decode(
    _ bytes: UnsafeRawBufferPointer, into out: UnsafeMutablePointer<UInt8>,
    crop: (_ width: Int, _ height: Int) -> PictureCrop
  ) throws {
    let data = bytes.bindMemory(to: UInt8.self)
    var header = esp_image_header()
    try Self.check { esp_image_read_header(data.baseAddress, data.count, &header, $0) }
    let crop = crop(header.width, header.height)
    let reduction = header.format == ESP_IMAGE_JPEG ? Self.reduction(for: crop) : 1
    let (width, height) = (Self.ceil(header.width, reduction), Self.ceil(header.height, reduction))
    let rgb = try pixels.bytes(3 * width * height)
    try Self.check { esp_image_decode(data.baseAddress, data.count, &header, reduction, rgb, $0) }
    var resampling = esp_resampling(crop, size, width: width, height: height, reduction: reduction)
    let memory = try workspace.bytes(esp_resample_workspace(&resampling))
    esp_resample(isa, &resampling, rgb, out, memory)
  }

  /// By how much a JPEG may be decoded smaller.
  package static func reduction(for crop: PictureCrop) -> Int {
    let spare = min(
      Double(crop.width) / Double(crop.resizedWidth), Double(crop.height) / Double(crop.resizedHeight))
    return [8, 4, 2].first { spare / Double($0) >= leastReduction } ?? 1
  }

  private static func ceil(_ size: Int, _ divisor: Int) -> Int { (size + divisor - 1) / divisor }

  private static func check(_ call: (UnsafeMutablePointer<CChar>?) -> Int32) throws {
    try withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(ESP_IMAGE_MESSAGE)) { message in
      message.initialize(repeating: 0)
      guard call(message.baseAddress) == 0 else {
        throw PictureDamage(reason: String(cString: message.baseAddress!))
      }
    }
  }

  /// The contents of a file.
  private func load(_ path: UnsafePointer<CChar>) throws -> UnsafeRawBufferPointer {
    // Not blocking, so that a named pipe is refused below instead of waited for.
    let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw Self.failure("opened", errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw Self.failure("read", errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw PictureDamage(reason: "no regular file") }
    guard status.st_size <= Self.largestFile else {
      throw PictureDamage(reason: "\(status.st_size) bytes; expected at most \(Self.largestFile)")
    }
    let size = Int(status.st_size)
    let buffer = try file.bytes(size)
    var count = 0
    while count < size {
      let more = Glibc.read(descriptor, buffer + count, size - count)
      if more < 0 && errno == EINTR { continue }
      guard more >= 0 else { throw Self.failure("read", errno) }
      guard more > 0 else { throw PictureDamage(reason: "the file shrank") }
      count += more
    }
    return UnsafeRawBufferPointer(start: buffer, count: count)
  }

  /// What the system refused; `read` puts the path in front.
  private static func failure(_ action: String, _ code: Int32) -> EspalierError {
    .input("cannot be \(action): \(String(cString: strerror(code)))")
  }
}

extension PictureReader {
  /// A reader that keeps its memory from one batch to the next.
  final class Shared {
    var reader: PictureReader

    init(size: PictureSize, instructionSet: InstructionSet) {
      reader = PictureReader(size: size, instructionSet: instructionSet)
    }
  }
}

/// Memory that grows as it is asked for.
private final class Scratch {
  private var memory: UnsafeMutablePointer<UInt8>?
  private var capacity = 0

  deinit { free(memory) }

  /// At least `count` bytes, undefined.
  func bytes(_ count: Int) throws -> UnsafeMutablePointer<UInt8> {
    if let memory, count <= capacity { return memory }
    free(memory)
    (memory, capacity) = (nil, 0)
    guard let new = aligned_alloc(64, (max(count, 1) + 63) / 64 * 64) else {
      throw EspalierError.input("cannot be decoded: no memory for \(count) bytes; use fewer threads")
    }
    let bytes = new.assumingMemoryBound(to: UInt8.self)
    (memory, capacity) = (bytes, count)
    return bytes
  }

  /// Gives back what is larger than `limit`.
  func shrink(to limit: Int) {
    guard capacity > limit else { return }
    free(memory)
    (memory, capacity) = (nil, 0)
  }
}

extension esp_resampling {
  /// `crop` of a picture that was decoded to `width` x `height`, smaller by `reduction`.
  fileprivate init(_ crop: PictureCrop, _ size: PictureSize, width: Int, height: Int, reduction: Int) {
    let shrink = 1 / Double(reduction)
    self.init(
      source_width: width, source_height: height, left: Double(crop.left) * shrink, top: Double(crop.top) * shrink,
      width: Double(crop.width) * shrink, height: Double(crop.height) * shrink, resized_width: crop.resizedWidth,
      resized_height: crop.resizedHeight, window_left: crop.windowLeft, window_top: crop.windowTop,
      window_width: size.width, window_height: size.height)
  }
}

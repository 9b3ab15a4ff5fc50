import EspalierCore
import Foundation

/// What a batch of pictures is made of and how.
public struct PictureRequest: Sendable {
  /// Which part of a picture is taken.
  public enum Transform: Sendable {
    /// A random one in that epoch, mirrored half of the time where `flips`.
    case random(TrainingCrop, flips: Bool, epoch: Int, CounterRandom)
    /// The middle of the picture, the same every time.
    case centre
  }

  /// What becomes of a picture that cannot be decoded.
  public enum Damage: Sendable {
    /// The next one of its split that can be decoded takes its place, at most `PictureRequest.replacements` further.
    case replace
    /// The batch is smaller by that picture.
    case leaveOut
  }

  /// How many pictures are tried in a damaged one's place.
  public static let replacements = 100

  /// Where the pictures are.
  public let split: ImageSplit
  /// Which pictures make which batch.
  public let batches: SampleOrder.Batches
  /// Number of the first batch that is made.
  public let first: Int
  /// Which part of a picture is taken.
  public let transform: Transform
  /// Size of the result in pixels.
  public let size: PictureSize
  /// What happens where a picture cannot be decoded.
  public let damage: Damage

  /// - Precondition: the split's images lie in files.
  public init(
    split: ImageSplit, batches: SampleOrder.Batches, first: Int, transform: Transform, size: PictureSize,
    damage: Damage
  ) {
    self.split = split
    self.batches = batches
    self.first = first
    self.transform = transform
    self.size = size
    self.damage = damage
  }
}

/// A batch of decoded pictures, valid until the next one is asked for.
public struct PictureBatch {
  /// [slots, 3, height, width], one byte a pixel.
  public let pixels: UnsafeBufferPointer<UInt8>
  /// The slots that hold a picture, in order.
  public let slots: [UInt32]
  /// For each of them, the index in the split and whether to mirror it.
  public let samples: [UInt32]
  /// Whether each picture is to be mirrored.
  public let flips: [Bool]
}

/// Decodes an epoch's batches in threads of its own, a few batches ahead of whoever asks for them.
///
/// What a batch holds does not depend on the number of threads. They end with the last batch, or with this object.
public final class PictureBatches {
  private let queue: PictureQueue
  private var position: Int
  /// Decodes in the caller's thread; nil where there are others.
  private let inline: PictureReader.Shared?

  /// - Parameters:
  ///   - request: which pictures, and what becomes of them.
  ///   - workers: threads that decode; where none can be started, or none is wanted, batches are decoded when they are asked for.
  ///   - ahead: batches that are kept, the one in use among them; nil: 4, or fewer where those would take more than 256 MiB.
  ///   - instructionSet: whose kernels bring pictures to size.
  /// - Throws: `EspalierError.input` where there is no memory for them.
  public convenience init(
    _ request: PictureRequest, workers: Int, ahead: Int? = nil, instructionSet: InstructionSet
  ) throws {
    try self.init(request, workers: workers, ahead: ahead, stackBytes: nil, instructionSet: instructionSet)
  }

  /// - Parameter stackBytes: of each thread; nil for the system's choice.
  package init(
    _ request: PictureRequest, workers: Int, ahead: Int?, stackBytes: Int?, instructionSet: InstructionSet
  ) throws {
    precondition(workers >= 0)
    let bytes = max(1, (request.batches.first?.count ?? 0) * request.size.bytes)
    let kept = max(1, min(ahead ?? Self.ahead(batchBytes: bytes), request.batches.count - request.first))
    queue = try PictureQueue(request, kept: kept, batchBytes: bytes)
    position = request.first
    let queue = queue
    let started = (0..<workers).prefix { _ in
      DecodingThread.start(stackBytes: stackBytes) { queue.work(instructionSet) }
    }
    inline = started.isEmpty ? PictureReader.Shared(size: request.size, instructionSet: instructionSet) : nil
  }

  /// Batches that are kept where nothing else is asked for.
  static func ahead(batchBytes: Int) -> Int { max(2, min(4, (256 << 20) / batchBytes)) }

  deinit { queue.cancel() }

  /// Calls `body` with the next batch; nil after the last. With `Damage.leaveOut` it may be empty.
  ///
  /// - Throws: `EspalierError.input` where pictures cannot be read, or not be decoded nor replaced; what `body` throws.
  public func withNext<R>(_ body: (PictureBatch) throws -> R) throws -> R? {
    guard position < queue.request.batches.count else { return nil }
    if let inline { queue.decode(position, inline) }
    let batch = try queue.wait(for: position)
    defer {
      queue.release(position)
      position += 1
    }
    return try body(batch)
  }
}

/// The batches that are being decoded, in a ring of buffers.
private final class PictureQueue: @unchecked Sendable {
  // Unchecked: everything below `condition` is touched under it, and each part of a buffer by the one thread that claimed it.

  let request: PictureRequest
  private let kept: Int
  private let buffers: [UnsafeMutablePointer<UInt8>]
  private let batchBytes: Int

  private let condition = NSCondition()
  /// What became of each picture of the batches in the ring: the index in the split that was decoded, or nil.
  private var outcomes: [[UInt32?]]
  /// Pictures of each batch in the ring that nobody has finished.
  private var unfinished: [Int]
  private var failures: [EspalierError?]
  /// The next picture that nobody has claimed.
  private var nextBatch: Int
  private var nextSlot = 0
  /// Batches before this one have been given back.
  private var released: Int
  private var isCancelled = false

  init(_ request: PictureRequest, kept: Int, batchBytes: Int) throws {
    self.request = request
    self.kept = kept
    self.batchBytes = batchBytes
    nextBatch = request.first
    released = request.first
    outcomes = Array(repeating: [], count: kept)
    unfinished = Array(repeating: 0, count: kept)
    failures = Array(repeating: nil, count: kept)
    var buffers: [UnsafeMutablePointer<UInt8>] = []
    for _ in 0..<kept {
      guard let memory = malloc(batchBytes) else {
        buffers.forEach { free($0) }
        throw EspalierError.input("cannot allocate \(batchBytes) bytes for a batch of pictures; use smaller batches")
      }
      buffers.append(memory.assumingMemoryBound(to: UInt8.self))
    }
    self.buffers = buffers
    for batch in request.first..<max(request.first, min(request.first + kept, request.batches.count)) { open(batch) }
  }

  deinit { buffers.forEach { free($0) } }

  /// Makes a place of the ring ready for a batch. Under the lock.
  private func open(_ batch: Int) {
    let count = request.batches[batch].count
    outcomes[batch % kept] = Array(repeating: nil, count: count)
    unfinished[batch % kept] = count
    failures[batch % kept] = nil
  }

  func cancel() {
    condition.withLock {
      isCancelled = true
      condition.broadcast()
    }
  }

  func wait(for batch: Int) throws -> PictureBatch {
    let place = batch % kept
    let outcomes = try condition.withLock { () throws -> [UInt32?] in
      while unfinished[place] > 0 { condition.wait() }
      if let failure = failures[place] { throw failure }
      return self.outcomes[place]
    }
    let slots = outcomes.indices.filter { outcomes[$0] != nil }
    let samples = slots.compactMap { outcomes[$0] }
    return PictureBatch(
      pixels: UnsafeBufferPointer(start: buffers[place], count: outcomes.count * request.size.bytes),
      slots: slots.map(UInt32.init), samples: samples, flips: samples.map(request.flips))
  }

  func release(_ batch: Int) {
    condition.withLock {
      released = batch + 1
      if batch + kept < request.batches.count { open(batch + kept) }
      condition.broadcast()
    }
  }

  /// What a thread does: decodes pictures until there are none.
  func work(_ instructionSet: InstructionSet) {
    let reader = PictureReader.Shared(size: request.size, instructionSet: instructionSet)
    while let (batch, slot) = claim() { decode(batch, slot, reader) }
  }

  /// Decodes one batch in the caller's thread, where there is no other.
  func decode(_ batch: Int, _ reader: PictureReader.Shared) {
    for slot in 0..<request.batches[batch].count { decode(batch, slot, reader) }
  }

  private func decode(_ batch: Int, _ slot: Int, _ reader: PictureReader.Shared) {
    guard case .files(let files) = request.split.storage else { preconditionFailure("the images lie in no files") }
    let out = buffers[batch % kept] + slot * request.size.bytes
    do {
      let sample = try request.decode(request.batches[batch], slot, files, &reader.reader, into: out)
      finish(batch, slot, .success(sample))
    } catch {
      finish(batch, slot, .failure(error))
    }
  }

  private func claim() -> (batch: Int, slot: Int)? {
    condition.withLock {
      while !isCancelled, nextBatch < request.batches.count, nextBatch >= released + kept { condition.wait() }
      guard !isCancelled, nextBatch < request.batches.count else { return nil }
      let claimed = (nextBatch, nextSlot)
      nextSlot += 1
      if nextSlot == request.batches[nextBatch].count { (nextBatch, nextSlot) = (nextBatch + 1, 0) }
      return claimed
    }
  }

  private func finish(_ batch: Int, _ slot: Int, _ result: Result<UInt32?, EspalierError>) {
    let place = batch % kept
    condition.withLock {
      switch result {
      case .success(let sample): outcomes[place][slot] = sample
      case .failure(let error): failures[place] = failures[place] ?? error
      }
      unfinished[place] -= 1
      if unfinished[place] == 0 { condition.broadcast() }
    }
  }
}

extension PictureRequest {
  /// Decodes one picture of a batch, or the one that takes its place, and returns its index in the split; nil where it is left out.
  ///
  /// - Throws: `EspalierError.input` where a file cannot be read, and where nothing can take the place of a damaged picture.
  fileprivate func decode(
    _ batch: ArraySlice<UInt32>, _ slot: Int, _ files: ImageFiles, _ reader: inout PictureReader,
    into out: UnsafeMutablePointer<UInt8>
  ) throws(EspalierError) -> UInt32? {
    let wanted = batch[batch.startIndex + slot]
    let trials = damage == .replace ? min(split.count, 1 + Self.replacements) : 1
    for trial in 0..<trials {
      let sample = UInt32((Int(wanted) + trial) % split.count)
      let number = split.number(of: sample)
      do {
        try reader.read(files, number, into: out) { crop(number, width: $0, height: $1) }
        return sample
      } catch let damage as PictureDamage {
        files.note(number, reason: damage.reason)
      } catch let error as EspalierError {
        throw error
      } catch {
        throw EspalierError.invariant("\(files.path(number)): \(error)")
      }
    }
    guard damage == .replace else { return nil }
    throw EspalierError.input(
      "\(files.path(split.number(of: wanted))): cannot be decoded, nor can the \(trials - 1) images after it; check the data set"
    )
  }

  private func crop(_ number: UInt32, width: Int, height: Int) -> PictureCrop {
    switch transform {
    case .random(let crop, _, let epoch, let random):
      crop.crop(
        width: width, height: height, size: size, picture: number,
        RandomResizedCrop.stream(epoch: epoch, random: random))
    case .centre: CentreCrop.crop(width: width, height: height, size: size)
    }
  }

  /// Whether an image of the split is mirrored.
  fileprivate func flips(_ sample: UInt32) -> Bool {
    guard case .random(_, true, let epoch, let random) = transform else { return false }
    return RandomResizedCrop.flips(split.number(of: sample), RandomResizedCrop.stream(epoch: epoch, random: random))
  }
}

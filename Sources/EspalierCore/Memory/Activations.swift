/// A batch of activations or of gradients of activations, in memory that returns to its pool with the last reference.
///
/// A value with reference semantics for its numbers: copies share them.
public struct Activations {
  /// How the numbers lie.
  public let shape: ActivationShape
  var storage: ActivationStorage
  /// Of a gradient: its sums by channel, where the operation that made it took them on its way.
  var channelSums: ActivationStorage?
  /// Of a gradient that an operation's backward is given: nobody else will read it, so that results may take its place.
  var isDisposable = false

  /// The numbers, laid out as `ActivationShape` says.
  public var pointer: UnsafeMutablePointer<Float> { storage.pointer }
  /// All of `shape.count` numbers, padding lanes included; valid while the value lives.
  public var buffer: UnsafeMutableBufferPointer<Float> {
    UnsafeMutableBufferPointer(start: pointer, count: shape.count)
  }

  /// The same numbers under another shape of as many numbers a sample.
  public func reshaped(tokens: Int = 1, channels: Int, height: Int = 1, width: Int = 1) -> Activations {
    let shape = shape.with(tokens: tokens, channels: channels, height: height, width: width)
    precondition(shape.count == self.shape.count, "a reshape keeps the number of features")
    return Activations(shape: shape, storage: storage)
  }

  /// Offset in `buffer` of a sample's feature (channel-major; token by token).
  public func offset(sample: Int, feature: Int) -> Int {
    (sample / shape.lanes * shape.tokens * shape.features + feature) * shape.lanes + sample % shape.lanes
  }

  /// One number of a sample (channel-major; token by token).
  public subscript(sample sample: Int, feature feature: Int) -> Float {
    get { buffer[offset(sample: sample, feature: feature)] }
    nonmutating set { buffer[offset(sample: sample, feature: feature)] = newValue }
  }
}

extension ComputeContext {
  /// Activations with `number` of each sample's features (channel-major; token by token), and zero in the lanes that pad
  /// the last block.
  public func activations(
    _ shape: ActivationShape, number: (_ sample: Int, _ feature: Int) throws -> Float
  ) rethrows -> Activations {
    let result = pool.activations(shape)
    result.buffer.update(repeating: 0)
    for sample in 0..<shape.samples {
      for feature in 0..<shape.tokens * shape.features {
        result[sample: sample, feature: feature] = try number(sample, feature)
      }
    }
    return result
  }
}

/// One piece of a pool's memory; gives it back when nobody refers to it any more.
final class ActivationStorage {
  let pointer: UnsafeMutablePointer<Float>
  private let capacity: Int
  private let pool: ActivationPool

  init(pool: ActivationPool, count: Int) {
    self.pool = pool
    (pointer, capacity) = pool.take(count: count)
  }

  deinit { pool.giveBack(pointer, capacity: capacity) }
}

/// Memory for activations and workspaces that is kept for the next step, so that steady-state steps ask the system for nothing.
public final class ActivationPool {
  private let meter: AllocationMeter
  private var free: [Int: [UnsafeMutablePointer<Float>]] = [:]
  /// Bytes handed out and not given back, now and at most since `takePeakInUse` was last called.
  private var (inUse, peakInUse) = (0, 0)

  /// An empty pool; `meter` counts what it asks of the system.
  public init(meter: AllocationMeter) { self.meter = meter }

  deinit {
    for (capacity, pointers) in free {
      for pointer in pointers {
        Self.deallocate(pointer, capacity: capacity)
        meter.freed(bytes: Self.bytes(capacity: capacity), tag: .activation)
      }
    }
  }

  /// Undefined activations of a shape.
  public func activations(_ shape: ActivationShape) -> Activations {
    Activations(shape: shape, storage: ActivationStorage(pool: self, count: shape.count))
  }

  /// Undefined workspace of `count` floats.
  func workspace(count: Int) -> ActivationStorage { ActivationStorage(pool: self, count: count) }

  /// Runs `body` with `count` undefined floats.
  package func withWorkspace<R>(count: Int, _ body: (UnsafeMutablePointer<Float>) throws -> R) rethrows -> R {
    let storage = workspace(count: count)
    return try withExtendedLifetime(storage) { try body(storage.pointer) }
  }

  /// Runs `body` with `count` undefined doubles.
  package func withDoubles<R>(count: Int, _ body: (UnsafeMutablePointer<Double>) throws -> R) rethrows -> R {
    try withWorkspace(count: 2 * count) { try $0.withMemoryRebound(to: Double.self, capacity: count, body) }
  }

  /// The most bytes in use since this was last called.
  func takePeakInUse() -> Int {
    defer { peakInUse = inUse }
    return peakInUse
  }

  fileprivate func take(count: Int) -> (UnsafeMutablePointer<Float>, Int) {
    let capacity = Self.capacity(for: count)
    inUse += Self.bytes(capacity: capacity)
    peakInUse = max(peakInUse, inUse)
    if let pointer = free[capacity]?.popLast() { return (pointer, capacity) }
    let bytes = Self.bytes(capacity: capacity)
    let raw: UnsafeMutableRawPointer
    if bytes < Self.coloured {
      raw = .allocate(byteCount: bytes, alignment: 64)
    } else {
      let isHuge = bytes >= hugePage
      let base = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: isHuge ? hugePage : Self.page)
      if isHuge { adviseHugePages(base, bytes: bytes) }
      colour = (colour + Self.colourStep) % Self.page
      raw = base + colour
    }
    meter.allocated(bytes: bytes, elements: capacity, tag: .activation, site: nil)
    return (raw.bindMemory(to: Float.self, capacity: capacity), capacity)
  }

  /// Frees what `take` asked the system for.
  private static func deallocate(_ pointer: UnsafeMutablePointer<Float>, capacity: Int) {
    let raw = UnsafeMutableRawPointer(pointer)
    let offset = capacity * MemoryLayout<Float>.stride < coloured ? 0 : Int(bitPattern: raw) % page
    (raw - offset).deallocate()
  }

  /// What the system is asked for; large buffers have room for a colour.
  private static func bytes(capacity: Int) -> Int {
    let bytes = capacity * MemoryLayout<Float>.stride
    return bytes < coloured ? bytes : bytes + page
  }

  private static let page = 4096
  /// Bytes from which on a buffer gets a colour; it costs a page.
  private static let coloured = 16 * page
  /// Buffers start at different offsets in their pages: the same element of several of them would otherwise compete for the same
  /// few places in the first-level cache.
  private static let colourStep = 256
  private var colour = 0

  fileprivate func giveBack(_ pointer: UnsafeMutablePointer<Float>, capacity: Int) {
    free[capacity, default: []].append(pointer)
    inUse -= Self.bytes(capacity: capacity)
  }

  /// Rounds up to an eighth of the next power of two, so that nearly equal shapes share memory.
  private static func capacity(for count: Int) -> Int {
    let count = max(64, count)
    let step = max(64, 1 << (Int.bitWidth - (count - 1).leadingZeroBitCount - 3))
    return (count + step - 1) / step * step
  }
}

/// A fixed-size array in counted memory: every weight-side number lives in one of these.
///
/// Aligned to a cache line; freed with the last reference. Elements start undefined unless `zeros` made it. `pointer` is valid as long as the
/// buffer lives: a function that uses nothing but the pointer of a local buffer extends its lifetime (`withExtendedLifetime`).
public final class MeteredBuffer<Element: BitwiseCopyable> {
  /// The first element; valid while the buffer lives.
  public let pointer: UnsafeMutablePointer<Element>
  /// Number of elements.
  public let count: Int
  private let bytes: Int
  private let tag: AllocationTag
  private let meter: AllocationMeter

  /// Allocates `count` undefined elements on behalf of `site` (nil for what belongs to no layer).
  public init(count: Int, tag: AllocationTag, site: WeightSite?, meter: AllocationMeter) {
    precondition(count >= 0)
    self.count = count
    self.tag = tag
    self.meter = meter
    bytes = max(1, count) * MemoryLayout<Element>.stride
    let isHuge = bytes >= hugePage
    let raw = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: isHuge ? hugePage : 64)
    if isHuge { adviseHugePages(raw, bytes: bytes) }
    pointer = raw.bindMemory(to: Element.self, capacity: max(1, count))
    meter.allocated(bytes: bytes, elements: count, tag: tag, site: site)
  }

  deinit {
    UnsafeMutableRawPointer(pointer).deallocate()
    meter.freed(bytes: bytes, tag: tag)
  }

  /// All elements; valid while the buffer lives.
  public var buffer: UnsafeMutableBufferPointer<Element> { UnsafeMutableBufferPointer(start: pointer, count: count) }

  /// One element, range-checked.
  public subscript(_ index: Int) -> Element {
    get {
      precondition(index >= 0 && index < count)
      return pointer[index]
    }
    set {
      precondition(index >= 0 && index < count)
      pointer[index] = newValue
    }
  }

  /// A copy in uncounted memory: for tests and small vectors, never for a whole layer of an always-sparse run.
  public var array: [Element] { Array(buffer) }
}

extension MeteredBuffer where Element: AdditiveArithmetic {
  /// A buffer of zeros.
  public static func zeros(count: Int, tag: AllocationTag, site: WeightSite?, meter: AllocationMeter) -> MeteredBuffer {
    let result = MeteredBuffer(count: count, tag: tag, site: site, meter: meter)
    result.buffer.update(repeating: .zero)
    return result
  }
}

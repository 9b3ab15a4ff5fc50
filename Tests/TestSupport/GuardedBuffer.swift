import Glibc

/// Memory with an inaccessible page on either side, one of which its elements touch: an access out of bounds on that
/// side ends the process.
public final class GuardedBuffer<Element: BitwiseCopyable> {
  public let base: UnsafeMutablePointer<Element>
  public let count: Int
  private let region: UnsafeMutableRawPointer
  private let length: Int

  /// A copy of `contents` that touches the page on `side`.
  public init(_ contents: [Element], guarding side: GuardedSide) {
    let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    let bytes = contents.count * MemoryLayout<Element>.stride
    let inner = max(1, (bytes + page - 1) / page) * page
    length = inner + 2 * page
    count = contents.count
    region = mmap(nil, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
    precondition(region != MAP_FAILED && mprotect(region + page, inner, PROT_READ | PROT_WRITE) == 0)
    let start = region + page + (side == .before ? 0 : inner - bytes)
    base = start.bindMemory(to: Element.self, capacity: contents.count)
    base.initialize(from: contents, count: contents.count)
  }

  deinit { munmap(region, length) }

  public var contents: [Element] { Array(UnsafeBufferPointer(start: base, count: count)) }
}

/// The end of a GuardedBuffer that touches an inaccessible page.
public enum GuardedSide: CaseIterable, Sendable { case before, behind }

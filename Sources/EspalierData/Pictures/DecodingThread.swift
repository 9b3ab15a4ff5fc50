import Foundation
import Glibc

/// Threads that the system may refuse, which Foundation's do not tell.
enum DecodingThread {
  private final class Work {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }

  /// Runs `body` in a new thread.
  ///
  /// - Parameter stackBytes: nil for the system's choice.
  /// - Returns: whether the system gave one.
  static func start(stackBytes: Int?, _ body: @escaping @Sendable () -> Void) -> Bool {
    var attributes = pthread_attr_t()
    guard pthread_attr_init(&attributes) == 0 else { return false }
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    if let stackBytes, pthread_attr_setstacksize(&attributes, stackBytes) != 0 { return false }
    let work = Unmanaged.passRetained(Work(body))
    var thread = pthread_t()
    let code = pthread_create(
      &thread, &attributes,
      { context in
        // The name that tools show; where it cannot be set, nothing is lost.
        try? Data("espalier-decode".utf8).write(to: URL(fileURLWithPath: "/proc/thread-self/comm"))
        if let context { Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
        return nil
      }, work.toOpaque())
    if code != 0 { work.release() }
    return code == 0
  }
}

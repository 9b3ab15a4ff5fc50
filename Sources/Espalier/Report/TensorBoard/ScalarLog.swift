import EspalierCore
import EspalierProtobuf
import Foundation

/// Numbers over steps, in a folder of event files that TensorBoard reads.
///
/// Each log writes a file of its own, after those that are there. A log that goes on from a step before their end begins with a mark
/// (a session's start) at which readers forget what they say of this step and later ones.
public final class ScalarLog {
  private let path: String
  private let descriptor: Int32

  /// Opens a new file in `folder`, which is made where there is none.
  ///
  /// - Parameters:
  ///   - folder: gets a file of this log's own.
  ///   - step: the first that this log will speak of.
  /// - Throws: `EspalierError.write` that names the path, as all of this type's functions.
  public init(folder: String, from step: Int) throws {
    do {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    } catch {
      throw EspalierError.write("\(folder): cannot be made: \(error.localizedDescription)")
    }
    let present = Self.eventFiles(in: folder)
    // Readers go through files in the order of their names.
    let stamp = max(Int(Date().timeIntervalSince1970), (present.compactMap(Self.stamp).max() ?? 0) + 1)
    let host = ProcessInfo.processInfo.hostName.filter { $0 != "/" }
    path = "\(folder)/\(Self.prefix)\(String(format: "%010ld", stamp)).\(host).\(getpid()).0"
    descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure("created") }
    try append(step: step) { $0.fileVersion = "brain.Event:2" }
    if !present.isEmpty { try append(step: step) { $0.sessionLog.status = .start } }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Adds points of some curves, at one step.
  public func append(_ scalars: [(tag: String, value: Double)], step: Int) throws {
    guard !scalars.isEmpty else { return }
    try append(step: step) { event in
      event.summary.value = scalars.map { scalar in
        var value = Tensorboard_Summary.Value()
        value.tag = scalar.tag
        value.simpleValue = Float(scalar.value)
        return value
      }
    }
  }

  /// Returns when all points are on disk.
  public func synchronize() throws {
    guard fsync(descriptor) == 0 else { throw failure("synchronized") }
  }

  private static let prefix = "events.out.tfevents."

  private static func eventFiles(in folder: String) -> [String] {
    ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter { $0.hasPrefix(prefix) }
  }

  /// The seconds in an event file's name; nil without any, or with more than ten digits of them, which are no time.
  private static func stamp(_ name: String) -> Int? {
    guard let stamp = name.dropFirst(prefix.count).split(separator: ".").first.flatMap({ Int($0) }) else { return nil }
    return (0...9_999_999_999).contains(stamp) ? stamp : nil
  }

  private func append(step: Int, _ fill: (inout Tensorboard_Event) -> Void) throws {
    var event = Tensorboard_Event()
    event.wallTime = Date().timeIntervalSince1970
    event.step = Int64(step)
    fill(&event)
    let payload: [UInt8] = try event.serializedBytes()
    try RecordFraming.record(payload).withUnsafeBytes { bytes in
      var rest = bytes[...]
      while !rest.isEmpty {
        let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
        if count >= 0 {
          rest = rest.dropFirst(count)
        } else if errno != EINTR {
          throw failure("written")
        }
      }
    }
  }

  /// Names the reason that `errno` holds.
  private func failure(_ verb: String) -> EspalierError {
    .write("\(path): cannot be \(verb): \(String(cString: strerror(errno)))")
  }
}

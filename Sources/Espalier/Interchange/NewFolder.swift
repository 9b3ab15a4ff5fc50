import EspalierCore
import Foundation

/// Folders that appear under their name whole or not at all.
package enum NewFolder {
  /// Makes the folder `path`: `fill` writes its files under a temporary name, which is then changed.
  ///
  /// - Parameter temporary: an existing or new folder on the same file system for the temporary name; `path`'s own by default.
  /// - Throws: `EspalierError.write` that names `path`, also where it is there already and not empty; what `fill` throws.
  package static func make(
    at path: String, temporaryIn temporary: String? = nil, _ fill: (_ folder: String) throws -> Void
  ) throws {
    let files = FileManager.default
    let target = URL(fileURLWithPath: path).path
    let parent = (target as NSString).deletingLastPathComponent
    let unfinished = (temporary ?? parent) + "/.unfinished-" + UUID().uuidString
    do {
      try files.createDirectory(atPath: unfinished, withIntermediateDirectories: true)
      defer { try? files.removeItem(atPath: unfinished) }
      try fill(unfinished)
      try files.createDirectory(atPath: parent, withIntermediateDirectories: true)
      guard rename(unfinished, target) == 0 else {
        let reason =
          [EEXIST, ENOTEMPTY, ENOTDIR].contains(errno) ? "is there already" : String(cString: strerror(errno))
        throw EspalierError.write("\(path): cannot be made: \(reason); choose another name")
      }
    } catch let error as EspalierError {
      throw EspalierError(error.kind, error.message.replacingOccurrences(of: unfinished, with: path))
    } catch {
      throw EspalierError.write("\(path): cannot be made: \(FolderSync.reason(error))")
    }
  }
}

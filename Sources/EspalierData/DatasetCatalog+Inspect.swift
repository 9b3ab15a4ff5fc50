import EspalierCore
import Foundation
import Glibc

extension DatasetCatalog {
  /// Looks for a data set and reads all of it once, one file after the other.
  ///
  /// - Throws: `EspalierError.usage` if there is no data set of that name. Absent and damaged files are reported.
  public static func inspect(
    name: String, directory: String? = nil,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> DatasetReport {
    let description = try description(of: name)
    let location = DatasetLocation(description, directory: directory, environment: environment)
    let files = description.files.map { file in
      guard let path = location.paths[file] else {
        return DatasetReport.File(name: file.name, path: nil, bytes: nil, problem: "not found")
      }
      return DatasetReport.File(
        name: file.name, path: path, bytes: sizeOnDisk(path), problem: problem(description, file, path))
    }
    return DatasetReport(description: description, folders: location.folders, files: files)
  }

  private static func problem(_ description: DatasetDescription, _ file: DatasetFile, _ path: String) -> String? {
    do {
      switch file.content {
      case .images: _ = try readImages(description, file, path, allowsSubsets: false)
      case .labels: _ = try readLabels(description, file, path, allowsSubsets: false)
      }
      return nil
    } catch {
      return "\(error)"
    }
  }

  private static func sizeOnDisk(_ path: String) -> Int? {
    var status = stat()
    return stat(path, &status) == 0 ? Int(status.st_size) : nil
  }
}

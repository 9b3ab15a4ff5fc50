import EspalierCore
import Foundation
import Glibc

extension DatasetCatalog {
  /// Looks for a data set and reads all of it once, one file after the other; of pictures in folders the names alone.
  ///
  /// - Throws: `EspalierError.usage` if there is no data set of that name. Absent and damaged files are reported.
  public static func inspect(
    name: String, directory: String? = nil,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> DatasetReport {
    let description = try published(name)
    let location = DatasetLocation(description, directory: directory, environment: environment)
    var files = description.files.map { file in
      guard let path = location.paths[file] else {
        return DatasetReport.File(name: file.name, path: nil, bytes: nil, problem: "not found")
      }
      let found = Result { try images(in: path, file, description) }
      let problem: String? = if case .failure(let error) = found { "\(error)" } else { nil }
      return DatasetReport.File(
        name: file.name, path: path, bytes: sizeOnDisk(path), images: try? found.get(), problem: problem)
    }
    var whole = description
    if files.allSatisfy(\.isWhole) {
      // What one file alone cannot tell, as whether train and val have the same classes.
      do {
        whole = try Self.description(of: name, directory: directory, environment: environment)
      } catch {
        let last = files.removeLast()
        files.append(
          DatasetReport.File(
            name: last.name, path: last.path, bytes: last.bytes, images: last.images, problem: "\(error)"))
      }
    }
    return DatasetReport(description: whole, folders: location.folders, files: files)
  }

  /// Reads and checks one file, and counts its images; nil for labels.
  private static func images(in path: String, _ file: DatasetFile, _ description: DatasetDescription) throws -> Int? {
    switch (description.format, file.content) {
    case (.records(let labelBytes), _):
      let reader = RecordFiles(description, labelBytes: labelBytes, allowsSubsets: false)
      return try reader.read([path], isTraining: file.isTraining).count
    case (.npy, .images): return try ArrayFiles.readImages(path).shape[0]
    case (.npy, _): _ = try ArrayFiles.labels(path)
    case (.folders, _): return try ClassListing(path, isTraining: file.isTraining).count
    case (_, .images): return try readImages(description, file, path, allowsSubsets: false).count
    default: _ = try readLabels(description, file, path, allowsSubsets: false)
    }
    return nil
  }

  private static func sizeOnDisk(_ path: String) -> Int? {
    var status = stat()
    guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    return Int(status.st_size)
  }
}

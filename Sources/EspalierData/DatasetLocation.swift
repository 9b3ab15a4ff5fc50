import EspalierCore
import Glibc

/// Where the files of a data set lie.
struct DatasetLocation {
  let description: DatasetDescription
  /// Where it was looked for, in order.
  let folders: [String]
  /// The folder taken: the first that has all files, else the first of those that have most of them.
  let folder: String?
  /// What that folder has.
  let paths: [DatasetFile: String]

  init(_ description: DatasetDescription, directory: String?, environment: [String: String]) {
    self.description = description
    folders = DatasetCatalog.folders(for: description, directory: directory, environment: environment)
    var best: (folder: String, paths: [DatasetFile: String])?
    for folder in folders {
      let paths = Self.paths(of: description.files, in: folder)
      if paths.count > best?.paths.count ?? 0 { best = (folder, paths) }
    }
    folder = best?.folder
    paths = best?.paths ?? [:]
  }

  /// Whether every file is there.
  var isWhole: Bool { description.files.allSatisfy { paths[$0] != nil } }

  /// The path of every file.
  ///
  /// - Throws: `EspalierError.input` that names what is missing, where it was looked for and how to get it.
  func requireAll() throws -> [DatasetFile: String] {
    let missing = description.files.filter { paths[$0] == nil }
    if missing.isEmpty { return paths }
    let names = missing.map { $0.name + ($0.spellings.count > 1 ? "[.gz]" : "") }.joined(separator: ", ")
    let places = folder ?? folders.joined(separator: ", ")
    throw EspalierError.input(
      "data set \(description.name): expected \(names) in \(places), found \(folder == nil ? "none" : "only others"); "
        + description.hint)
  }

  private static func paths(of files: [DatasetFile], in folder: String) -> [DatasetFile: String] {
    var paths: [DatasetFile: String] = [:]
    for file in files {
      paths[file] = file.spellings.map { folder + "/" + $0 }.first { access($0, F_OK) == 0 }
    }
    return paths
  }
}

import EspalierCore
import Foundation

/// The data sets that can be named on the command line.
public enum DatasetCatalog {
  /// What is known of each of them before anything is read.
  public static let descriptions: [DatasetDescription] = [
    .fashionMNIST, .mnist, .cifar10, .cifar100, .imageNet, .folder, .npy, .synthetic,
  ]

  /// The names of all data sets.
  public static let names = descriptions.map(\.name)

  /// Whether the named data set consists of pictures in files.
  package static func isOfPictures(_ name: String) -> Bool {
    descriptions.contains { $0.name == name && $0.isResizable }
  }

  /// The description of the data set called `name`; of a user's own set, and of folders of pictures, by what is there.
  ///
  /// - Throws: `EspalierError.usage` with the names that are known, if this is none of them; `EspalierError.input` if a user's
  ///   own set is absent or damaged.
  public static func description(
    of name: String, directory: String? = nil,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> DatasetDescription {
    try find(name, directory: directory, environment: environment).description
  }

  /// What a plan needs to know of the data set called `name`: of a published one what is published, without a look at any file; of
  /// a user's own, and of what lies in a folder that the user names, what is there.
  ///
  /// - Throws: as `description(of:directory:environment:)`.
  public static func plannable(
    _ name: String, directory: String? = nil, environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> DatasetDescription {
    let description = try published(name)
    if description.classes > 0, directory == nil { return description }
    return try Self.description(of: name, directory: directory, environment: environment)
  }

  /// What is known of the data set called `name` before anything is read.
  ///
  /// - Throws: `EspalierError.usage` with the names that are known, if this is none of them.
  public static func published(_ name: String) throws -> DatasetDescription {
    if let found = descriptions.first(where: { $0.name == name }) { return found }
    let suggestion = EspalierError.nearest(to: name, among: names).map { "; did you mean '\($0)'?" } ?? ""
    throw EspalierError.usage("dataset: '\(name)' is unknown; known: \(names.joined(separator: ", "))\(suggestion)")
  }

  /// The folders in which `description` is looked for, in order.
  ///
  /// With `directory` (`--data-dir`) it is that folder with its usual sub-folders, and nothing else; without it, the
  /// same below $ESPALIER_DATA, then ~/.cache/espalier/NAME, then where systems' packages put it.
  public static func folders(
    for description: DatasetDescription, directory: String? = nil,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) -> [String] {
    if let directory { return description.subfolders.map { join(directory, $0) } }
    guard !description.isSynthetic else { return [] }
    var folders: [String] = []
    if let root = environment["ESPALIER_DATA"], !root.isEmpty {
      folders += description.subfolders.map { join(root, $0) }
    }
    if let home = environment["HOME"], !home.isEmpty {
      folders.append(join(home, ".cache/espalier/" + description.name))
    }
    return folders + description.systemFolders
  }

  private static func join(_ folder: String, _ name: String) -> String {
    if name.isEmpty { return folder }
    return folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }
}

import EspalierCore
import Foundation

/// The data sets that can be named on the command line.
public enum DatasetCatalog {
  /// What is known of each of them.
  public static let descriptions: [DatasetDescription] = [.fashionMNIST, .mnist, .synthetic]

  /// Names that are promised, but that this version cannot read yet.
  public static let planned = ["cifar10", "cifar100", "imagenet", "folder", "npy"]

  /// The description of the data set called `name`.
  ///
  /// - Throws: `EspalierError.usage` with the names that are known, if this is none of them.
  public static func description(of name: String) throws -> DatasetDescription {
    if let found = descriptions.first(where: { $0.name == name }) { return found }
    let known = descriptions.map(\.name).joined(separator: ", ")
    if planned.contains(name) {
      throw EspalierError.usage("data set '\(name)' cannot be read by this version yet; use one of: \(known)")
    }
    let nearest = EspalierError.nearest(to: name, among: descriptions.map(\.name) + planned)
    let suggestion = nearest.map { "; did you mean '\($0)'?" } ?? ""
    throw EspalierError.usage("unknown data set '\(name)'\(suggestion) Known: \(known)")
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

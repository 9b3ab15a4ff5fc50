import EspalierCore
import Foundation

extension DatasetCatalog {
  /// Reads a data set into memory, one byte a pixel; of pictures in folders the names alone.
  ///
  /// All files come from one folder: the first of `folders(for:)` that has all of them.
  ///
  /// - Parameters:
  ///   - name: one of `names`.
  ///   - directory: where to look, in place of the usual folders.
  ///   - allowsSubsets: whether fewer or more images than were published are accepted.
  ///   - environment: where ESPALIER_DATA and HOME are looked up.
  /// - Throws: `EspalierError.usage` if there is no data set of that name; `EspalierError.input` if a file is absent or
  ///   damaged, names file, expected and found.
  public static func load(
    name: String, directory: String? = nil, allowsSubsets: Bool = false,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> ImageDataset {
    try find(name, directory: directory, allowsSubsets: allowsSubsets, environment: environment).load()
  }

  /// Looks for a data set, so that it is known what it is; a user's own is opened, folders of pictures are listed.
  ///
  /// - Parameters:
  ///   - name: one of `names`.
  ///   - directory: where to look, in place of the usual folders.
  ///   - allowsSubsets: whether fewer or more images than were published are accepted.
  ///   - environment: where ESPALIER_DATA and HOME are looked up.
  /// - Throws: `EspalierError.usage` if there is no data set of that name; `EspalierError.input` if a user's own set, or folders of
  ///   pictures that are there, are damaged. Absent published ones are an error of `FoundDataset.load`.
  public static func find(
    _ name: String, directory: String? = nil, allowsSubsets: Bool = false,
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> FoundDataset {
    let description = try published(name)
    let location = DatasetLocation(description, directory: directory, environment: environment)
    switch description.format {
    case .synthetic: return FoundDataset(description) { try .synthetic() }
    case .idx, .records:
      return FoundDataset(description) {
        try read(description, location.requireAll(), allowsSubsets: allowsSubsets)
      }
    case .npy:
      let files = try ArrayFiles(description, location.requireAll())
      return FoundDataset(files.description, load: files.load)
    case .folders:
      // Models can be planned for ImageNet where it is not at hand.
      if description.classes > 0, !location.isWhole {
        return FoundDataset(description) { try ClassFolders(description, location.requireAll()).dataset }
      }
      let folders = try ClassFolders(description, location.requireAll())
      return FoundDataset(folders.description) { folders.dataset }
    }
  }

  /// Reads a published set that lies in a few files.
  private static func read(
    _ description: DatasetDescription, _ paths: [DatasetFile: String], allowsSubsets: Bool
  ) throws -> ImageDataset {
    func split(isTraining: Bool) throws -> ImageSplit {
      guard case .records(let labelBytes) = description.format else {
        return try readIDX(description, paths, isTraining: isTraining, allowsSubsets: allowsSubsets)
      }
      let reader = RecordFiles(description, labelBytes: labelBytes, allowsSubsets: allowsSubsets)
      let files = description.files.filter { $0.isTraining == isTraining }
      return try reader.read(files.compactMap { paths[$0] }, isTraining: isTraining)
    }
    return ImageDataset(description, train: try split(isTraining: true), test: try split(isTraining: false))
  }

  private static func readIDX(
    _ description: DatasetDescription, _ paths: [DatasetFile: String], isTraining: Bool, allowsSubsets: Bool
  ) throws -> ImageSplit {
    var images: IDXFile.Images?
    var labels: [UInt32] = []
    var labelPath = ""
    for (file, path) in paths where file.isTraining == isTraining {
      if file.content == .images {
        images = try readImages(description, file, path, allowsSubsets: allowsSubsets)
      } else {
        labels = try readLabels(description, file, path, allowsSubsets: allowsSubsets)
        labelPath = path
      }
    }
    guard let images else { throw EspalierError.invariant("data set \(description.name) lists no file of images") }
    guard images.count == labels.count else {
      throw EspalierError.input(
        "\(labelPath): expected \(images.count) labels, as many as there are images, found \(labels.count)")
    }
    return ImageSplit(images: images.pixels, labels: labels)
  }

  /// Reads and checks one file of images.
  static func readImages(
    _ description: DatasetDescription, _ file: DatasetFile, _ path: String, allowsSubsets: Bool
  ) throws -> IDXFile.Images {
    let images = try IDXFile.readImages(path: path)
    guard images.height == description.height && images.width == description.width else {
      throw EspalierError.input(
        "\(path): expected images of \(description.height) x \(description.width) pixels, found "
          + "\(images.height) x \(images.width); is it \(description.name)?")
    }
    try requireCount(description, file, path, images.count, allowsSubsets)
    return images
  }

  /// Reads and checks one file of labels.
  static func readLabels(
    _ description: DatasetDescription, _ file: DatasetFile, _ path: String, allowsSubsets: Bool
  ) throws -> [UInt32] {
    let labels = try IDXFile.readLabels(path: path, classes: description.classes)
    try requireCount(description, file, path, labels.count, allowsSubsets)
    return labels
  }

  private static func requireCount(
    _ description: DatasetDescription, _ file: DatasetFile, _ path: String, _ count: Int, _ allowsSubsets: Bool
  ) throws {
    let expected = file.isTraining ? description.trainCount : description.testCount
    guard allowsSubsets || count == expected else {
      throw EspalierError.input(
        "\(path): expected \(expected) \(file.content), found \(count); \(description.hint)")
    }
  }
}

/// A data set whose place is known, and that is not in memory yet.
public struct FoundDataset {
  /// What is published of it; of a user's own set, and of folders of pictures, what is there.
  public let description: DatasetDescription
  private let read: () throws -> ImageDataset

  init(_ description: DatasetDescription, load: @escaping () throws -> ImageDataset) {
    self.description = description
    read = load
  }

  /// Reads it into memory, one byte a pixel; of pictures in folders the names are there already.
  ///
  /// - Throws: `EspalierError.input` if a file is absent or damaged, names file, expected and found.
  public func load() throws -> ImageDataset { try read() }
}

extension ImageDataset {
  /// - Precondition: the splits' images are of the description's size.
  init(_ description: DatasetDescription, train: ImageSplit, test: ImageSplit) {
    self.init(
      name: description.name, isSynthetic: description.isSynthetic, classes: description.classes,
      channels: description.channels, height: description.height, width: description.width, train: train, test: test)
  }
}

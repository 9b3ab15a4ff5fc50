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
    let description = try published(name)
    let location = DatasetLocation(description, directory: directory, environment: environment)
    switch description.format {
    case .synthetic: return try .synthetic()
    case .idx:
      let paths = try location.requireAll()
      return ImageDataset(
        description,
        train: try readIDX(description, paths, isTraining: true, allowsSubsets: allowsSubsets),
        test: try readIDX(description, paths, isTraining: false, allowsSubsets: allowsSubsets))
    case .records(let labelBytes):
      let paths = try location.requireAll()
      let reader = RecordFiles(description, labelBytes: labelBytes, allowsSubsets: allowsSubsets)
      func split(isTraining: Bool) throws -> ImageSplit {
        let files = description.files.filter { $0.isTraining == isTraining }
        return try reader.read(files.compactMap { paths[$0] }, isTraining: isTraining)
      }
      return ImageDataset(description, train: try split(isTraining: true), test: try split(isTraining: false))
    case .npy: return try ArrayFiles(description, location.requireAll()).load()
    case .folders: return try ClassFolders(description, location.requireAll()).dataset
    }
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

extension ImageDataset {
  /// - Precondition: the splits' images are of the description's size.
  init(_ description: DatasetDescription, train: ImageSplit, test: ImageSplit) {
    self.init(
      name: description.name, isSynthetic: description.isSynthetic, classes: description.classes,
      channels: description.channels, height: description.height, width: description.width, train: train, test: test)
  }
}

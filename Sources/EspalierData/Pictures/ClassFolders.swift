import EspalierCore
import Glibc

/// Pictures in train/CLASS/ and val/CLASS/. A class's index is its name's rank among the names of train, by their bytes.
///
/// Files that end in .jpg, .jpeg or .png, in capitals or not, are taken; names that begin with a dot are not looked at.
struct ClassFolders {
  /// The set as it was found.
  let description: DatasetDescription
  let dataset: ImageDataset

  /// Lists all folders.
  ///
  /// - Throws: `EspalierError.input` where a folder cannot be read, has no class or a class no picture, where val has a class that
  ///   train lacks, and where a class of ImageNet is not named by its synset.
  init(_ published: DatasetDescription, _ paths: [DatasetFile: String]) throws {
    var listings: [Bool: ClassListing] = [:]
    for file in published.files {
      guard let path = paths[file] else {
        throw EspalierError.input("data set \(published.name): expected the folder \(file.name); \(published.hint)")
      }
      let listing = try ClassListing(path, isTraining: file.isTraining)
      if published.classes > 0 { try listing.requireSynsets(published.name) }
      listings[file.isTraining] = listing
    }
    guard let train = listings[true], let test = listings[false] else {
      throw EspalierError.invariant("data set \(published.name) lists no folders")
    }
    var found = published
    found.classes = train.classes.count
    (found.trainCount, found.testCount) = (train.count, test.count)
    description = found
    dataset = ImageDataset(
      found, train: try train.split(classes: train.classes), test: try test.split(classes: train.classes))
  }
}

/// The classes below one folder, and their pictures.
struct ClassListing {
  let path: String
  /// Sorted names, as the system's bytes.
  private(set) var classes: [[UInt8]] = []
  /// Of each class, the number of its pictures.
  private(set) var counts: [Int] = []
  /// Files that are no pictures by their names.
  private(set) var ignored = 0
  /// CLASS/FILE of every picture, class by class, each ended by a zero byte.
  private var names: [UInt8] = []
  private var starts: [Int] = []

  /// Number of pictures.
  var count: Int { starts.count }

  /// - Parameter isTraining: training needs two classes at least, each with a picture; for evaluation classes may be missing.
  init(_ path: String, isTraining: Bool) throws {
    self.path = path
    let entries = try FolderEntries(Array(path.utf8))
    classes = entries.folders.sorted(by: Self.precedes)
    guard !classes.isEmpty else { throw Self.noClasses(path, entries, isTraining: isTraining) }
    for name in classes { try list(name) }
    if isTraining, let empty = counts.firstIndex(of: 0) {
      throw EspalierError.input(
        "\(path)/\(Self.text(classes[empty])): expected pictures (.jpg, .jpeg, .png), found none; add some or remove the folder"
      )
    }
    guard count > 0 else {
      throw EspalierError.input("\(path): expected pictures (.jpg, .jpeg, .png) in CLASS folders, found none")
    }
    guard !isTraining || classes.count > 1 else {
      throw EspalierError.input("\(path): expected two classes at least, found only \(Self.text(classes[0]))")
    }
  }

  private mutating func list(_ name: [UInt8]) throws {
    let entries = try FolderEntries(Array(path.utf8) + [UInt8(ascii: "/")] + name)
    let pictures = entries.files.filter(Self.isPicture).sorted(by: Self.precedes)
    ignored += entries.files.count - pictures.count + entries.dangling
    counts.append(pictures.count)
    for picture in pictures {
      starts.append(names.count)
      names += name
      names.append(UInt8(ascii: "/"))
      names += picture
      names.append(0)
    }
  }

  /// The pictures, labelled by the ranks of their classes among `known`.
  func split(classes known: [[UInt8]]) throws -> ImageSplit {
    let ranks = Dictionary(uniqueKeysWithValues: known.enumerated().map { ($1, UInt32($0)) })
    var labels: [UInt32] = []
    labels.reserveCapacity(count)
    for (name, count) in zip(classes, counts) {
      guard let rank = ranks[name] else {
        throw EspalierError.input(
          "\(path)/\(Self.text(name)): a class that the training folder lacks; expected one of its \(known.count)")
      }
      labels += repeatElement(rank, count: count)
    }
    return ImageSplit(storage: .files(ImageFiles(folder: path, names: names, starts: starts)), labels: labels)
  }

  /// - Throws: `EspalierError.input` that names the first class that is not called n and eight digits.
  func requireSynsets(_ dataset: String) throws {
    func isSynset(_ name: [UInt8]) -> Bool {
      name.count == 9 && name[0] == UInt8(ascii: "n") && name[1...].allSatisfy { (48...57).contains($0) }
    }
    guard let other = classes.first(where: { !isSynset($0) }) else { return }
    throw EspalierError.input(
      "\(path)/\(Self.text(other)): no class of \(dataset); expected the name of a synset, n and 8 digits (n01440764); "
        + "for pictures of your own use --dataset folder")
  }

  private static func noClasses(_ path: String, _ entries: FolderEntries, isTraining: Bool) -> EspalierError {
    let pictures = entries.files.count(where: isPicture)
    guard pictures > 0 else { return .input("\(path): expected a folder a class, found none") }
    let advice =
      isTraining
      ? "move them into \(path)/CLASS/"
      : "move each into \(path)/CLASS/ by the class that it shows, for ImageNet the synset's folder (n01440764 and so on; "
        + "ILSVRC2012_validation_ground_truth.txt counts classes in another order, map its numbers by the development kit's meta.mat)"
    return .input("\(path): expected a folder a class, found \(pictures) pictures side by side; \(advice)")
  }

  private static func precedes(_ a: [UInt8], _ b: [UInt8]) -> Bool { a.lexicographicallyPrecedes(b) }

  private static func text(_ name: [UInt8]) -> String { String(decoding: name, as: UTF8.self) }

  private static let endings = [".jpg", ".jpeg", ".png"].map { Array($0.utf8) }

  private static func isPicture(_ name: [UInt8]) -> Bool {
    let name = name.suffix(5).map { (65...90).contains($0) ? $0 | 32 : $0 }
    return endings.contains { name.suffix($0.count).elementsEqual($0) }
  }
}

/// What lies in a folder, in no order; names are the system's bytes.
private struct FolderEntries {
  private(set) var folders: [[UInt8]] = []
  private(set) var files: [[UInt8]] = []
  /// Links that lead nowhere.
  private(set) var dangling = 0

  init(_ path: [UInt8]) throws {
    guard let folder = path.withCString(opendir) else { throw Self.failure(path, errno) }
    defer { closedir(folder) }
    while let entry = try Self.next(folder, path) {
      let name = withUnsafePointer(to: &entry.pointee.d_name) {
        $0.withMemoryRebound(to: UInt8.self, capacity: Int(NAME_MAX) + 1) {
          Array(UnsafeBufferPointer(start: $0, count: strlen($0)))
        }
      }
      guard name.first != UInt8(ascii: ".") else { continue }
      switch Self.isFolder(name, in: path, type: Int(entry.pointee.d_type)) {
      case true?: folders.append(name)
      case false?: files.append(name)
      case nil: dangling += 1
      }
    }
  }

  /// The next entry of an open folder; nil after the last.
  private static func next(_ folder: OpaquePointer, _ path: [UInt8]) throws -> UnsafeMutablePointer<dirent>? {
    // The end and an error look alike but for this.
    errno = 0
    let entry = readdir(folder)
    let code = errno
    guard entry != nil || code == 0 else { throw failure(path, code) }
    return entry
  }

  private static func failure(_ path: [UInt8], _ code: Int32) -> EspalierError {
    .input("\(String(decoding: path, as: UTF8.self)): cannot be listed: \(String(cString: strerror(code)))")
  }

  /// Links are followed, nil where they lead nowhere; some file systems do not tell the type.
  private static func isFolder(_ name: [UInt8], in path: [UInt8], type: Int) -> Bool? {
    guard type == Int(DT_LNK) || type == Int(DT_UNKNOWN) else { return type == Int(DT_DIR) }
    var status = stat()
    guard (path + [UInt8(ascii: "/")] + name).withCString({ stat($0, &status) }) == 0 else {
      return errno == ENOENT || errno == ELOOP ? nil : false
    }
    return status.st_mode & S_IFMT == S_IFDIR
  }
}

extension [UInt8] {
  /// Calls `body` with the bytes as a C string.
  fileprivate func withCString<R>(_ body: (UnsafePointer<CChar>) -> R) -> R {
    (self + [0]).withUnsafeBytes { $0.withMemoryRebound(to: CChar.self) { body($0.baseAddress!) } }
  }
}

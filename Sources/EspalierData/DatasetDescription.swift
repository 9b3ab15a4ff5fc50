/// What is known of a data set before any of it is read.
public struct DatasetDescription: Sendable, Hashable {
  /// The name on the command line.
  public let name: String

  /// Whether the images are made up.
  public let isSynthetic: Bool

  public let classes: Int

  /// The size of one image as stored.
  public let channels, height, width: Int

  /// Number of images.
  public let trainCount, testCount: Int

  public let normalization: Normalization

  /// Whether training augments unless told otherwise.
  public let augmentsByDefault: Bool

  /// The files that hold it; empty where it is synthetic.
  public let files: [DatasetFile]

  /// Folders, relative to one that the user names, in which it may lie; "" is that folder itself.
  public let subfolders: [String]

  /// Absolute folders in which systems' packages put it.
  public let systemFolders: [String]

  /// How to get it: one line.
  public let hint: String
}

/// One file of a data set.
public struct DatasetFile: Sendable, Hashable {
  public enum Content: Sendable { case images, labels }

  /// The name under which it is published, without `.gz`.
  public let name: String
  public let content: Content
  public let isTraining: Bool

  /// Names that are accepted, in order of preference: plain, then gzip.
  public var spellings: [String] {
    let dotted = name.replacing("-idx", with: ".idx")
    return [name, dotted, name + ".gz", dotted + ".gz"]
  }
}

extension DatasetFile {
  /// The four files of every data set of the MNIST family.
  static let mnistFamily = [
    DatasetFile(name: "train-images-idx3-ubyte", content: .images, isTraining: true),
    DatasetFile(name: "train-labels-idx1-ubyte", content: .labels, isTraining: true),
    DatasetFile(name: "t10k-images-idx3-ubyte", content: .images, isTraining: false),
    DatasetFile(name: "t10k-labels-idx1-ubyte", content: .labels, isTraining: false),
  ]
}

extension DatasetDescription {
  /// Clothing, 10 classes. Source: Xiao, Rasul, Vollgraf 2017 (arXiv 1708.07747).
  static let fashionMNIST = DatasetDescription(
    name: "fashion-mnist", isSynthetic: false, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.2860], deviation: [0.3530]), augmentsByDefault: false,
    files: DatasetFile.mnistFamily, subfolders: ["", "fashion-mnist", "FashionMNIST/raw"],
    systemFolders: ["/usr/share/datasets/fashion-mnist"],
    hint: "on Debian and Ubuntu: apt-get install dataset-fashion-mnist; elsewhere put the four IDX files of "
      + "https://github.com/zalandoresearch/fashion-mnist into one folder and name it with --data-dir")

  /// Handwritten digits. Source: LeCun, Bottou, Bengio, Haffner 1998.
  static let mnist = DatasetDescription(
    name: "mnist", isSynthetic: false, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.1307], deviation: [0.3081]), augmentsByDefault: false,
    files: DatasetFile.mnistFamily, subfolders: ["", "mnist", "MNIST/raw"], systemFolders: [],
    hint: "get the four IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
      + "t10k-labels-idx1-ubyte, plain or .gz) from their owner, put them into one folder and name it with --data-dir")

  /// Made-up images, see `ImageDataset.synthetic`; normalised by the mean and deviation that their law has.
  static let synthetic = DatasetDescription(
    name: "synthetic", isSynthetic: true, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.4971], deviation: [0.2112]), augmentsByDefault: false,
    files: [], subfolders: [], systemFolders: [], hint: "made up in memory; for benchmarks only")
}

import EspalierCore

/// What is known of a data set before any of its images is read.
public struct DatasetDescription: Sendable, Hashable {
  /// How a data set is stored.
  public enum Format: Sendable, Hashable {
    /// Made up in memory.
    case synthetic
    /// MNIST's files, `IDXFile`.
    case idx
    /// CIFAR's binary records, whose last label byte of `labelBytes` counts.
    case records(labelBytes: Int)
    /// NumPy's arrays.
    case npy
    /// Pictures in the folders of their classes.
    case folders
  }

  /// The name on the command line.
  public let name: String
  /// What its files are.
  public let format: Format

  /// 0 where it is the user's own and has not been looked at.
  public internal(set) var classes: Int

  /// The size of one image as stored; of pictures in folders, the size that they are brought to unless the model has its own.
  public internal(set) var channels, height, width: Int

  /// Number of images; 0 where it is the user's own and has not been looked at.
  public internal(set) var trainCount, testCount: Int

  /// Each channel's mean and standard deviation, of pixels in 0 ... 1.
  public internal(set) var normalization: Normalization

  /// Whether training augments unless told otherwise.
  public let augmentsByDefault: Bool

  /// The files, or the folders, that hold it; empty where it is synthetic.
  public let files: [DatasetFile]

  /// Folders, relative to one that the user names, in which it may lie; "" is that folder itself.
  public let subfolders: [String]

  /// Absolute folders in which systems' packages put it.
  public var systemFolders: [String] = []

  /// How to get it: one line.
  public let hint: String

  /// What is checked of its files, and what its owners publish to check by: one line.
  public let checks: String

  /// Whether the images are made up.
  public var isSynthetic: Bool { format == .synthetic }

  /// Whether images are brought to the size that a model wants.
  public var isResizable: Bool { format == .folders }
}

/// One file, or one folder, of a data set.
public struct DatasetFile: Sendable, Hashable {
  /// What a file or folder holds.
  public enum Content: Sendable {
    /// Images alone.
    case images
    /// Their classes alone.
    case labels
    /// Images, each behind its class.
    case records
    /// One folder a class.
    case classes
  }

  /// The name under which it is published, without `.gz`.
  public let name: String
  /// What the file holds.
  public let content: Content
  /// Whether it belongs to the training set.
  public let isTraining: Bool

  /// Names that are accepted, in order of preference: plain, then gzip.
  public var spellings: [String] {
    guard !name.hasSuffix(".npy"), content != .classes else { return [name] }
    let dotted = name.replacing("-idx", with: ".idx")
    return dotted == name ? [name, name + ".gz"] : [name, dotted, name + ".gz", dotted + ".gz"]
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

  static let arrays = [
    DatasetFile(name: "x_train.npy", content: .images, isTraining: true),
    DatasetFile(name: "y_train.npy", content: .labels, isTraining: true),
    DatasetFile(name: "x_test.npy", content: .images, isTraining: false),
    DatasetFile(name: "y_test.npy", content: .labels, isTraining: false),
  ]

  static let classFolders = [
    DatasetFile(name: "train", content: .classes, isTraining: true),
    DatasetFile(name: "val", content: .classes, isTraining: false),
  ]

  static func records(train: [String], test: String) -> [DatasetFile] {
    train.map { DatasetFile(name: $0, content: .records, isTraining: true) }
      + [DatasetFile(name: test, content: .records, isTraining: false)]
  }
}

extension DatasetDescription {
  private static let idxChecks =
    "header, length, number of images, range of labels; gzip's checksum where the files are compressed"

  /// Clothing, 10 classes. Source: Xiao, Rasul, Vollgraf 2017 (arXiv 1708.07747).
  static let fashionMNIST = DatasetDescription(
    name: "fashion-mnist", format: .idx, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.2860], deviation: [0.3530]), augmentsByDefault: false,
    files: DatasetFile.mnistFamily, subfolders: ["", "fashion-mnist", "FashionMNIST/raw"],
    systemFolders: ["/usr/share/datasets/fashion-mnist"],
    hint: "on Debian and Ubuntu: apt-get install dataset-fashion-mnist; elsewhere put the four IDX files of "
      + "https://github.com/zalandoresearch/fashion-mnist into one folder and name it with --data-dir",
    checks: idxChecks)

  /// Handwritten digits. Source: LeCun, Bottou, Bengio, Haffner 1998.
  static let mnist = DatasetDescription(
    name: "mnist", format: .idx, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.1307], deviation: [0.3081]), augmentsByDefault: false,
    files: DatasetFile.mnistFamily, subfolders: ["", "mnist", "MNIST/raw"],
    hint: "get the four IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, "
      + "t10k-labels-idx1-ubyte, plain or .gz) from their owner, put them into one folder and name it with --data-dir",
    checks: idxChecks)

  /// Small photographs, 10 classes. Source: Krizhevsky 2009.
  static let cifar10 = DatasetDescription(
    name: "cifar10", format: .records(labelBytes: 1), classes: 10, channels: 3, height: 32, width: 32,
    trainCount: 50_000, testCount: 10_000,
    normalization: Normalization(mean: [0.4914, 0.4822, 0.4465], deviation: [0.2470, 0.2435, 0.2616]),
    augmentsByDefault: true,
    files: DatasetFile.records(train: (1...5).map { "data_batch_\($0).bin" }, test: "test_batch.bin"),
    subfolders: ["", "cifar-10-batches-bin", "cifar10", "cifar10/cifar-10-batches-bin"],
    hint: "get cifar-10-binary.tar.gz (the binary version) from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it "
      + "and name the folder that cifar-10-batches-bin lies in with --data-dir",
    checks:
      "length of each file, range of every label; published MD5 of the archive cifar-10-binary.tar.gz, which is not "
      + "looked at here: c32a1d4ab5d03f1284b67883e8d87530")

  /// Small photographs, 100 classes (the fine labels). Source: Krizhevsky 2009.
  static let cifar100 = DatasetDescription(
    name: "cifar100", format: .records(labelBytes: 2), classes: 100, channels: 3, height: 32, width: 32,
    trainCount: 50_000, testCount: 10_000,
    normalization: Normalization(mean: [0.5071, 0.4865, 0.4409], deviation: [0.2673, 0.2564, 0.2762]),
    augmentsByDefault: true, files: DatasetFile.records(train: ["train.bin"], test: "test.bin"),
    subfolders: ["", "cifar-100-binary", "cifar100", "cifar100/cifar-100-binary"],
    hint:
      "get cifar-100-binary.tar.gz (the binary version) from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it "
      + "and name the folder that cifar-100-binary lies in with --data-dir",
    checks: "length of each file, range of every coarse and fine label; published MD5 of the archive "
      + "cifar-100-binary.tar.gz, which is not looked at here: 03b5dce01913d631647c71ecec9e9cb8")

  /// Of pictures' red, green and blue.
  private static let imageNetNormalization = Normalization(
    mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225])
  private static let folderChecks =
    "that every class has images and that val has no class that train lacks; pictures are decoded when they are used: "
    + "damaged ones are replaced in training, left out of evaluation, and listed in the log"

  /// Photographs, 1,000 classes. Source: Russakovsky et al. 2015 (arXiv 1409.0575).
  static let imageNet = DatasetDescription(
    name: "imagenet", format: .folders, classes: 1000, channels: 3, height: 224, width: 224, trainCount: 1_281_167,
    testCount: 50_000, normalization: imageNetNormalization, augmentsByDefault: true, files: DatasetFile.classFolders,
    subfolders: ["", "imagenet", "ILSVRC2012", "ILSVRC/Data/CLS-LOC"],
    hint:
      "get ILSVRC 2012 from https://image-net.org, arrange it as train/WNID/*.JPEG and val/WNID/*.JPEG (the images of "
      + "val in the folders of their synsets, n01440764 and so on) and name the folder with --data-dir",
    checks: folderChecks)

  /// A user's own pictures.
  static let folder = DatasetDescription(
    name: "folder", format: .folders, classes: 0, channels: 3, height: 224, width: 224, trainCount: 0, testCount: 0,
    normalization: imageNetNormalization, augmentsByDefault: true, files: DatasetFile.classFolders,
    subfolders: ["", "folder"],
    hint:
      "put pictures (.jpg, .jpeg, .png) into train/CLASS/ and val/CLASS/ and name the folder that train and val lie in "
      + "with --data-dir",
    checks: folderChecks)

  /// A user's own arrays; the size of images, the classes and the normalisation are read from them.
  static let npy = DatasetDescription(
    name: "npy", format: .npy, classes: 0, channels: 0, height: 0, width: 0, trainCount: 0, testCount: 0,
    normalization: .none, augmentsByDefault: false, files: DatasetFile.arrays, subfolders: ["", "npy"],
    hint:
      "save x_train.npy, x_test.npy (N x C x H x W, float32 normalised or uint8) and y_train.npy, y_test.npy (N whole "
      + "numbers from 0 on) with numpy.save and name their folder with --data-dir",
    checks: "header, type, shape, length, range of labels, that no number is infinite or NaN")

  /// Made-up images, see `ImageDataset.synthetic`; normalised by the mean and deviation that their law has.
  static let synthetic = DatasetDescription(
    name: "synthetic", format: .synthetic, classes: 10, channels: 1, height: 28, width: 28, trainCount: 60_000,
    testCount: 10_000, normalization: Normalization(mean: [0.4971], deviation: [0.2112]), augmentsByDefault: false,
    files: [], subfolders: [], hint: "made up in memory; for benchmarks only",
    checks: "nothing: it is made up in memory")
}

extension DatasetDescription {
  /// Memory that the loaded data set takes: of pictures in folders their names, about 32 bytes each, and their labels.
  public var bytesInMemory: Int {
    let image =
      switch format {
      case .folders: 40
      case .npy: channels * height * width * 4
      case .synthetic, .idx, .records: channels * height * width
      }
    return (trainCount + testCount) * (image + 4)
  }

  /// Bytes that its loader holds beside the images: of pictures in folders the batches that are decoded ahead, and what each thread
  /// works in (a photograph of some 500 x 400 pixels).
  public func loaderBytes(batchSize: Int, height: Int, width: Int, threads: Int) -> Int {
    guard format == .folders else { return 0 }
    let batch = batchSize * PictureSize(height: height, width: width).bytes
    return PictureBatches.ahead(batchBytes: max(1, batch)) * batch + threads << 20
  }
}

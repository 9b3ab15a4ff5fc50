import EspalierCore
import EspalierData
import TestSupport
import Testing

@Suite struct DatasetCatalogTests {
  let folder: IDXFolder

  init() throws { folder = try IDXFolder() }

  @Test func describesWhatItKnows() throws {
    for name in ["fashion-mnist", "mnist", "synthetic"] {
      let description = try DatasetCatalog.description(of: name)
      #expect(description.classes == 10 && description.channels == 1 && !description.augmentsByDefault)
      #expect(description.trainCount == 60_000 && description.testCount == 10_000)
      #expect(description.height == 28 && description.width == 28)
    }
    let fashion = try DatasetCatalog.description(of: "fashion-mnist").normalization
    #expect(fashion.mean == [0.2860] && fashion.deviation == [0.3530])
    let digits = try DatasetCatalog.description(of: "mnist").normalization
    #expect(digits.mean == [0.1307] && digits.deviation == [0.3081])
  }

  @Test func publishedSetsArePlannedUnread() throws {
    let folder = try IDXFolder()
    try folder.write([1], to: "train/cat/1.jpg")
    try folder.write([1], to: "val/cat/1.jpg")
    let environment = ["ESPALIER_DATA": folder.path]
    #expect(try DatasetCatalog.plannable("imagenet", environment: environment).classes == 1000)
    #expect(message { _ = try DatasetCatalog.plannable("imagenet", directory: folder.path) }.contains("two classes"))
    #expect(message { _ = try DatasetCatalog.plannable("folder", environment: environment) }.contains("two classes"))
    try folder.write([1], to: "train/dog/1.jpg")
    #expect(try DatasetCatalog.plannable("folder", directory: folder.path).classes == 2)
    #expect(message(of: .usage) { _ = try DatasetCatalog.plannable("imagnet") }.contains("'imagenet'?"))
  }

  @Test func suggestsTheNearestName() {
    #expect(message(of: .usage) { _ = try DatasetCatalog.load(name: "fashion-mnits") }.contains("'fashion-mnist'?"))
    let text = message(of: .usage) { _ = try DatasetCatalog.inspect(name: "qwertyuiop") }
    #expect(
      text
        == "dataset: 'qwertyuiop' is unknown; known: fashion-mnist, mnist, cifar10, cifar100, imagenet, folder, npy, synthetic"
    )
  }

  @Test(
    arguments: [
      ("cifar10", 10, [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616], 50_000, 10_000),
      ("cifar100", 100, [0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762], 50_000, 10_000),
      ("imagenet", 1000, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 1_281_167, 50_000),
    ] as [(String, Int, [Float], [Float], Int, Int)])
  func knowsTheColourSets(
    name: String, classes: Int, mean: [Float], deviation: [Float], train: Int, test: Int
  ) throws {
    let description = try DatasetCatalog.description(of: name, directory: folder.path)
    #expect(description.classes == classes && description.channels == 3 && description.augmentsByDefault)
    #expect(description.normalization == Normalization(mean: mean, deviation: deviation))
    #expect(description.trainCount == train && description.testCount == test)
    #expect(description.height == (name == "imagenet" ? 224 : 32))
    let absent = message { _ = try DatasetCatalog.load(name: name, directory: folder.path) }
    #expect(absent.contains("--data-dir") && absent.contains(folder.path))
  }

  @Test func searchesTheUsualPlacesInOrder() throws {
    let description = try DatasetCatalog.description(of: "fashion-mnist")
    let environment = ["ESPALIER_DATA": "/e/", "HOME": "/h"]
    #expect(
      DatasetCatalog.folders(for: description, environment: environment) == [
        "/e/", "/e/fashion-mnist", "/e/FashionMNIST/raw", "/h/.cache/espalier/fashion-mnist",
        "/usr/share/datasets/fashion-mnist",
      ])
    #expect(
      DatasetCatalog.folders(for: description, directory: "/d", environment: environment) == [
        "/d", "/d/fashion-mnist", "/d/FashionMNIST/raw",
      ])
  }

  @Test(arguments: ["", "mnist", "MNIST/raw"], [false, true])
  func loadsFromEachSubfolder(subfolder: String, compressed: Bool) throws {
    try folder.writeDataset(in: subfolder, compressed: compressed)
    let data = try DatasetCatalog.load(name: "mnist", directory: folder.path, allowsSubsets: true)
    #expect(data.name == "mnist" && !data.isSynthetic && data.classes == 10)
    #expect(data.train.count == 30 && data.test.count == 10 && data.count == 40)
    #expect(data.train.images.count == 30 * 784)
    #expect(data.train.images[29 * 784 + 5] == IDXBytes.pixel(image: 29, index: 5))
    #expect(data.test.labels == (0..<10).map { UInt32($0) })
  }

  @Test func readsTheEnvironmentsFolder() throws {
    try folder.writeDataset(in: "mnist")
    let environment = ["ESPALIER_DATA": folder.path]
    let data = try DatasetCatalog.load(name: "mnist", allowsSubsets: true, environment: environment)
    #expect(data.train.count == 30)
  }

  @Test func acceptsDottedNames() throws {
    try folder.write(IDXBytes.images(count: 4), to: "train-images.idx3-ubyte")
    try folder.write(IDXBytes.labels(count: 4), to: "train-labels.idx1-ubyte")
    try folder.write(folder.gzip(IDXBytes.images(count: 3)), to: "t10k-images.idx3-ubyte.gz")
    try folder.write(IDXBytes.labels(count: 3), to: "t10k-labels.idx1-ubyte")
    let data = try DatasetCatalog.load(name: "mnist", directory: folder.path, allowsSubsets: true)
    #expect(data.train.count == 4 && data.test.count == 3)
  }

  @Test func takesAllFilesFromOneFolder() throws {
    try folder.write(IDXBytes.images(count: 9), to: "train-images-idx3-ubyte")
    try folder.writeDataset(in: "mnist")
    let data = try DatasetCatalog.load(name: "mnist", directory: folder.path, allowsSubsets: true)
    #expect(data.train.count == 30)
  }

  @Test func saysWhatIsMissingAndHowToGetIt() throws {
    let empty = try folder.makeFolder("empty")
    let environment = ["ESPALIER_DATA": folder.path]
    let nothing = message {
      _ = try DatasetCatalog.load(name: "fashion-mnist", directory: empty, environment: environment)
    }
    #expect(nothing.contains(empty + "/FashionMNIST/raw") && nothing.contains("apt-get install dataset-fashion-mnist"))
    try folder.write(IDXBytes.images(count: 9), to: "empty/train-images-idx3-ubyte")
    let some = message { _ = try DatasetCatalog.load(name: "mnist", directory: empty, environment: environment) }
    #expect(some.contains("t10k-labels-idx1-ubyte") && !some.contains("train-images-idx3-ubyte[.gz]"))
  }

  @Test func refusesASubsetUnlessAllowed() throws {
    try folder.writeDataset()
    let text = message { _ = try DatasetCatalog.load(name: "mnist", directory: folder.path) }
    #expect(text.contains("60000") && text.contains("30"))
  }

  @Test func refusesLabelsThatAreNotAsManyAsImages() throws {
    try folder.writeDataset()
    let path = try folder.write(IDXBytes.labels(count: 31), to: "train-labels-idx1-ubyte")
    let text = message { _ = try DatasetCatalog.load(name: "mnist", directory: folder.path, allowsSubsets: true) }
    #expect(text.contains(path) && text.contains("expected 30") && text.contains("found 31"))
  }

  @Test func refusesImagesOfAnotherSize() throws {
    try folder.writeDataset()
    try folder.write(IDXBytes.images(count: 30, height: 27, width: 28), to: "train-images-idx3-ubyte")
    let text = message { _ = try DatasetCatalog.load(name: "mnist", directory: folder.path, allowsSubsets: true) }
    #expect(text.contains("28 x 28") && text.contains("27 x 28"))
  }
}

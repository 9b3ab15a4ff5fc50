import EspalierCore
import EspalierData
import Foundation
import TestSupport
import Testing

@Suite struct ClassFolderTests {
  let folder: IDXFolder
  private static let picture = PictureBytes.jpeg(seed: 1, width: 20, height: 16)

  init() throws { folder = try IDXFolder() }

  private func write(_ names: String...) throws {
    for name in names { try folder.write(Self.picture, to: name) }
  }

  private func load(_ name: String = "folder") throws -> ImageDataset {
    try DatasetCatalog.load(name: name, directory: folder.path)
  }

  @Test func labelsAreRanksOfSortedNames() throws {
    try write("train/b/2.jpg", "train/b/1.JPEG", "train/a10/x.png", "train/a9/y.Jpg", "val/b/1.jpg", "val/a9/q.jpg")
    try folder.write([1], to: "train/b/notes.txt")
    try folder.write([1], to: "train/b/.hidden.jpg")
    let data = try load()
    #expect(data.classes == 3 && data.train.labels == [0, 1, 2, 2] && data.test.labels == [1, 2])
    guard case .files(let files) = data.train.storage else { return #expect(Bool(false)) }
    let names = (0..<4).map { String(files.path($0).dropFirst(folder.path.count + 1)) }
    #expect(names == ["train/a10/x.png", "train/a9/y.Jpg", "train/b/1.JPEG", "train/b/2.jpg"])
    let description = try DatasetCatalog.description(of: "folder", directory: folder.path)
    #expect(description.classes == 3 && description.trainCount == 4 && description.testCount == 2)
    #expect(description.isResizable && description.height == 224)
  }

  /// What was found is not looked for again: a million names take their time.
  @Test func foldersAreListedOnce() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "val/a/1.jpg")
    let found = try DatasetCatalog.find("folder", directory: folder.path)
    try write("train/a/2.jpg", "val/b/1.jpg")
    #expect(found.description.trainCount == 2)
    let data = try found.load()
    #expect(data.train.count == 2 && data.test.count == 1)
    #expect(try load().train.count == 3)
  }

  /// The batches decoded ahead and a workspace a thread count; other data sets have none.
  @Test func thePlanCountsWhatTheLoaderHolds() throws {
    let folders = try DatasetCatalog.published("imagenet")
    let batch = 32 * 3 * 224 * 224
    #expect(folders.loaderBytes(batchSize: 32, height: 224, width: 224, threads: 2) == 4 * batch + 2 << 20)
    // Four batches of 512 take more than 256 MiB, two are kept at least.
    #expect(folders.loaderBytes(batchSize: 512, height: 224, width: 224, threads: 1) == 3 * 16 * batch + 1 << 20)
    #expect(folders.loaderBytes(batchSize: 4096, height: 224, width: 224, threads: 1) == 2 * 128 * batch + 1 << 20)
    #expect(try DatasetCatalog.published("cifar10").loaderBytes(batchSize: 32, height: 32, width: 32, threads: 2) == 0)
  }

  @Test func imageNetTakesSubsets() throws {
    try write("train/n01440764/a.JPEG", "train/n01443537/a.JPEG", "val/n01443537/b.JPEG")
    let data = try load("imagenet")
    #expect(data.classes == 2 && data.test.labels == [1])
    #expect(try DatasetCatalog.description(of: "imagenet", directory: folder.path).trainCount == 2)
  }

  @Test(arguments: ["cat", "n0144353", "n014435370", "N01443537", "n0144353x"])
  func imageNetTakesSynsetsAlone(_ name: String) throws {
    try write("train/n01440764/a.JPEG", "train/\(name)/a.JPEG", "val/n01440764/b.JPEG")
    let text = message { _ = try load("imagenet") }
    #expect(text.hasPrefix("\(folder.path)/train/\(name): ") && text.contains("--dataset folder"))
    #expect(try load().classes == 2)
  }

  /// Of classes and of pictures.
  @Test func linksAreFollowed() throws {
    try write("train/a/1.jpg", "elsewhere/x.jpg", "val/a/1.jpg")
    #expect(symlink("../elsewhere", folder.path + "/train/b") == 0)
    #expect(symlink("../../elsewhere/x.jpg", folder.path + "/val/a/2.jpg") == 0)
    #expect(symlink("../a", folder.path + "/val/a/3.jpg") == 0)
    let data = try load()
    #expect(data.train.labels == [0, 1] && data.test.count == 2)
    #expect(try decoded(data.test) == [0, 1])
  }

  /// A name of bytes that are no UTF-8.
  @Test func namesNeedNotBeUTF8() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "val/b/1.jpg")
    let odd = Array((folder.path + "/train/b/").utf8) + [0xff, 0xfe] + Array(".jpg".utf8) + [0]
    let plain = folder.path + "/train/b/1.jpg"
    let moved = odd.withUnsafeBytes { rename(plain, $0.bindMemory(to: CChar.self).baseAddress!) }
    #expect(moved == 0)
    let data = try load()
    #expect(data.train.count == 2)
    let request = PictureRequest(
      split: data.train,
      batches: SampleOrder(count: 2, epoch: 0, shuffled: false, random: CounterRandom(seed: 0)).batches(
        size: 2, dropLast: false),
      first: 0, transform: .centre, size: PictureSize(height: 8, width: 8), damage: .leaveOut)
    let batches = try PictureBatches(request, workers: 1, instructionSet: try .selected())
    #expect(try batches.withNext { $0.samples } == [0, 1])
    #expect(data.damagedImages.isEmpty)
  }

  @Test func refusesFlatValidation() throws {
    try write("train/n01440764/1.jpg", "train/n01443537/1.jpg", "val/ILSVRC2012_val_00000001.JPEG")
    try folder.write([48], to: "val/ILSVRC2012_validation_ground_truth.txt")
    let text = message { _ = try load("imagenet") }
    #expect(text.contains("val") && text.contains("side by side") && text.contains("ground_truth"))
    #expect(message { _ = try DatasetCatalog.description(of: "imagenet", directory: folder.path) } == text)
  }

  @Test func refusesWhatMakesNoDataSet() throws {
    #expect(message { _ = try load() }.contains("--data-dir"))
    try write("train/a/1.jpg", "val/a/1.jpg")
    #expect(message { _ = try load() }.contains("two classes"))
    _ = try folder.makeFolder("train/empty")
    #expect(message { _ = try load() }.contains("train/empty"))
    try write("train/empty/1.jpg", "val/other/1.jpg")
    #expect(message { _ = try load() }.contains("val/other"))
    let flat = try IDXFolder()
    try flat.write(Self.picture, to: "train/1.jpg")
    _ = try flat.makeFolder("val")
    #expect(message { _ = try DatasetCatalog.load(name: "folder", directory: flat.path) }.contains("side by side"))
  }

  @Test func aFileInPlaceOfAFolderIsRefused() throws {
    try write("train/a/1.jpg", "train/b/1.jpg")
    try folder.write([1], to: "val")
    #expect(message { _ = try load() }.contains("val: cannot be listed"))
  }

  /// The indices of what is decoded in one batch of a split.
  private func decoded(_ split: ImageSplit, damage: PictureRequest.Damage = .leaveOut) throws -> [UInt32]? {
    let order = SampleOrder(count: split.count, epoch: 0, shuffled: false, random: CounterRandom(seed: 0))
    let request = PictureRequest(
      split: split, batches: order.batches(size: split.count, dropLast: false), first: 0, transform: .centre,
      size: PictureSize(height: 8, width: 8), damage: damage)
    return try PictureBatches(request, workers: 2, instructionSet: try .selected()).withNext { $0.samples }
  }

  /// A picture that is a pipe is damaged, not waited for; so is one that is too large.
  @Test func oddFilesAreDamagedPictures() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "val/a/large.jpg", "val/a/ok.jpg")
    #expect(mkfifo(folder.path + "/val/a/pipe.jpg", 0o600) == 0)
    #expect(truncate(folder.path + "/val/a/large.jpg", PictureReader.largestFile + 1) == 0)
    let data = try load()
    #expect(data.test.count == 3)
    #expect(try decoded(data.test) == [1])
    #expect(data.damagedImages.map(\.path) == ["large", "pipe"].map { folder.path + "/val/a/\($0).jpg" })
    #expect(data.damagedImages.map { $0.reason.contains("at most") } == [true, false])
  }

  @Test func linksThatLeadNowhereAreNoPictures() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "val/a/ok.jpg")
    for (link, target) in [("train/a/broken.jpg", "/nonexistent"), ("val/a/circle.jpg", "circle.jpg")] {
      #expect(symlink(target, "\(folder.path)/\(link)") == 0)
    }
    #expect(symlink("1.jpg", folder.path + "/train/b/2.jpg") == 0)
    let data = try load()
    #expect(data.train.count == 3 && data.test.count == 1)
    #expect(try decoded(data.test) == [0])
    #expect(data.damagedImages.isEmpty)
  }

  /// What the system does not give is an error, where damaged pictures are replaced or left out.
  @Test func filesThatCannotBeReadAreErrors() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "val/a/gone.jpg", "val/a/ok.jpg")
    let data = try load()
    #expect(unlink(folder.path + "/val/a/gone.jpg") == 0)
    for damage in [PictureRequest.Damage.leaveOut, .replace] {
      let text = message { _ = try decoded(data.test, damage: damage) }
      #expect(text == "\(folder.path)/val/a/gone.jpg: cannot be opened: No such file or directory")
    }
    #expect(data.damagedImages.isEmpty)
  }

  @Test func reportsCounts() throws {
    try write("train/a/1.jpg", "train/b/1.jpg", "train/b/2.jpg", "val/a/1.jpg")
    let report = try DatasetCatalog.inspect(name: "folder", directory: folder.path)
    #expect(report.isWhole && report.files.map(\.images) == [3, 1] && report.description.classes == 2)
    try write("val/c/1.jpg")
    let damaged = try DatasetCatalog.inspect(name: "folder", directory: folder.path)
    #expect(!damaged.isWhole && damaged.files[1].problem?.contains("val/c") == true)
  }
}

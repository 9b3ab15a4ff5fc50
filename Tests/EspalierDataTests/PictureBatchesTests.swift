import EspalierCore
import EspalierData
import Foundation
import TestSupport
import Testing

/// A folder of JPEGs in two classes for training and two for evaluation.
struct PictureFolder {
  let folder: IDXFolder
  var path: String { folder.path }

  init(train: Int = 11, val: Int = 5) throws {
    folder = try IDXFolder()
    for index in 0..<train { try write(index, in: "train") }
    for index in 0..<val { try write(100 + index, in: "val") }
  }

  func name(_ index: Int, in part: String) -> String {
    "\(part)/\(index % 2 == 0 ? "cat" : "dog")/\(index + 1000).jpg"
  }

  private func write(_ index: Int, in part: String) throws {
    let bytes = PictureBytes.jpeg(seed: index, width: 40 + index % 7 * 9, height: 50 - index % 5 * 6)
    try folder.write(bytes, to: name(index, in: part))
  }

  func load() throws -> ImageDataset { try DatasetCatalog.load(name: "folder", directory: path) }
}

/// Serialized, because one of the tests counts threads.
@Suite(.serialized) struct PictureBatchesTests {
  let size = PictureSize(height: 24, width: 20)

  /// Everything that the batches hold.
  struct Contents: Equatable {
    var pixels: [[UInt8]] = []
    var slots: [[UInt32]] = []
    var samples: [[UInt32]] = []
    var flips: [[Bool]] = []
  }

  private func contents(
    _ split: ImageSplit, workers: Int, ahead: Int? = nil, first: Int = 0, batch: Int = 4, epoch: Int = 1,
    centre: Bool = false, damage: PictureRequest.Damage = .replace, stackBytes: Int? = nil
  ) throws -> Contents {
    let random = CounterRandom(seed: 8)
    let order = SampleOrder(count: split.count, epoch: epoch, shuffled: !centre, random: random)
    let request = PictureRequest(
      split: split, batches: order.batches(size: batch, dropLast: damage == .replace), first: first,
      transform: centre ? .centre : .random(.resized, flips: true, epoch: epoch, random), size: size,
      damage: damage)
    let batches = try PictureBatches(
      request, workers: workers, ahead: ahead, stackBytes: stackBytes, instructionSet: try .selected())
    var all = Contents()
    while try batches.withNext({ (batch: PictureBatch) -> Void in
      // Slots that were left out hold nothing.
      all.pixels.append(batch.slots.flatMap { Array(batch.pixels[Int($0) * 1440..<(Int($0) + 1) * 1440]) })
      all.slots.append(batch.slots)
      all.samples.append(batch.samples)
      all.flips.append(batch.flips)
    }) != nil {}
    #expect(try batches.withNext { $0.slots.count } == nil)
    return all
  }

  @Test func doesNotDependOnTheWorkers() throws {
    let folder = try PictureFolder()
    let train = try folder.load().train
    let one = try contents(train, workers: 1, ahead: 1)
    #expect(one.samples.map(\.count) == [4, 4] && Set(one.samples.joined()).count == 8)
    #expect(one.samples.flatMap { $0 } != Array(0..<8) && Set(one.flips.joined()).count == 2)
    for (workers, ahead) in [(1, 3), (2, 1), (2, nil), (5, 2), (9, nil)] as [(Int, Int?)] {
      #expect(try contents(train, workers: workers, ahead: ahead) == one)
    }
    let rest = try contents(train, workers: 2, first: 1)
    #expect(rest.pixels == Array(one.pixels[1...]) && rest.samples == Array(one.samples[1...]))
    #expect(try contents(train, workers: 2, epoch: 2).pixels != one.pixels)
  }

  /// Without a thread, by choice or because the system gives none (no address space has room for such a stack), the caller decodes.
  @Test func decodesWithoutThreads() throws {
    let folder = try PictureFolder()
    try folder.folder.write(Array("no picture".utf8), to: folder.name(4, in: "train"))
    let train = try folder.load().train
    let one = try contents(train, workers: 1, ahead: 1)
    for (workers, stackBytes) in [(0, nil), (3, 1 << 48)] as [(Int, Int?)] {
      for ahead in [1, 2, nil] {
        #expect(try contents(train, workers: workers, ahead: ahead, stackBytes: stackBytes) == one)
      }
    }
    for index in 0..<11 { try folder.folder.write([1, 2, 3], to: folder.name(index, in: "train")) }
    let data = try folder.load()
    #expect(message { _ = try contents(data.train, workers: 0) }.contains("cannot be decoded"))
  }

  /// What is decoded for a picture does not depend on its batch.
  @Test func batchesDoNotMatter() throws {
    let folder = try PictureFolder()
    let train = try folder.load().train
    let four = try contents(train, workers: 2, batch: 4)
    let two = try contents(train, workers: 2, batch: 2)
    #expect(Array(two.pixels.joined()).prefix(8 * 1440) == Array(four.pixels.joined())[...])
  }

  @Test func damagedPicturesAreReplacedInTraining() throws {
    let folder = try PictureFolder()
    let whole = try contents(try folder.load().train, workers: 2, batch: 11)
    try folder.folder.write(Array("no picture".utf8), to: folder.name(4, in: "train"))
    try folder.folder.write([], to: folder.name(6, in: "train"))
    let data = try folder.load()
    let found = try contents(data.train, workers: 2, batch: 11)
    #expect(found == (try contents(try folder.load().train, workers: 7, batch: 11)))
    // Files of cat by name: 1000, 1002, 1004, 1006, ... have indices 0, 1, 2, 3: 2 and 3 become 4.
    #expect(found.samples[0] == whole.samples[0].map { $0 == 2 || $0 == 3 ? 4 : $0 })
    #expect(data.damagedImages.map(\.path) == ["cat/1004.jpg", "cat/1006.jpg"].map { folder.path + "/train/" + $0 })
    #expect(data.damagedImages.map(\.reason) == ["neither JPEG nor PNG", "the file is empty"])
  }

  @Test func damagedPicturesAreLeftOutOfEvaluation() throws {
    let folder = try PictureFolder()
    let bytes = try #require(FileManager.default.contents(atPath: folder.path + "/" + folder.name(102, in: "val")))
    try folder.folder.write(Array(bytes.prefix(bytes.count / 2)), to: folder.name(102, in: "val"))
    let data = try folder.load()
    let found = try contents(data.test, workers: 3, batch: 2, centre: true, damage: .leaveOut)
    #expect(found.samples == [[0], [2, 3], [4]] && found.slots == [[0], [0, 1], [0]])
    #expect(found.flips.joined().allSatisfy { !$0 })
    #expect(data.damagedImages.count == 1 && data.damagedImages[0].reason.contains("truncated"))
  }

  @Test func aSplitThatCannotBeDecodedIsAnError() throws {
    let folder = try PictureFolder()
    for index in 0..<11 { try folder.folder.write([1, 2, 3], to: folder.name(index, in: "train")) }
    let data = try folder.load()
    let text = message { _ = try contents(data.train, workers: 2) }
    #expect(text.contains("cannot be decoded") && data.damagedImages.count == 11)
  }

  /// Held-out pictures keep their random numbers, and replacements stay in their part.
  @Test func heldOutPicturesAreDecodedAlike() throws {
    let folder = try PictureFolder()
    let split = try folder.load().train
    let (train, validation) = try split.heldOut(fraction: 0.4, random: CounterRandom(seed: 1))
    func byNumber(_ split: ImageSplit) throws -> [UInt32: [UInt8]] {
      let all = try contents(split, workers: 2, batch: 1, damage: .leaveOut)
      return Dictionary(
        uniqueKeysWithValues: zip(all.samples.joined().map { split.number(of: $0) }, all.pixels))
    }
    let parts = try byNumber(train).merging(byNumber(validation)) { _, _ in [] }
    #expect(parts == (try byNumber(split)))
  }

  /// Threads of this process that decode.
  private func workers() throws -> Int {
    let tasks = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task")
    return tasks.count { task in
      // A thread may end while it is looked at.
      let name = try? String(contentsOfFile: "/proc/self/task/\(task)/comm", encoding: .utf8)
      return name?.hasPrefix("espalier-decode") == true
    }
  }

  /// Whether the number of decoding threads is as `condition` wants it at some time within twenty seconds (other tests may decode meanwhile).
  private func becomes(_ condition: (Int) -> Bool) throws -> Bool {
    for _ in 0..<2000 {
      if condition(try workers()) { return true }
      usleep(10_000)
    }
    return false
  }

  /// Whoever stops asking leaves no thread waiting.
  @Test func canBeDroppedInTheMiddle() throws {
    let folder = try PictureFolder()
    let split = try folder.load().train
    for round in 0..<20 {
      let order = SampleOrder(count: split.count, epoch: 0, random: CounterRandom(seed: 1))
      let request = PictureRequest(
        split: split, batches: order.batches(size: 2, dropLast: true), first: 0, transform: .centre, size: size,
        damage: .replace)
      let batches = try PictureBatches(request, workers: 3, ahead: 1, instructionSet: try .selected())
      _ = try batches.withNext { #expect($0.samples.count == 2) }
      // They wait for the second batch to be taken.
      if round == 0 { #expect(try becomes { $0 >= 3 }) }
      withExtendedLifetime(batches) {}
    }
    #expect(try becomes { $0 == 0 })
  }
}

import Espalier
import EspalierCore
import Foundation
import TestSupport
import Testing

/// Event files, read by `EventFiles`.
@Suite struct ScalarLogTests {
  private let folder: SafetensorsFolder
  private var path: String { folder.path + "/tensorboard" }

  init() throws { folder = try SafetensorsFolder() }

  @Test func everyPointIsRead() throws {
    let log = try ScalarLog(folder: path, from: 0)
    for step in [0, 1, 127, 128, 1_099_511_627_776] {
      try log.append([("a", Double(step) / 3), ("a long name / with signs: ä", -1)], step: step)
    }
    try log.append([], step: 9)
    try log.append([("a", .infinity), ("b", 0)], step: 10)
    try log.synchronize()
    let files = try EventFiles(folder: path)
    #expect(files.names.count == 1 && files.names[0].hasPrefix("events.out.tfevents."))
    #expect(files.events.count == 7 && files.events[0].version == "brain.Event:2" && files.events[0].scalars.isEmpty)
    #expect(!files.events.contains { $0.isStart })
    #expect(files.points(of: "a").map(\.step) == [0, 1, 127, 128, 1_099_511_627_776, 10])
    let steps: [Double] = [0, 1, 127, 128, 1_099_511_627_776]
    let expected: [Float] = steps.map { Float($0 / 3) }
    #expect(files.points(of: "a").map(\.value) == expected + [Float.infinity])
    #expect(files.points(of: "a long name / with signs: ä").map(\.value) == [-1, -1, -1, -1, -1])
    #expect(files.points(of: "b").map(\.value) == [0])
    let now = Date().timeIntervalSince1970
    #expect(files.events.allSatisfy { abs($0.wallTime - now) < 3600 })
  }

  /// As after a stop: each log forgets what those before it said of its first step and later ones.
  @Test func aLaterLogTakesStepsBack() throws {
    for (log, steps) in [(0, 0..<10), (7, 7..<9), (5, 5..<12)] {
      let file = try ScalarLog(folder: path, from: log)
      for step in steps { try file.append([("x", Double(100 * log + step))], step: step) }
    }
    let files = try EventFiles(folder: path)
    #expect(files.names.count == 3)
    #expect(files.events.count { $0.isStart } == 2)
    let points = files.points(of: "x")
    #expect(points.map(\.step) == Array(0..<12))
    let expected: [Int] = Array(0..<5) + Array(505..<512)
    #expect(points.map { Int($0.value) } == expected)
  }

  /// Names that hold no time, and the largest that do.
  @Test func strangersFilesAreNoTrouble() throws {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    func name(after present: String) throws -> [String] {
      #expect(FileManager.default.createFile(atPath: path + "/" + present, contents: nil))
      _ = try ScalarLog(folder: path, from: 0)
      return try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".\(getpid()).0") }
        .sorted()
    }
    let now = Int(Date().timeIntervalSince1970)
    for present in ["9223372036854775807.x", "10000000000.x", "-5.x", "x", ""] {
      let stamps = try name(after: "events.out.tfevents." + present).compactMap { Int($0.split(separator: ".")[3]) }
      #expect(stamps.allSatisfy { abs($0 - now) < 3600 }, "\(present): \(stamps)")
    }
    let names = try name(after: "events.out.tfevents.5000000000.x")
    #expect(names.last?.hasPrefix("events.out.tfevents.5000000001.") == true)
  }

  @Test func placesThatTakeNoFilesAreNamed() throws {
    let file = try folder.store([1])
    expectError(.write, naming: file) { _ = try ScalarLog(folder: file, from: 0) }
    expectError(.write, naming: "/proc/none") { _ = try ScalarLog(folder: "/proc/none/x", from: 0) }
  }

  /// The reader that the other tests rely on.
  @Test func theReaderRefusesDamage() throws {
    let log = try ScalarLog(folder: path, from: 0)
    try log.append([("x", 1)], step: 1)
    let name = path + "/" + (try EventFiles(folder: path)).names[0]
    let whole = [UInt8](try Data(contentsOf: URL(fileURLWithPath: name)))
    for place in whole.indices where ![0, 1, 2, 3, 4, 5, 6, 7].contains(place) {
      var bytes = whole
      bytes[place] ^= 4
      try Data(bytes).write(to: URL(fileURLWithPath: name))
      let found = try? EventFiles(folder: path)
      #expect(found == nil || found?.events.count ?? 2 < 2, "byte \(place)")
    }
  }
}

import EspalierCore
import Foundation

/// What a run is besides numbers of connections: the part of a checkpoint that is text.
public struct RunState: Codable, Sendable, Hashable {
  static let fileName = "state.json"
  static let currentFormat = 1

  /// Of this file and its neighbours.
  public let format: Int
  /// The run's settings, in words of the program that made it.
  public let configuration: String
  /// `ImageDataset.fingerprint` of what it trains on.
  public let data: String
  /// Results repeat to the bit on the same one only.
  public let instructionSet: String
  /// How far the run has come.
  public let progress: TrainingProgress

  /// The state of a run in this version's format.
  public init(configuration: String, data: String, instructionSet: String, progress: TrainingProgress) {
    format = Self.currentFormat
    self.configuration = configuration
    self.data = data
    self.instructionSet = instructionSet
    self.progress = progress
  }

  func write(in folder: String) throws {
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
    try DurableFile.write(try encoder.encode(self) + Data("\n".utf8), to: folder + "/" + Self.fileName)
  }

  /// - Throws: `EspalierError.input` for anything but a state of this version's format.
  init(folder: String) throws {
    struct Version: Decodable { let format: Int }
    let path = folder + "/" + Self.fileName
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EspalierError.input("\(path): cannot be read; the checkpoint is incomplete")
    }
    guard let version = try? JSONDecoder().decode(Version.self, from: data) else {
      throw EspalierError.input("\(path): is no state of a run")
    }
    guard version.format == Self.currentFormat else {
      throw EspalierError.input("\(path): format \(version.format), this version reads format \(Self.currentFormat)")
    }
    do {
      self = try JSONDecoder().decode(RunState.self, from: data)
    } catch {
      throw EspalierError.input("\(path): is no state of a run: \(error.localizedDescription)")
    }
  }
}

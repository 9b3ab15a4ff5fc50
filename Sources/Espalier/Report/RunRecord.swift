import EspalierCore
import Foundation

/// What a run's folder says of it: settings, curves, updates of the topology, result, and the newest checkpoint's structure.
///
/// A run that has not ended, or was stopped, has no result; everything else is shown as far as it goes.
public struct RunRecord: Sendable {
  /// A logged step of `metrics.jsonl`.
  package struct Step: Decodable, Sendable {
    let step: Int
    let epoch, trainLoss, learningRate, imagesPerSecond: Double
  }

  /// An epoch of `metrics.jsonl`.
  package struct Epoch: Decodable, Sendable {
    let epoch: Int
    let testLoss, testAccuracy: Double
    let validationAccuracy: Double?
  }

  /// A line of `topology.jsonl`.
  struct Update: Decodable, Sendable {
    struct Layer: Decodable, Sendable {
      let name: String
      let nnz, candidates, grown, pruned: Int
      /// Outputs and inputs without any connection.
      let emptyRows, emptyColumns: Int?
      /// Fraction of possible connections that were ever active.
      let explorationRate: Double?
      /// Of an audit.
      let recall, rankCorrelation: Double?
    }

    let step: Int
    let fraction: Double
    let layers: [Layer]
  }

  /// The fields of `result.json` that a report shows.
  package struct Result: Decodable, Sendable {
    let testAccuracy, testLoss: Double
    let trainSeconds, stepMsMedian, imagesPerSecond: Double
    let peakRssBytes, largestWeightBufferBytes, weightStateBytes: Int
    /// Absent in results of earlier versions.
    let peakWeightStateBytes: Int?
    let nnz, sparsifiableWeights, parameters: Int
    let trainFlopsPerSample, denseTrainFlopsPerSample: Double
    let explorationRate: Double?
    let synthetic: Bool?
    /// Absent in results of earlier versions.
    let phases: [PhaseRecord]?
    let best: Best?

    /// The best epoch by validation.
    struct Best: Decodable, Sendable {
      let epoch: Int
      let validationAccuracy: Double
    }
  }

  /// The folder's name.
  public let name: String
  /// `config.yaml` as it is.
  let configuration: String
  /// `environment.json` as it is.
  let environment: String
  package let steps: [Step]
  package let epochs: [Epoch]
  let updates: [Update]
  package let result: Result?
  /// Why it stopped, and at which step, in the words of its log; nil where it has ended or still runs.
  package let stop: String?
  /// Layers of the newest checkpoint that is whole; empty where there is none, or where its weights are dense.
  package let layers: [LayerPicture]

  /// Reads a run's folder.
  ///
  /// - Throws: `EspalierError.input` where it is no run's folder, or a file in it is damaged.
  public init(folder: String) throws {
    let path = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
    name = (path as NSString).lastPathComponent
    guard let configuration = Self.text(path + "/config.yaml") else {
      throw EspalierError.input("\(path): holds no readable config.yaml; expected a run's folder, as train writes one")
    }
    self.configuration = configuration
    environment = Self.text(path + "/environment.json") ?? ""
    let metrics = try Self.lines(path + "/metrics.jsonl", as: Line.self)
    steps = metrics.compactMap { if case .step(let step) = $0 { step } else { nil } }
    epochs = metrics.compactMap { if case .epoch(let epoch) = $0 { epoch } else { nil } }
    updates = try Self.lines(path + "/topology.jsonl", as: Update.self)
    result = try Self.text(path + "/result.json").map { text in
      try Self.decode(Result.self, Data(text.utf8), from: path + "/result.json")
    }
    let words = Self.text(path + "/train.log")?.split(separator: "\n").last.map(String.init)
    stop = result == nil ? words.flatMap { $0.hasPrefix("stopped") ? $0 : nil } : nil
    layers = Self.layers(path)
  }

  /// A line of `metrics.jsonl`: an epoch's has a test loss.
  private enum Line: Decodable {
    case step(Step)
    case epoch(Epoch)

    init(from decoder: any Decoder) throws {
      if let epoch = try? Epoch(from: decoder) {
        self = .epoch(epoch)
      } else {
        self = .step(try Step(from: decoder))
      }
    }
  }

  private static func text(_ path: String) -> String? {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) }
  }

  /// The objects of a file of lines. A last line without an end is one that was being written, and left out.
  private static func lines<T: Decodable>(_ path: String, as type: T.Type) throws -> [T] {
    guard let text = text(path) else { return [] }
    let whole = text.lastIndex(of: "\n").map { text[..<$0] } ?? ""
    return try whole.split(separator: "\n").enumerated().map { number, line in
      try decode(type, Data(line.utf8), from: "\(path), line \(number + 1)")
    }
  }

  private static func decode<T: Decodable>(_ type: T.Type, _ data: Data, from place: String) throws -> T {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    do {
      return try decoder.decode(type, from: data)
    } catch {
      throw EspalierError.input("\(place): expected what train writes there, found something else; repair or remove it")
    }
  }

  /// A checkpoint that cannot be read has no structure to show, and damages nothing else.
  private static func layers(_ path: String) -> [LayerPicture] {
    let store = CheckpointStore(run: path)
    guard let newest = store.newest(onDamage: { _, _ in }),
      let checkpoint = try? Checkpoint(path: store.path(step: newest.step)), checkpoint.isSparse,
      let context = try? ComputeContext(threads: 1), let model = try? checkpoint.sparseModel(context: context)
    else { return [] }
    return model.sparseParameters.map { LayerPicture($0.matrix) }
  }
}

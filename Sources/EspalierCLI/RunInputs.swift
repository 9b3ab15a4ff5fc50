import Espalier
import EspalierCore
import Foundation

/// `inputs.json`: what a run began with that lies outside its folder. One that goes on, or begins anew for want of a checkpoint, must
/// find the same.
struct RunInputs: Codable, Hashable {
  static let fileName = "inputs.json"

  /// `ImageDataset.fingerprint`.
  let data: String
  /// SHA-256 of the file of `--init`; nil without one, or where a checkpoint has the weights.
  let initialWeights: String?

  enum CodingKeys: String, CodingKey {
    case data
    case initialWeights = "init"
  }

  init(data: String, initialWeights: String? = nil) { (self.data, self.initialWeights) = (data, initialWeights) }

  /// - Throws: `EspalierError.input` where the initial weights cannot be read.
  init(of configuration: RunConfiguration, data: String) throws {
    self.init(data: data, initialWeights: try configuration.initialWeights.map { try WeightsFile(path: $0).sha256() })
  }

  /// What a run wrote down at its start; nil for a run of an earlier version, which wrote nothing down.
  ///
  /// - Throws: `EspalierError.input` where that is damaged.
  init?(run path: String) throws {
    let path = path + "/" + Self.fileName
    guard let data = FileManager.default.contents(atPath: path) else { return nil }
    guard let inputs = try? JSONDecoder().decode(RunInputs.self, from: data) else {
      throw EspalierError.input("\(path): is not as train wrote it; repair it, or train anew")
    }
    self = inputs
  }

  /// - Throws: `EspalierError.input` where the data set, or the initial weights, are not these.
  func check(_ configuration: RunConfiguration, data: String) throws {
    guard data == self.data else {
      throw EspalierError.input(
        "data set \(configuration.dataset): is not the one that the run began with (its checksum differs); get that one back, or name its folder with --data-dir"
      )
    }
    guard let path = configuration.initialWeights, let initialWeights else { return }
    guard try WeightsFile(path: path).sha256() == initialWeights else {
      throw EspalierError.input(
        "\(path): is not the file that the run began with (its checksum differs); put that one back, or train anew")
    }
  }
}

import EspalierCore

/// A piece of a model's state, as checkpoints and hashes see it.
public enum StateTensor {
  /// A sparse layer's structure and values, under its parameter's name.
  case sparse(SparseParameter)
  /// Dense numbers: a bias, norm parameters, running statistics, a dense method's weights.
  case dense(name: String, shape: [Int], values: MeteredBuffer<Float>)

  /// The name in files: a parameter's, or that of a running statistic.
  public var name: String {
    switch self {
    case .sparse(let parameter): parameter.name
    case .dense(let name, _, _): name
    }
  }
}

/// A piece of a model: a plain value that runs on a tape and lists what it trains and keeps.
///
/// Parameters go by the names that PyTorch's models use, so that weights travel.
public protocol Layer {
  /// What an optimizer trains.
  var parameters: [any Parameter] { get }
  /// All that has to be saved: parameters and running statistics.
  var state: [StateTensor] { get }
  /// Runs forward on the tape, which records what backward needs.
  func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable
}

extension Layer {
  public var parameters: [any Parameter] { [] }
  public var state: [StateTensor] { [] }
}

/// Makes the layers that hold weights: sparse here, dense in EspalierBaselines.
public protocol WeightLayerFactory {
  /// The layer for one place of a model's description.
  func makeLayer(_ layer: WeightLayer) throws -> any Layer
}

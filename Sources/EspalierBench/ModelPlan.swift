import Espalier
import EspalierTopology

/// What training a model will cost, before any training and without data: sizes by arithmetic, times measured on this machine.
public struct ModelPlan {
  /// What is to be trained, and how.
  public struct Request {
    /// The model.
    public var spec: ModelSpec
    /// Fraction of the weights that are absent.
    public var sparsity: Double
    /// Divides the connections among the layers.
    public var distribution: any Distribution
    /// Samples a step.
    public var batchSize: Int
    /// Number of samples that evaluations run on.
    public var testSamples: Int
    /// Bytes of the data set's images and labels as they lie in memory.
    public var dataBytes: Int
    /// Bytes that the process has before it loads or makes anything.
    public var processBytes: Int

    /// What is to be planned; by default without the process's and the data's own bytes.
    public init(
      spec: ModelSpec, sparsity: Double, distribution: any Distribution = ErdosRenyi(), batchSize: Int,
      testSamples: Int = 0, dataBytes: Int = 0, processBytes: Int = 0
    ) {
      self.spec = spec
      self.sparsity = sparsity
      self.distribution = distribution
      self.batchSize = batchSize
      self.testSamples = testSamples
      self.dataBytes = dataBytes
      self.processBytes = processBytes
    }
  }

  /// One layer's step: forward and both gradients.
  public struct Layer: Sendable {
    /// The layer.
    public let layer: WeightLayer
    /// Its active connections.
    public let connections: Int
    /// Of the three products together, with all weights and with the connections alone.
    public let denseMilliseconds, sparseMilliseconds: Double
    /// Where the times come from.
    public let source: TimeSource

    /// connections / size of the dense form
    public var density: Double { Double(connections) / Double(layer.shape.size) }
  }

  /// Where a layer's time comes from.
  public enum TimeSource: String, Sendable {
    /// From this layer's shape, or from a tile of it.
    case measured
    /// From the speed of the nearest shape that was measured.
    case estimated
  }

  /// What was asked.
  public let request: Request
  /// One for each weight layer, in order.
  public let layers: [Layer]
  /// What training will take.
  public let memory: MemoryPrediction
  /// The sparsity of the model at which the layers' products take as long as the dense ones; nil where none does.
  public let crossoverSparsity: Double?

  /// - Parameter seconds: what measuring may take; one shape is measured all the same.
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have.
  public init(_ request: Request, context: ComputeContext, seconds: Double = 6) throws {
    let start = ContinuousClock.now
    self.request = request
    let weightLayers = request.spec.weightLayers
    let shapes = weightLayers.map(\.shape)
    let budgets = try request.distribution.budgets(for: shapes, sparsity: request.sparsity)
    memory = try MemoryPrediction(request, connections: budgets.reduce(0, +), context: context)
    let cases = zip(weightLayers, budgets).map { layer, budget in
      layer.benchCase(name: layer.shape.name, batch: request.batchSize, connections: budget)
    }
    let times = try LayerTimes(cases, context: context, deadline: start + .seconds(seconds))
    layers = zip(weightLayers, cases).map { layer, layerCase in
      let dense = times.denseSeconds(layerCase)
      let sparse = times.sparseSeconds(layerCase)
      return Layer(
        layer: layer, connections: layerCase.connections, denseMilliseconds: 1000 * dense,
        sparseMilliseconds: 1000 * sparse, source: times.isMeasured(layerCase) ? .measured : .estimated)
    }
    crossoverSparsity = Self.crossover { sparsity in
      guard let budgets = try? request.distribution.budgets(for: shapes, sparsity: sparsity) else { return nil }
      let other = zip(weightLayers, budgets).map { layer, budget in
        layer.benchCase(name: layer.shape.name, batch: request.batchSize, connections: budget)
      }
      let pairs = zip(cases, other)
      return pairs.reduce(0) { $0 + times.sparseSeconds($1.0, connections: $1.1.connections) }
        / cases.reduce(0) { $0 + times.denseSeconds($1) }
    }
  }

  /// The lowest sparsity, in steps of a hundredth, from which on the ratio of times stays below 1.
  private static func crossover(ratio: (Double) -> Double?) -> Double? {
    var found: Double?
    for percent in stride(from: 99, through: 0, by: -1) {
      guard let ratio = ratio(Double(percent) / 100) else { continue }
      guard ratio < 1 else { break }
      found = Double(percent) / 100
    }
    return found
  }

  /// Active connections of each weight layer.
  public var connections: [Int] { layers.map(\.connections) }
  /// Of all layers' products, with all weights.
  public var denseMilliseconds: Double { layers.reduce(0) { $0 + $1.denseMilliseconds } }
  /// Of all layers' products, with the connections alone.
  public var sparseMilliseconds: Double { layers.reduce(0) { $0 + $1.sparseMilliseconds } }
}

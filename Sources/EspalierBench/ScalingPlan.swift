import Espalier
import EspalierBaselines
import EspalierTopology

/// What a training step takes on several ranks, each with a part of the batch: measured steps of one rank, and a model of what they send.
public struct ScalingPlan: Sendable {
  /// A step, sparse or dense.
  public struct Step: Sendable, Hashable {
    /// Forward, backward and optimizer on the largest part of the batch that a rank has.
    public let computeSeconds: Double
    /// Sums of gradients.
    public let gradientSeconds: Double
    /// Batch norms' statistics, losses and wishes to stop.
    public let otherSeconds: Double

    /// What ranks send, and wait for.
    public var messageSeconds: Double { gradientSeconds + otherSeconds }
    /// All of it, one after the other.
    public var seconds: Double { computeSeconds + messageSeconds }
  }

  /// A number of ranks.
  public struct Row: Sendable, Hashable {
    /// Number of ranks.
    public let ranks: Int
    /// Samples of the whole batch, and the most that a rank has of them.
    public let batchSize, samplesPerRank: Int
    /// With the connections alone, and with all weights.
    public let sparse, dense: Step
  }

  /// Steps of one rank.
  public let sparseTimes, denseTimes: StepTimes
  /// How often narrower than the model those are that were measured in its place; 1: the model itself.
  public let sparseNarrowing, denseNarrowing: Int
  /// Numbers whose sums each step takes: connections, or all weights, with biases and norm parameters.
  public let sparseNumbers, denseNumbers: Int
  /// What is sent, and how fast.
  public let model: ScalingModel
  /// Samples of the whole batch (strong scaling), and of each rank's (weak scaling).
  public let batchSize: Int
  /// Numbers of ranks.
  public let ranks: [Int]

  package init(
    sparseTimes: StepTimes, denseTimes: StepTimes, sparseNumbers: Int, denseNumbers: Int, model: ScalingModel,
    batchSize: Int, ranks: [Int], sparseNarrowing: Int = 1, denseNarrowing: Int = 1
  ) {
    (self.sparseTimes, self.denseTimes) = (sparseTimes, denseTimes)
    (self.sparseNumbers, self.denseNumbers) = (sparseNumbers, denseNumbers)
    (self.sparseNarrowing, self.denseNarrowing) = (sparseNarrowing, denseNarrowing)
    (self.model, self.batchSize, self.ranks) = (model, batchSize, ranks)
  }

  /// Strong scaling: the whole batch is `batchSize`. Ranks that would have no sample are left out.
  public var strong: [Row] { ranks.filter { $0 <= batchSize }.map { row(ranks: $0, batchSize: batchSize) } }

  /// Weak scaling: each rank has `batchSize` samples.
  public var weak: [Row] { ranks.map { row(ranks: $0, batchSize: $0 * batchSize) } }

  /// One rank with `batchSize` samples: what others are compared with.
  public var single: Row { row(ranks: 1, batchSize: batchSize) }

  private func row(ranks: Int, batchSize: Int) -> Row {
    let samples = (batchSize + ranks - 1) / ranks
    func step(_ times: StepTimes, _ numbers: Int) -> Step {
      Step(
        computeSeconds: times.seconds(samples: samples),
        gradientSeconds: model.gradientSeconds(ranks: ranks, numbers: numbers),
        otherSeconds: model.normSeconds(ranks: ranks) + model.controlSeconds(ranks: ranks))
    }
    return Row(
      ranks: ranks, batchSize: batchSize, samplesPerRank: samples, sparse: step(sparseTimes, sparseNumbers),
      dense: step(denseTimes, denseNumbers))
  }
}

extension ScalingPlan {
  /// Weights of a dense model that is measured, and connections of a sparse one, at most; a narrower one stands for others.
  private static let weights = 40_000_000, connections = 1 << 22
  /// Bytes of activations of a batch that is measured, at most.
  private static let activations = 768 << 20

  /// Measures steps of the model that `plan` describes, for `seconds` each with and without all weights; one batch each in any case.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have.
  public init(_ plan: ModelPlan, link: RankLink, ranks: [Int], context: ComputeContext, seconds: Double) throws {
    let (request, spec) = (plan.request, plan.request.spec)
    let connections = plan.connections.reduce(0, +)
    let batches = StepTimes.batches(upTo: request.batchSize)
    func affordable(_ factor: Int) -> [Int] {
      let perSample =
        Double(plan.memory.activations) / Double(ActivationShape(samples: request.batchSize, channels: 1).count)
      return batches.filter { $0 == 1 || perSample * Double($0 / factor) <= Double(Self.activations) }
    }
    let random = CounterRandom(seed: 0)

    let (thin, sparsity) = spec.narrowed(sparsity: request.sparsity, connections: Self.connections)
    let sparseModel = try Model(
      sparse: thin.spec, sparsity: sparsity, distribution: request.distribution, random: random, context: context)
    let sparseFlops = spec.forwardFlops(connections: plan.connections)
    let sparseTimes = try StepTimes(
      measuring: sparseModel, batches: affordable(thin.factor),
      scale: Double(sparseFlops) / Double(thin.spec.forwardFlops(connections: sparseModel.connectionCounts)),
      context: context, deadline: .now + .seconds(seconds))

    let small = spec.narrowed(weights: Self.weights)
    let denseModel = try Model(
      small.spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
    let denseTimes = try StepTimes(
      measuring: denseModel, batches: affordable(small.factor),
      scale: Double(spec.denseForwardFlops) / Double(small.spec.denseForwardFlops), context: context,
      deadline: .now + .seconds(seconds))

    self.init(
      sparseTimes: sparseTimes, denseTimes: denseTimes, sparseNumbers: connections + spec.denseParameters,
      denseNumbers: spec.parameters,
      model: ScalingModel(
        link: link, normChannels: spec.batchNormChannels,
        secondsPerNumber: ScalingModel.measuredSecondsPerNumber(context: context)),
      batchSize: request.batchSize, ranks: ranks, sparseNarrowing: thin.factor, denseNarrowing: small.factor)
  }
}

extension ModelSpec {
  /// A model that stands for this one in measurements.
  package typealias Narrowed = (spec: ModelSpec, factor: Int)

  /// Half the width as often as it takes to have no more than so many weights.
  package func narrowed(weights: Int) -> Narrowed {
    var found: Narrowed = (self, 1)
    while found.spec.sparsifiableWeights > weights, let next = try? narrowed(by: 2 * found.factor) {
      found = (next, 2 * found.factor)
    }
    return found
  }

  /// The same for connections. A unit keeps its connections, so that density doubles, up to 5 %; from there on density stays.
  package func narrowed(sparsity: Double, connections: Int) -> (Narrowed, sparsity: Double) {
    var (found, density): (Narrowed, Double) = ((self, 1), 1 - sparsity)
    while density * Double(found.spec.sparsifiableWeights) > Double(connections),
      let next = try? narrowed(by: 2 * found.factor)
    {
      let share = Double(found.spec.sparsifiableWeights) / Double(next.sparsifiableWeights)
      density = max(density, min(density * share / 2, 0.05))
      found = (next, 2 * found.factor)
    }
    return (found, found.factor == 1 ? sparsity : 1 - density)
  }

  /// The same layers with the channels and units divided by `factor`, the head's outputs apart.
  ///
  /// - Throws: `EspalierError.usage` where they do not fit together.
  package func narrowed(by factor: Int) throws -> ModelSpec {
    let head = weightLayers.last?.shape.name
    func fewer(_ count: Int) -> Int { (count + factor - 1) / factor }
    func narrow(_ layer: LayerSpec) -> LayerSpec {
      switch layer {
      case .convolution(let name, let channels, let geometry, let bias) where name != head:
        .convolution(name: name, outChannels: fewer(channels), geometry: geometry, bias: bias)
      case .linear(let name, let outputs, let bias) where name != head:
        .linear(name: name, outputs: fewer(outputs), bias: bias)
      case .residual(let body, let shortcut, let relu):
        .residual(body: body.map { narrow($0) }, shortcut: shortcut.map { narrow($0) }, relu: relu)
      case .paddedShortcut(let channels, let stride): .paddedShortcut(outChannels: fewer(channels), stride: stride)
      case .attention(let heads, let size): .attention(heads: heads, size: fewer(size))
      default: layer
      }
    }
    return try ModelSpec(name: name, input: input, classes: classes, layers: layers.map { narrow($0) })
  }
}

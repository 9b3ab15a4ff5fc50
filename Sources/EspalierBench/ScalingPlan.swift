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

  /// A smaller model, in proportion to the whole one.
  public struct Reduction: Sendable, Hashable, Encodable {
    /// By what channels and units are divided, and the sides of images; 1 where they are the whole model's.
    public let width, side: Int

    /// The whole model.
    public static let none = Reduction(width: 1, side: 1)
  }

  /// Steps of one rank.
  public let sparseTimes, denseTimes: StepTimes
  /// How much smaller the models are that were measured in place of this one, and scaled by their operations.
  public let sparseStandIn, denseStandIn: Reduction
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
    batchSize: Int, ranks: [Int], sparseStandIn: Reduction = .none, denseStandIn: Reduction = .none
  ) {
    (self.sparseTimes, self.denseTimes) = (sparseTimes, denseTimes)
    (self.sparseNumbers, self.denseNumbers) = (sparseNumbers, denseNumbers)
    (self.sparseStandIn, self.denseStandIn) = (sparseStandIn, denseStandIn)
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
  /// Bytes of activations of a batch that is measured, at most; blocks of eight samples are measured in any case.
  private static let activations = 512 << 20

  /// Measures steps of the model that `plan` describes, for `seconds` each with and without all weights; one batch each in any case.
  ///
  /// - Throws: `EspalierError.usage` for a sparsity that the model cannot have.
  public init(_ plan: ModelPlan, link: RankLink, ranks: [Int], context: ComputeContext, seconds: Double) throws {
    let (request, spec) = (plan.request, plan.request.spec)
    let count = ActivationShape(samples: request.batchSize, channels: 1).count
    let random = CounterRandom(seed: 0)
    func times(_ standIn: StandIn, _ model: Model, flops: Int) throws -> StepTimes {
      let bytes = standIn.share(ofActivations: plan.memory.activations) / Double(count)
      return try StepTimes(
        measuring: model,
        batches: StepTimes.batches(upTo: request.batchSize).filter {
          $0 <= 8 || Double($0) * bytes <= Double(Self.activations)
        },
        scale: Double(flops) / Double(model.spec.forwardFlops(connections: model.connectionCounts)),
        context: context, deadline: .now + .seconds(seconds))
    }

    let thin = StandIn(sparse: spec, sparsity: request.sparsity)
    let sparseModel = try Model(
      sparse: thin.spec, sparsity: thin.sparsity, distribution: request.distribution, random: random, context: context)
    let sparse = try times(thin, sparseModel, flops: spec.forwardFlops(connections: plan.connections))

    let full = StandIn(dense: spec)
    let denseModel = try Model(
      full.spec, factory: DenseLayerFactory(random: random, context: context), random: random, context: context)
    let dense = try times(full, denseModel, flops: spec.denseForwardFlops)

    self.init(
      sparseTimes: sparse, denseTimes: dense,
      sparseNumbers: plan.connections.reduce(0, +) + spec.denseParameters, denseNumbers: spec.parameters,
      model: ScalingModel(
        link: link, normChannels: spec.batchNormChannels,
        secondsPerNumber: ScalingModel.measuredSecondsPerNumber(context: context)),
      batchSize: request.batchSize, ranks: ranks, sparseStandIn: thin.reduction, denseStandIn: full.reduction)
  }
}

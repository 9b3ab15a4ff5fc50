import EspalierCore
import EspalierTopology
import Foundation

/// Chooses a network's connections from a dense initialisation that is stored nowhere.
struct Scoring {
  typealias Chosen = [(structure: SparseStructure, values: MeteredBuffer<Float>)]

  let spec: ModelSpec
  /// How many are to be chosen.
  let connections: Int
  let sparsity: Double
  let random: CounterRandom
  let context: ComputeContext
  let progress: (String) throws -> Void

  /// The largest weights.
  func magnitude() throws -> (Chosen, flops: Double) {
    let factory = ProceduralLayerFactory(spec, sparsity: sparsity, random: random, context: context)
    let chosen = try choose(factory.weights) { weights, body in
      try weights.forEachScoreTile(.magnitude, context: context, body)
    }
    return (chosen, 0)
  }

  /// SNIP: the largest |w dL/dw|.
  func snip(_ batches: ScoringBatches) throws -> (Chosen, flops: Double) {
    let factory = ProceduralLayerFactory(spec, sparsity: sparsity, random: random, context: context)
    let (factors, samples) = try gradientFactors(of: factory, batches: batches)
    let chosen = try choose(factory.weights) { weights, body in
      try weights.forEachScoreTile(.saliency, gradient: factors[weights.index], context: context, body)
    }
    // Forward, input gradient, and the weight gradient in each of three passes.
    return (chosen, Double(5 * spec.denseForwardFlops) * Double(samples))
  }

  /// GraSP: the largest w (H g).
  func grasp(_ batches: ScoringBatches) throws -> (Chosen, flops: Double) {
    let factory = ProceduralLayerFactory(spec, sparsity: sparsity, random: random, context: context)
    let (gradient, samples) = try gradientFactors(of: factory, batches: batches)
    let step = try 0.005 * normRatio(factory.weights, gradient)
    func factors(_ scale: Double) throws -> [[GradientFactors]] {
      for weights in factory.weights {
        weights.perturbation = .init(scale: Float(scale), factors: gradient[weights.index])
      }
      defer { for weights in factory.weights { weights.perturbation = nil } }
      return try gradientFactors(of: factory, batches: batches).factors
    }
    let (after, before) = (try factors(step), try factors(-step))
    let chosen = try choose(factory.weights) { weights, body in
      try weights.forEachScoreTile(
        .signed, gradient: after[weights.index], less: before[weights.index], factor: Float(1 / (2 * step)),
        context: context, body)
    }
    // Passes of 2, 4 and 4 products forward and backward, one for the norm, two in each of three for the scores: as if perturbations were always made
    // part of the weights, which wide linear layers do without.
    return (chosen, Double(17 * spec.denseForwardFlops) * Double(samples))
  }

  /// - Parameter copies: of all batches' gradient factors that are kept at the same time.
  /// - Throws: `EspalierError.usage` where this machine's memory cannot hold them.
  func requireMemory(for batches: ScoringBatches, copies: Int) throws {
    var numbers = 0
    try spec.layers.visit(input: spec.input) { layer, size in
      switch layer {
      case .convolution, .linear: try numbers += size.count + layer.output(of: size).count
      default: break
      }
    }
    let bytes = Double(copies) * Double(batches.samples) * Double(numbers) * Double(MemoryLayout<Float>.stride)
    let memory = Double(ProcessInfo.processInfo.physicalMemory)
    guard bytes < memory else {
      throw EspalierError.usage(
        "\(spec.name): gradients of \(batches.samples) samples for scores need some \(Int(bytes / 1e9)) GB, this machine has \(Int(memory / 1e9)) GB; use synflow or magnitude, which need none, or a narrower model"
      )
    }
  }

  /// |w| / |g|, of the whole network.
  private func normRatio(_ weights: [ProceduralWeights], _ gradient: [[GradientFactors]]) throws -> Double {
    var (values, gradients) = (0.0, 0.0)
    for weights in weights {
      weights.forEachScoreTile(.signed, gradient: gradient[weights.index], context: context) { tile in
        guard let g = tile.gradients else { return }
        for k in 0..<tile.count {
          values += Double(tile.values.pointer[k] * tile.values.pointer[k])
          gradients += Double(g[k] * g[k])
        }
      }
    }
    guard gradients > 0, gradients.isFinite else {
      throw EspalierError.diverged(
        "scores: the gradient of the initial weights is zero or not finite; try another --seed")
    }
    return (values / gradients).squareRoot()
  }

  /// Forward and backward on all batches in training mode: what the layers' gradients are made of, by layer and batch.
  private func gradientFactors(
    of factory: ProceduralLayerFactory, batches: ScoringBatches
  ) throws -> (factors: [[GradientFactors]], samples: Int) {
    let model = try Model(spec, factory: factory, random: random, context: context)
    var factors = [[GradientFactors]](repeating: [], count: spec.weightLayers.count)
    var samples = 0
    try batches.forEach { number, batch in
      try progress("scores: gradients of batch \(number + 1)")
      let tape = Tape(context: context, mode: .training(step: number))
      tape.gradientFactorsVisitor = { factors[$0.index].append($1) }
      let logits = try model(Variable(batch.images), on: tape)
      let delta = context.pool.activations(logits.shape)
      let loss = batch.labels.withUnsafeBufferPointer {
        context.softmaxCrossEntropy(
          logits.value, labels: $0, labelSmoothing: Float(batches.options.labelSmoothing), gradient: delta)
      }
      guard loss.total.isFinite else {
        throw EspalierError.diverged("scores: the loss of the initial weights is \(loss.words); try another --seed")
      }
      try tape.backward(from: logits, gradient: delta)
      samples += batch.labels.count
    }
    guard samples > 0 else {
      throw EspalierError.input("scores: no training image can be read; is the data set whole?")
    }
    return (factors, samples)
  }

  /// The weights with the largest scores of what `stream` shows of each layer.
  private func choose(
    _ weights: [ProceduralWeights],
    stream: @escaping (ProceduralWeights, (ScoreTile) throws -> Void) throws -> Void
  ) throws -> Chosen {
    let builders = weights.map {
      StructureBuilder(name: $0.name, rows: $0.rows, columns: $0.columns, meter: context.meter)
    }
    try progress("scores: selecting \(connections) of \(spec.sparsifiableWeights) weights")
    try ScoreSelection(context: context).select(
      connections, from: weights.map { layer in { body in try stream(layer, body) } }
    ) { layer, tile, places in builders[layer].append(tile, places: places) }
    return builders.map { $0.finish() }
  }
}

// MARK: SynFlow

extension Scoring {
  static let synflowRounds = 100

  /// Weights that live after a round: the fraction (1 - sparsity)^(round / rounds), the final number exactly after the last.
  func survivors(afterRound round: Int, of rounds: Int = synflowRounds) -> Int {
    guard round < rounds else { return connections }
    let fraction = pow(1 - sparsity, Double(round) / Double(rounds))
    return max(connections, min(spec.sparsifiableWeights, Int((fraction * Double(spec.sparsifiableWeights)).rounded())))
  }

  /// Iterative synaptic flow pruning.
  func synflow() throws -> (Chosen, flops: Double) {
    let factory = ProceduralLayerFactory(
      spec, sparsity: sparsity, isMasked: true, takesMagnitudes: true, random: random, context: context)
    let network = try LinearizedModel(spec, weights: factory.weights, context: context)
    var flops = 0.0
    try progress("synflow: \(Self.synflowRounds) rounds, \(spec.sparsifiableWeights) weights")
    for round in 1...Self.synflowRounds {
      let started = ContinuousClock.now
      let live = factory.weights.map { $0.mask?.count ?? 0 }
      flops += Double(5 * spec.forwardFlops(connections: live))
      try prune(factory.weights, to: survivors(afterRound: round), by: network.flow())
      let seconds = (ContinuousClock.now - started).seconds
      try progress(
        "synflow: round \(round) of \(Self.synflowRounds), \(live.reduce(0, +)) weights, "
          + String(format: "%.1f s", seconds))
    }
    let chosen = factory.weights.map { weights in
      let builder = StructureBuilder(
        name: weights.name, rows: weights.rows, columns: weights.columns, meter: context.meter)
      weights.takesMagnitudes = false
      weights.forEachScoreTile(.magnitude, context: context) { tile in
        Array(0..<UInt32(tile.count)).withUnsafeBufferPointer { builder.append(tile, places: $0) }
      }
      return builder.finish()
    }
    return (chosen, flops)
  }

  /// One round: of the live weights the k with the largest flow stay.
  private func prune(_ weights: [ProceduralWeights], to k: Int, by flow: [LinearizedModel.Flow]) throws {
    let streams = weights.map { weights -> ScoreSelection.Stream in
      { body in
        let flow = flow[weights.index]
        try weights.forEachScoreTile(
          .saliency, gradient: [flow.factors], factor: flow.scale, context: context, body)
      }
    }
    try ScoreSelection(context: context).select(k, from: streams) { layer, tile, places in
      weights[layer].mask?.keep(places, of: tile)
    }
  }
}

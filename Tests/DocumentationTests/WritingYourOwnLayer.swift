import Espalier
import Testing

// snippet
extension Tape {
  /// y = max(x, 0)^2; dx = 2 max(x, 0) dy (So et al. 2021, arXiv 2109.08668).
  func squaredReLU(_ x: Variable) -> Variable {
    let (context, input) = (context, x.value)
    let output = context.pool.activations(x.shape)
    for i in 0..<x.shape.count {
      let positive = max(input.buffer[i], 0)
      output.buffer[i] = positive * positive
    }
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(delta.shape)
      for i in 0..<delta.shape.count { gradient.buffer[i] = 2 * max(input.buffer[i], 0) * delta.buffer[i] }
      return [gradient]
    }
  }
}

/// max(x, 0)^2
struct SquaredReLU: Layer {
  func callAsFunction(_ x: Variable, on tape: Tape) -> Variable { tape.squaredReLU(x) }
}
// end

// snippet
extension Tape {
  /// y[c] = gain[c] x[c]; dx[c] = gain[c] dy[c]; dgain[c] = the sum over samples of x[c] dy[c].
  func scale(_ x: Variable, by gain: VectorParameter) throws -> Variable {
    let (context, input, shape) = (context, x.value, x.shape)
    guard shape.channels == gain.count, shape.positions == 1 else {
      throw EspalierError.usage("\(gain.name): expected vectors of \(gain.count), found \(shape.features) features")
    }
    func channel(_ i: Int) -> Int { i / shape.lanes % shape.channels }
    let output = context.pool.activations(shape)
    for i in 0..<shape.count { output.buffer[i] = gain.values[channel(i)] * input.buffer[i] }
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(shape)
      gain.gradient.buffer.update(repeating: 0)
      for i in 0..<shape.count {
        gain.gradient[channel(i)] += input.buffer[i] * delta.buffer[i]
        gradient.buffer[i] = gain.values[channel(i)] * delta.buffer[i]
      }
      return [gradient]
    }
  }
}
// end

// snippet
/// y = gain * (W x), W sparse [outputs, inputs].
struct GainLinear: Layer {
  let weight: SparseParameter
  let gain: VectorParameter

  var parameters: [any Parameter] { [weight, gain] }
  var state: [StateTensor] { [.sparse(weight), gain.state] }

  func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    try tape.scale(tape.sparseLinear(x, weight: weight, bias: nil), by: gain)
  }
}
// end

// snippet
/// The largest relative error of a layer's gradients against central differences of sum(c * y).
func gradientError(of layer: some Layer, at x: Activations, context: ComputeContext) throws -> Double {
  let tape = Tape(context: context, mode: .training(step: 0))
  let input = tape.input(x)
  let output = try layer(input, on: tape)
  let c = context.activations(output.shape) { Float((5 * $0 + 3 * $1) % 7) - 3.5 }
  let gradient = try tape.backward(from: output, gradient: c, sources: [input])[0]

  func loss() throws -> Double {
    let y = try layer(Variable(x), on: Tape(context: context, mode: .training(step: 0))).value
    var sum = 0.0
    for sample in 0..<y.shape.samples {
      for i in 0..<y.shape.features {
        sum += Double(c[sample: sample, feature: i]) * Double(y[sample: sample, feature: i])
      }
    }
    return sum
  }
  func error(of analytic: Float?, moving move: (Float) throws -> Void) throws -> Double {
    let step = Float(1) / 64
    try move(step)
    let above = try loss()
    try move(-2 * step)
    let numeric = (above - (try loss())) / Double(2 * step)
    try move(step)
    return abs(numeric - Double(analytic ?? .nan)) / max(1, abs(numeric))
  }

  var largest = 0.0
  for sample in 0..<x.shape.samples {
    for i in 0..<x.shape.features {
      let analytic = gradient?[sample: sample, feature: i]
      largest = max(largest, try error(of: analytic) { x[sample: sample, feature: i] += $0 })
    }
  }
  for parameter in layer.parameters {
    for i in 0..<parameter.count {
      let analytic = parameter.gradient[i]
      largest = max(largest, try error(of: analytic) { step in parameter.withMutableValues { $0[i] += step } })
    }
  }
  return largest
}
// end

@Suite struct WritingYourOwnLayer {
  @Test func gradientsAreThoseOfTheForwardPass() throws {
    let context = try ComputeContext(threads: 2)
    let structure = SparseStructure.random(
      SparseLayerShape(name: "own", rows: 5, inChannels: 4), count: 9,
      stream: CounterRandom(seed: 0).stream(.topology), meter: context.meter)
    // snippet
    let matrix = SparseMatrix(name: "own", structure: structure, meter: context.meter)
    let weight = SparseParameter(matrix: matrix, index: 0)
    FanInInitialization(random: CounterRandom(seed: 0))(weight, bias: nil)
    let gain = VectorParameter(name: "own.gain", count: matrix.rows, value: 1.5, meter: context.meter)

    let vectors = ActivationShape(samples: 3, channels: matrix.columns)
    let x = context.activations(vectors) { Float((7 * $0 + 3 * $1) % 11) / 5 - 1.1 }
    let errors = [
      try gradientError(of: SquaredReLU(), at: x, context: context),
      try gradientError(of: GainLinear(weight: weight, gain: gain), at: x, context: context),
    ]
    print(errors.allSatisfy { $0 < 1e-3 })
    // end
    #expect(errors.allSatisfy { $0 < 1e-3 }, "\(errors)")
  }

  /// The check is one that a wrong gradient fails.
  @Test func theCheckRefusesAWrongGradient() throws {
    struct HalfGradient: Layer {
      func callAsFunction(_ x: Variable, on tape: Tape) -> Variable {
        tape.record(x.value, inputs: [x]) { delta in
          [tape.context.activations(delta.shape) { delta[sample: $0, feature: $1] / 2 }]
        }
      }
    }
    let context = try ComputeContext(threads: 1)
    let x = context.activations(ActivationShape(samples: 3, channels: 4)) { Float($0 - $1) }
    #expect(try gradientError(of: HalfGradient(), at: x, context: context) > 0.3)
  }
}

// snippet
/// Makes every linear layer without a bias one with a gain.
struct GainLayers: WeightLayerFactory {
  let sparse: SparseLayerFactory

  func makeLayer(_ layer: WeightLayer) throws -> any Layer {
    let made = try sparse.makeLayer(layer)
    guard let linear = made as? SparseLinear, !layer.hasBias else { return made }
    let gain = VectorParameter(
      name: layer.shape.name + ".gain", count: layer.shape.rows, value: 1, meter: sparse.context.meter)
    return GainLinear(weight: linear.weight, gain: gain)
  }
}
// end

extension WritingYourOwnLayer {
  @Test func ownLayersTrainWithTheRest() throws {
    let run = try SmallRun()
    let (dataset, normalization, options, context) = (run.dataset, run.normalization, run.options, run.context)
    // snippet
    let spec = try ModelSpec(
      name: "gains", input: FeatureSize(channels: 1, height: 28, width: 28), classes: 10,
      layers: [
        .flatten, .linear(name: "hidden", outputs: 64, bias: false), .relu, .linear(name: "head", outputs: 10),
      ])
    let random = CounterRandom(seed: 0)
    let budgets = try ErdosRenyi().budgets(for: spec.weightLayers.map(\.shape), sparsity: 0.9)
    let factory = GainLayers(sparse: SparseLayerFactory(budgets: budgets, random: random, context: context))
    let plain = try Model(spec, factory: factory, random: random, context: context)
    let model = try Model(spec, layers: plain.layers.map { $0 is ReLU ? SquaredReLU() : $0 })

    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: normalization, options: options,
      updater: SET(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: context)
    try trainer.run()
    print(model.state.map(\.name))  // ["head.bias", "head.weight", "hidden.gain", "hidden.weight"]
    // end
    #expect(model.state.map(\.name) == ["head.bias", "head.weight", "hidden.gain", "hidden.weight"])
    #expect(model.connections == budgets.reduce(0, +))
    let moved = try #require(model.parameters.first { $0.name == "hidden.gain" })
    #expect(moved.withMutableValues { gains in gains.contains { $0 != 1 } })
  }

  @Test func layersOfAnotherDescriptionAreRefused() throws {
    let run = try SmallRun()
    let model = try Model(sparse: run.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: run.context)
    #expect(throws: EspalierError.self) { try Model(run.spec, layers: model.layers.dropLast()) }
    #expect(throws: EspalierError.self) { try Model(run.spec, layers: model.layers.reversed()) }
    #expect(try Model(run.spec, layers: model.layers).weightsSHA256 == model.weightsSHA256)
  }
}

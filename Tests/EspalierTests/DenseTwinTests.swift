import Espalier
import EspalierBaselines
import EspalierCore
import EspalierData
import TestSupport
import Testing

/// A dense network on OpenBLAS and a sparse one with every connection present compute the same.
@Suite struct DenseTwinTests {
  private struct Pass {
    let loss: Double
    let correct: Int
    let logits: [Float]
    let gradients: [String: [Float]]
  }

  private func pass(_ model: Model, _ context: ComputeContext, samples: Int) throws -> Pass {
    let input = context.pool.activations(
      ActivationShape(
        samples: samples, channels: model.spec.input.channels, height: model.spec.input.height,
        width: model.spec.input.width))
    var random = LayerRandom(seed: 9)
    input.buffer.update(repeating: 0)
    for sample in 0..<samples {
      for feature in 0..<model.spec.input.count {
        input[sample: sample, feature: feature] = Float.random(in: -2...2, using: &random)
      }
    }
    let labels = (0..<samples).map { UInt32($0 % model.spec.classes) }
    let tape = Tape(context: context, mode: .training(step: 0))
    let logits = try model(Variable(input), on: tape)
    let delta = context.pool.activations(logits.shape)
    delta.buffer.update(repeating: .nan)
    let loss = labels.withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    try tape.backward(from: logits, gradient: delta)
    var gradients: [String: [Float]] = [:]
    for parameter in model.parameters { gradients[parameter.name] = parameter.gradient.array }
    let outputs = (0..<samples).flatMap { sample in
      (0..<model.spec.classes).map { logits.value[sample: sample, feature: $0] }
    }
    return Pass(loss: loss.total, correct: loss.correct, logits: outputs, gradients: gradients)
  }

  /// Copies the numbers of one model's state into the other's, by name.
  private func copy(_ source: Model, to target: Model) throws {
    let targets = Dictionary(uniqueKeysWithValues: target.state.map { ($0.name, $0) })
    for tensor in source.state {
      let numbers: [Float] =
        switch tensor {
        case .sparse(let parameter): parameter.matrix.withValues { Array($0) }
        case .dense(_, _, let values): values.array
        }
      switch try #require(targets[tensor.name]) {
      case .sparse(let parameter): parameter.withMutableValues { _ = $0.update(fromContentsOf: numbers) }
      case .dense(_, _, let values):
        try #require(values.count == numbers.count)
        _ = values.buffer.update(fromContentsOf: numbers)
      }
    }
  }

  @Test(arguments: [1, 8, 33, 64])
  func bothComputeTheSame(samples: Int) throws {
    let spec = try TrainingSetup.convolutional().spec
    let context = try ComputeContext(threads: 2)
    let random = CounterRandom(seed: 6)
    let sparse = try Model(sparse: spec, sparsity: 0, random: random, context: context)
    let dense = try Model(
      spec, factory: DenseLayerFactory(random: CounterRandom(seed: 99), context: context), random: random,
      context: context)
    #expect(dense.sparseParameters.isEmpty)
    #expect(dense.connectionCounts == sparse.connectionCounts)
    #expect(dense.parameters.map(\.name) == sparse.parameters.map(\.name))
    #expect(dense.parameters.map(\.count) == sparse.parameters.map(\.count))
    try copy(sparse, to: dense)
    let (a, b) = (try pass(sparse, context, samples: samples), try pass(dense, context, samples: samples))
    #expect(abs(a.loss - b.loss) <= 1e-5 * abs(b.loss))
    #expect(a.correct == b.correct)
    expectClose(a.logits, b.logits, "logits")
    for parameter in sparse.parameters {
      let (found, expected) = (try #require(a.gradients[parameter.name]), try #require(b.gradients[parameter.name]))
      // A bias right before a norm has no influence: its gradient is rounding alone.
      if parameter.name != "conv1.bias" { expectClose(found, expected, parameter.name) }
    }
  }

  /// Sums of some hundred terms in two orders: equal within 2^-15 of the largest.
  private func expectClose(_ found: [Float], _ expected: [Float], _ name: String) {
    let largest = expected.map(abs).max() ?? 0
    let difference = zip(found, expected).map { abs($0 - $1) }.max() ?? .infinity
    #expect(found.count == expected.count)
    #expect(largest > 1e-4, "\(name)")
    #expect(difference <= largest / 32_768, "\(name)")
    #expect(!found.contains { $0.isNaN })
  }

  @Test func aDenseModelTrainsAndRepeats() throws {
    let setup = try TrainingSetup.perceptron(steps: 60)
    var hashes: Set<String> = []
    for threads in [1, 2, 3, 5] {
      let context = try ComputeContext(threads: threads)
      let random = CounterRandom(seed: setup.options.seed)
      let factory = DenseLayerFactory(random: random, context: context)
      let model = try Model(setup.spec, factory: factory, random: random, context: context)
      let trainer = try Trainer(
        model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
        context: context)
      let result = try trainer.run(observer: TrainingRecorder())
      #expect(result.testAccuracy > 0.8)
      #expect(result.explorationRate == 1)
      #expect(result.trainFlopsPerSample == Double(3 * setup.spec.denseForwardFlops))
      hashes.insert(model.weightsSHA256)
    }
    #expect(hashes.count == 1)
  }
}

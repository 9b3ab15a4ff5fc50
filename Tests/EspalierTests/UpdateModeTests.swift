import Espalier
import EspalierCore
import EspalierData
import EspalierTopology
import Foundation
import Testing

/// Softmax regression by hand, in Double: gradients of the mean loss of one batch.
private struct RegressionOracle {
  let dataset: ImageDataset

  /// (byte / 255 - mean) / deviation
  func image(_ index: Int) -> [Double] {
    let size = dataset.height * dataset.width
    let mean = Double(TrainingSetup.normalization.mean[0])
    let deviation = Double(TrainingSetup.normalization.deviation[0])
    return (0..<size).map { (Double(dataset.train.images[index * size + $0]) / 255 - mean) / deviation }
  }

  /// Of all weights [classes][inputs] and of the biases.
  func gradients(
    weights: [Connection: Float], biases: [Float], batch: Range<Int>
  ) -> (weights: [[Double]], biases: [Double]) {
    let classes = dataset.classes
    var dW = [[Double]](repeating: [Double](repeating: 0, count: dataset.height * dataset.width), count: classes)
    var db = [Double](repeating: 0, count: classes)
    for index in batch {
      let x = image(index)
      var logits = biases.map(Double.init)
      for (connection, weight) in weights { logits[connection.row] += Double(weight) * x[connection.column] }
      let powers = logits.map { exp($0 - logits.max()!) }
      let sum = powers.reduce(0, +)
      for c in 0..<classes {
        let target: Double = Int(dataset.train.labels[index]) == c ? 1 : 0
        let delta = (powers[c] / sum - target) / Double(batch.count)
        db[c] += delta
        for i in x.indices { dW[c][i] += delta * x[i] }
      }
    }
    return (dW, db)
  }
}

/// What an update does to the optimizer's step, checked on a model small enough for an oracle.
@Suite struct UpdateModeTests {
  private struct Snapshot {
    var weights: [Connection: Float]
    var velocities: [Connection: Float]
    var biases: [Float]
    var biasVelocities: [Float]
    var rate: Double

    init(_ model: Model, rate: Double) {
      let weight = model.sparseParameters[0]
      weights = weight.weights
      velocities = weight.optimizerState.isEmpty ? [:] : weight.byConnection(weight.optimizerState[0].array)
      let bias = model.parameters[1]
      biases = bias.withMutableValues { Array($0) }
      biasVelocities = bias.optimizerState.first?.array ?? []
      self.rate = rate
    }
  }

  private static let batch = 16
  /// Rounding of some 40 terms below 4 in Float, with room; gradients and steps here are 100 times as large.
  private static let bound = 2e-5

  /// 3 classes of 6 x 6 images: 108 possible connections, half of them active; all inactive ones are candidates.
  private func train(
    _ mode: UpdateMode
  ) throws -> (snapshots: [Snapshot], updates: [UpdateRecord], oracle: RegressionOracle, end: Int) {
    let spec = try ModelSpec(
      name: "regression", input: FeatureSize(channels: 1, height: 6, width: 6), classes: 3,
      layers: [.flatten, .linear(name: "linear", outputs: 3)])
    let dataset = try ImageDataset.synthetic(trainCount: 64, testCount: 16, seed: 1, classes: 3, height: 6, width: 6)
    var options = TrainingOptions(epochs: nil, maxSteps: 12)
    options.batchSize = Self.batch
    options.shuffles = false
    options.learningRate = 0.25
    options.weightDecay = 0.0078125
    options.warmupEpochs = 0
    var setup = TrainingSetup(spec: spec, dataset: dataset, options: options)
    setup.sparsity = 0.5
    setup.interval = 3
    setup.gamma = 64
    setup.mode = mode
    let run = try setup.make()
    let recorder = TrainingRecorder()
    var snapshots = [Snapshot(run.model, rate: 0)]
    recorder.onStep = { snapshots.append(Snapshot(run.model, rate: $0.learningRate)) }
    _ = try run.trainer.run(observer: recorder)
    #expect(recorder.updates.map(\.step) == [4, 7, 10])
    return (snapshots, recorder.updates, RegressionOracle(dataset: dataset), 11)
  }

  /// snapshots[k] -> snapshots[k + 1] by PyTorch's rule, with gradients of the weights before the step.
  private func expectOptimizerStep(_ k: Int, _ snapshots: [Snapshot], _ oracle: RegressionOracle) {
    let (old, new) = (snapshots[k], snapshots[k + 1])
    let first = k % 4 * Self.batch
    let gradients = oracle.gradients(weights: old.weights, biases: old.biases, batch: first..<first + Self.batch)
    for (connection, weight) in new.weights {
      let before = Double(old.weights[connection] ?? 0)
      let gradient = gradients.weights[connection.row][connection.column] + 0.0078125 * before
      let velocity = 0.9 * Double(old.velocities[connection] ?? 0) + gradient
      #expect(abs(Double(new.velocities[connection] ?? .nan) - velocity) < Self.bound, "step \(k), \(connection)")
      #expect(abs(Double(weight) - (before - new.rate * velocity)) < Self.bound, "step \(k), \(connection)")
    }
    for c in old.biases.indices {
      let gradient = gradients.biases[c] + 0.0078125 * Double(old.biases[c])
      let velocity = 0.9 * Double(old.biasVelocities.isEmpty ? 0 : old.biasVelocities[c]) + gradient
      #expect(abs(Double(new.biasVelocities[c]) - velocity) < Self.bound)
      #expect(abs(Double(new.biases[c]) - (Double(old.biases[c]) - new.rate * velocity)) < Self.bound)
    }
  }

  /// The smallest weights went; of all inactive connections those with the largest gradients came, as many.
  private func expectExchange(_ k: Int, _ snapshots: [Snapshot], _ oracle: RegressionOracle, fraction: Double) {
    let (old, new) = (snapshots[k], snapshots[k + 1])
    let pruned = Set(old.weights.keys).subtracting(new.weights.keys)
    let grown = Set(new.weights.keys).subtracting(old.weights.keys)
    let count = Int((fraction * 54).rounded(.up))
    #expect(pruned.count == count && grown.count == count && new.weights.count == 54)
    let kept = old.weights.keys.filter { !pruned.contains($0) }
    let largestPruned = pruned.map { abs(old.weights[$0] ?? 0) }.max() ?? .infinity
    #expect(largestPruned <= kept.map { abs(old.weights[$0] ?? 0) }.min() ?? 0)

    let first = k % 4 * Self.batch
    let gradients = oracle.gradients(
      weights: old.weights, biases: old.biases, batch: first..<first + Self.batch
    ).weights
    var left = 0.0
    for row in 0..<3 {
      for column in 0..<36 {
        let connection = Connection(layer: 0, row: row, column: column)
        if old.weights[connection] == nil, !grown.contains(connection) { left = max(left, abs(gradients[row][column])) }
      }
    }
    let smallestGrown = grown.map { abs(gradients[$0.row][$0.column]) }.min() ?? 0
    #expect(smallestGrown >= left - Self.bound)
    #expect(smallestGrown > 100 * Self.bound)
  }

  @Test func replaceMovesConnectionsAndNothingElse() throws {
    let (snapshots, updates, oracle, end) = try train(.replace)
    for k in 0..<12 {
      guard let update = updates.first(where: { $0.step == k + 1 }) else {
        expectOptimizerStep(k, snapshots, oracle)
        continue
      }
      let (old, new) = (snapshots[k], snapshots[k + 1])
      let fraction = 0.15 * (1 + cos(Double.pi * Double(k) / Double(end)))
      #expect(abs(update.fraction - fraction) < 1e-12)
      expectExchange(k, snapshots, oracle, fraction: fraction)
      for (connection, weight) in new.weights {
        #expect(weight == old.weights[connection] ?? 0)
        #expect(new.velocities[connection] == old.velocities[connection] ?? 0)
      }
      #expect(new.biases == old.biases)
      #expect(new.biasVelocities == old.biasVelocities)
    }
  }

  @Test func addStepsAfterTheChangeWithGrownConnectionsToo() throws {
    let (snapshots, updates, oracle, _) = try train(.add)
    for k in 0..<12 {
      expectOptimizerStep(k, snapshots, oracle)
      guard let update = updates.first(where: { $0.step == k + 1 }) else { continue }
      let (old, new) = (snapshots[k], snapshots[k + 1])
      expectExchange(k, snapshots, oracle, fraction: update.fraction)
      for (connection, weight) in new.weights where old.weights[connection] == nil {
        #expect(abs(weight) > 1e-4, "a grown connection takes a step at once")
      }
    }
  }
}

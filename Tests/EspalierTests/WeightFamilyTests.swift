import Espalier
import EspalierCore
import EspalierTopology
import Foundation
import TestSupport
import Testing

/// Powerpropagation and DeepHoyer against plain forms in Double.
@Suite struct WeightFamilyTests {
  private let context: ComputeContext
  private let parameter: SparseParameter

  init() throws {
    context = try ComputeContext(threads: 2)
    var random = LayerRandom(seed: 12)
    let layer = OracleLayer(rows: 9, columns: 11, count: 40, using: &random)
    let structure = try SparseStructure(rows: 9, columns: 11, connections: layer.connections, meter: context.meter)
    parameter = SparseParameter(
      matrix: SparseMatrix(name: "layer", structure: structure, meter: context.meter), index: 0)
    parameter.withMutableValues { values in
      for i in values.indices { values[i] = i == 7 ? 0 : layer.values[i] }
    }
    for i in 0..<40 { parameter.gradient[i] = Float.random(in: -1...1, using: &random) }
  }

  private var weights: [Double] { parameter.matrix.withValues { $0.map(Double.init) } }
  private var gradients: [Double] { parameter.gradient.array.map(Double.init) }

  /// lambda (sum |w|)^2 / sum w^2 by central differences; whatever the scale, no gradient along the weights themselves.
  @Test func deepHoyerIsTheRegularizersGradient() {
    let (weights, before) = (weights, gradients)
    func loss(_ w: [Double]) -> Double {
      let sum = w.reduce(0) { $0 + abs($1) }
      return 0.3 * sum * sum / w.reduce(0) { $0 + $1 * $1 }
    }
    DeepHoyer(lambda: 0.3)(parameter)
    var along = 0.0
    for i in weights.indices where i != 7 {
      var (up, down) = (weights, weights)
      up[i] += 1e-6
      down[i] -= 1e-6
      let expected = (loss(up) - loss(down)) / 2e-6
      #expect(abs(gradients[i] - before[i] - expected) < 1e-5)
      along += (gradients[i] - before[i]) * weights[i]
    }
    #expect(gradients[7] == before[7], "a weight of zero stays where the loss wants it")
    #expect(abs(along) < 1e-5)
  }

  @Test func deepHoyerOfNothingIsNothing() {
    parameter.withMutableValues { $0.update(repeating: 0) }
    let before = gradients
    DeepHoyer(lambda: 1)(parameter)
    #expect(gradients == before)
  }

  /// A step of SGD on phi, with momentum and weight decay; the weight that is zero moves.
  @Test(arguments: [1.5, 2, 4])
  func powerpropagationMovesPhi(alpha: Double) {
    let (weights, slopes) = (weights, gradients)
    let phi = weights.map { ($0 < 0 ? -1 : 1) * pow(abs($0), 1 / alpha) }
    let least = 0.1 * phi.reduce(0) { $0 + abs($1) } / 40
    let sgd = SGD(momentum: 0.9, weightDecay: 0.01)
    Powerpropagation(alpha: alpha)([parameter]) {
      sgd.step([parameter], number: 1, learningRate: 0.05, context: context)
    }
    for i in 0..<40 {
      let slope = slopes[i] * alpha * pow(max(abs(phi[i]), least), alpha - 1)
      let moved = phi[i] - 0.05 * (slope + 0.01 * phi[i])
      #expect(abs(self.weights[i] - moved * pow(abs(moved), alpha - 1)) < 1e-5)
    }
    #expect(self.weights[7] != 0 && slopes[7] != 0)
    // The factor is the derivative of the weight by phi.
    let i = 0
    let derivative = (pow(abs(phi[i]) + 1e-6, alpha) - pow(abs(phi[i]) - 1e-6, alpha)) / 2e-6
    #expect(abs(phi[i]) <= least || abs(derivative - alpha * pow(abs(phi[i]), alpha - 1)) < 1e-5)
  }

  @Test func theyChangeTrainingAndKeepBudgets() throws {
    var setup = try TrainingSetup.convolutional()
    let plain = try setup.train()
    setup.options.powerprop = 2
    let power = try setup.train()
    setup.options.powerprop = 1
    setup.options.deepHoyer = 0.01
    let hoyer = try setup.train()
    #expect(Set([plain, power, hoyer].map(\.run.model.weightsSHA256)).count == 3)
    #expect(Set([plain, power, hoyer].map(\.run.model.connections)).count == 1)
    // Grown connections move: hardly any weight is zero at the end.
    let zeros = power.run.model.sparseParameters.reduce(0) { sum, layer in
      sum + layer.matrix.withValues { $0.count { $0 == 0 } }
    }
    #expect(zeros < power.run.model.connections / 50)
    for threads in [1, 3] {
      setup.threads = threads
      #expect(try setup.train().run.model.weightsSHA256 == hoyer.run.model.weightsSHA256)
    }
  }
}

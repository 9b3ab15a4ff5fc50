import Espalier
import Testing

// snippet
/// w -= lr (sign(b1 m + (1 - b1) g) + wd w), then m = b2 m + (1 - b2) g (Chen et al. 2023, arXiv 2302.06675).
struct Lion: Optimizer {
  var (beta1, beta2) = (Float(0.9), Float(0.99))
  var weightDecay = 1e-4
  let stateNames = ["exp_avg"]

  func step(_ parameters: [any Parameter], number: Int, learningRate: Double, context: ComputeContext) {
    for parameter in parameters {
      prepare(parameter)
      let (gradient, average) = (parameter.gradient, parameter.optimizerState[0])
      let shrink = Float(decay(weightDecay, of: parameter, learningRate: learningRate))
      parameter.withMutableValues { weights in
        for i in weights.indices {
          let mean = beta1 * average[i] + (1 - beta1) * gradient[i]
          let sign: Float = mean > 0 ? 1 : mean < 0 ? -1 : 0
          weights[i] -= Float(learningRate) * (sign + shrink * weights[i])
          average[i] = beta2 * average[i] + (1 - beta2) * gradient[i]
        }
      }
    }
  }
}
// end

@Suite struct WritingYourOwnOptimizer {
  @Test func anOptimizerOfOnesOwnTrains() throws {
    let run = try SmallRun()
    let (dataset, normalization, context) = (run.dataset, run.normalization, run.context)
    let model = try Model(sparse: run.spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    var options = run.options
    // snippet
    options.learningRate = 1e-3
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: normalization, options: options, optimizer: Lion(),
      updater: SET(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: context)
    let result = try trainer.run()
    print(result.history.map(\.trainLoss))
    // end
    #expect(model.connections == run.budget && result.history.count == 3)
    #expect(result.history[2].trainLoss < 0.9 * result.history[0].trainLoss)
    #expect(model.parameters.allSatisfy { $0.optimizerState.count == 1 })
  }
}

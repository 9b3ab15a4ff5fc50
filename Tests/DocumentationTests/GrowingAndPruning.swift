import Espalier
import Testing

@Suite struct GrowingAndPruning {
  @Test func updatesKeepTheBudget() throws {
    let run = try SmallRun()
    let (dataset, normalization, spec, options) = (run.dataset, run.normalization, run.spec, run.options)
    let context = run.context
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    // snippet
    let schedule = UpdateSchedule(interval: 10, end: 50, fraction: 0.3)
    let updater = try GSE(schedule: schedule, guide: .grabo, gamma: 1, scope: .global)
    // end

    // snippet
    final class Churn: TrainingObserver {
      private(set) var updates: [UpdateRecord] = []
      func didUpdateTopology(_ record: UpdateRecord) { updates.append(record) }
    }

    let churn = Churn()
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: normalization, options: options, updater: updater,
      context: context)
    try trainer.run(observer: churn)
    for update in churn.updates {
      for layer in update.layers {
        print(
          "step \(update.step), \(layer.name): +\(layer.grown) -\(layer.pruned) of \(layer.candidates) examined,",
          "\(layer.nnz) active, \(layer.emptyRows) units without a connection")
      }
    }
    // end
    #expect(churn.updates.count == 4)
    #expect(churn.updates.allSatisfy { $0.nnz == run.budget && $0.grown > 0 })
    #expect(model.connections == run.budget)
  }

  @Test func methodsAreComparedUnderOneSchedule() throws {
    let run = try SmallRun()
    let (dataset, normalization, spec, options) = (run.dataset, run.normalization, run.spec, run.options)
    let (context, schedule) = (run.context, UpdateSchedule(interval: 10, end: 50, fraction: 0.3))
    // snippet
    let methods: [any TopologyUpdater] = [
      try GSE(schedule: schedule, guide: .graest), SET(schedule: schedule), RigL(schedule: schedule),
    ]
    for method in methods {
      let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
      let trainer = try Trainer(
        model: model, dataset: dataset, normalization: normalization, options: options, updater: method,
        context: context)
      let result = try trainer.run()
      print("\(type(of: method)): accuracy \(result.testAccuracy), \(result.trainFlopsPerSample) operations a sample")
    }
    // end
  }
}

import Espalier
import Testing

@Suite struct Reproducibility {
  @Test func threadsDoNotMatter() throws {
    let run = try SmallRun()
    let (dataset, normalization, spec, options) = (run.dataset, run.normalization, run.spec, run.options)
    // snippet
    let digests = try [1, 2].map { threads in
      let context = try ComputeContext(threads: threads)
      let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: options.seed), context: context)
      let trainer = try Trainer(
        model: model, dataset: dataset, normalization: normalization, options: options,
        updater: try GSE(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: context)
      try trainer.run()
      return model.weightsSHA256
    }
    print(digests[0] == digests[1])  // true
    // end
    #expect(digests[0] == digests[1])
  }

  @Test func randomNumbersAreAFunction() {
    // snippet
    let random = CounterRandom(seed: 7)
    let stream = random.stream(.growth, layer: 2, step: 100)
    print(stream.below(10, at: 5) == random.stream(.growth, layer: 2, step: 100).below(10, at: 5))  // true
    // end
    #expect(stream.below(10, at: 5) == random.stream(.growth, layer: 2, step: 100).below(10, at: 5))
    #expect((0..<100).contains { stream.below(10, at: $0) != stream.below(10, at: 5) })
  }

  @Test func theInstructionSetCanBeChosen() throws {
    // snippet
    for instructionSet in InstructionSet.available {
      let context = try ComputeContext(threads: 2, instructionSet: instructionSet)
      print("\(instructionSet) on \(context.threads) threads")
    }
    // end
    #expect(InstructionSet.available.contains { $0.name == "scalar" })
  }
}

import Espalier
import EspalierCore
import EspalierData
import EspalierTestRanks
import EspalierTopology
import Testing

/// Several ranks train one model: the same bits on all of them, and what one process would have trained.
@Suite(.serialized) struct RankTrainingTests {
  /// One thread a rank.
  private static func convolutional(steps: Int = 16) throws -> TrainingSetup {
    var setup = try TrainingSetup.convolutional(steps: steps)
    setup.threads = 1
    return setup
  }

  /// What one rank came to.
  private struct Outcome: Sendable {
    var hash = ""
    var losses: [Double] = []
    var accuracies: [Double] = []
    var test: [Double] = []
    var updates: [Int] = []
    var grown = 0
    var parameters = 0
    var record: RankRecord?
    var sent = 0
  }

  private static func outcome(
    _ run: TrainingRun, _ recorder: TrainingRecorder, _ result: TrainingResult, sent: Int = 0
  ) -> Outcome {
    Outcome(
      hash: run.model.weightsSHA256, losses: recorder.steps.map(\.trainLoss),
      accuracies: recorder.steps.map(\.trainAccuracy), test: [result.testLoss, result.testAccuracy],
      updates: recorder.updates.map(\.step), grown: recorder.updates.reduce(0) { $0 + $1.grown },
      parameters: run.model.parameters.reduce(0) { $0 + $1.count }, record: result.ranks, sent: sent)
  }

  private typealias Maker = @Sendable (RankGroup) throws -> TrainingRun

  private static func train(_ ranks: Int, _ make: @escaping Maker) throws -> [Outcome] {
    try ThreadRanks.run(ranks) { group, communicator in
      let run = try make(group)
      let recorder = TrainingRecorder()
      let result = try run.trainer.run(observer: recorder)
      return outcome(run, recorder, result, sent: communicator.bytesSent)
    }
  }

  /// Sums that are rounded elsewhere move a loss by a few units in the last place of a Float, and each step some more.
  private func expectClose(_ found: [Double], _ expected: [Double], steps: Int? = nil) {
    #expect(found.count == expected.count)
    for (step, pair) in zip(found, expected).enumerated() where step < steps ?? .max {
      #expect(abs(pair.0 - pair.1) < 2e-6 * Double(step + 2) * 4, "step \(step + 1): \(pair)")
    }
  }

  /// Batch norms, dropout, augmentation, label smoothing; 40 samples do not divide by 3.
  @Test(arguments: [2, 3, 4], [UpdateMode.replace, .add])
  func trainWhatOneProcessTrains(ranks: Int, mode: UpdateMode) throws {
    var setup = try Self.convolutional(steps: 16)
    setup.mode = mode
    let (setupOfRanks, setupOfOne) = (setup, setup)
    let (run, result, recorder) = try setupOfOne.train()
    let alone = Self.outcome(run, recorder, result)
    let outcomes = try Self.train(ranks) { try setupOfRanks.make(ranks: $0) }
    #expect(Set(outcomes.map(\.hash)).count == 1)
    #expect(outcomes.allSatisfy { $0.losses == outcomes[0].losses && $0.test == outcomes[0].test })
    #expect(outcomes[0].updates == alone.updates && alone.updates.count >= 2 && outcomes[0].grown == alone.grown)
    expectClose(outcomes[0].losses, alone.losses)
    #expect(abs(outcomes[0].test[0] - alone.test[0]) < 1e-3)
    #expect(outcomes[0].accuracies.first == alone.accuracies.first)
    #expect(alone.record == nil && outcomes[0].record?.ranks == ranks)
  }

  @Test(arguments: [2, 4])
  func repeatToTheBit(ranks: Int) throws {
    let setup = try Self.convolutional()
    let hashes = try [1, 2].map { threads in
      var setup = setup
      setup.threads = threads
      let copy = setup
      return try Self.train(ranks) { try copy.make(ranks: $0) }[0].hash
    }
    #expect(hashes[0] == hashes[1])
  }

  /// 4 bytes a connection, bias and norm parameter, times 2 (p - 1) / p, on average over ranks; nothing is sent that is not counted.
  @Test(arguments: [2, 3, 4])
  func sendWhatTheSumNeeds(ranks: Int) throws {
    var setup = try TrainingSetup.perceptron(steps: 24)
    setup.threads = 1
    let copy = setup
    let outcomes = try Self.train(ranks) { try copy.make(ranks: $0) }
    let records = outcomes.compactMap(\.record)
    let expected = 8 * outcomes[0].parameters * (ranks - 1) / ranks
    for (record, outcome) in zip(records, outcomes) {
      #expect(abs(record.gradientBytesPerStep - expected) * 100 < expected)
      #expect(record.statisticsBytes == 0 && record.explorationBytes > 0)
      let gradients = record.gradientBytesPerStep * (24 - outcome.updates.count)
      #expect(gradients + record.explorationBytes + record.controlBytes == outcome.sent)
      // Losses, wishes and hashes: less than a hundredth would be of a large model.
      #expect(record.controlBytes < 200 * 24 * ranks)
    }
    #expect(records.count == ranks)
  }

  /// Every method sees the whole batch: the first update moves what it moves for one process.
  @Test(arguments: MethodTrainingTests.Method.allCases, [UpdateMode.replace, .add])
  func everyMethodAgrees(method: MethodTrainingTests.Method, mode: UpdateMode) throws {
    let copy = try Self.convolutional(steps: 24)
    let make: Maker = { ranks in
      let context = try ComputeContext(threads: 1)
      let model = try method.model(copy, context)
      let trainer = try Trainer(
        model: model, dataset: copy.dataset, normalization: TrainingSetup.normalization, options: copy.options,
        updater: method.updater(for: model), updateMode: mode, ranks: ranks, context: context)
      return TrainingRun(context: context, model: model, trainer: trainer)
    }
    let alone = try Self.train(1, make)[0]
    let outcomes = try Self.train(2, make)
    #expect(outcomes[0].hash == outcomes[1].hash)
    #expect(outcomes[0].updates == alone.updates && outcomes[0].grown > 0)
    expectClose(outcomes[0].losses, alone.losses, steps: 9)
  }

  @Test func extraBatchesAndAuditsAreShared() throws {
    var setup = try Self.convolutional(steps: 12)
    setup.options.extraBatches = 2
    setup.options.audit = 3
    setup.options.accumulate = 2
    let copy = setup
    let alone = try Self.train(1) { try copy.make(ranks: $0) }[0]
    let outcomes = try Self.train(3) { try copy.make(ranks: $0) }
    #expect(Set(outcomes.map(\.hash)).count == 1)
    expectClose(outcomes[0].losses, alone.losses)
  }

  /// Each rank's own statistics: other weights, and yet the same on all ranks, running statistics among them.
  @Test func localNormsStayEqual() throws {
    var setup = try Self.convolutional()
    let shared = setup
    setup.options.localNorms = true
    let local = setup
    let hashes = try Self.train(3) { try local.make(ranks: $0) }.map(\.hash)
    #expect(Set(hashes).count == 1)
    #expect(try Self.train(3) { try shared.make(ranks: $0) }[0].hash != hashes[0])
  }

  @Test func oneRankStopsAll() throws {
    let setup = try Self.convolutional()
    let steps = try ThreadRanks.run(3) { ranks, _ in
      let run = try setup.make(ranks: ranks)
      let observer = StoppingObserver(after: ranks.rank == 1 ? 7 : 1000)
      let result = try run.trainer.run(observer: observer)
      #expect(!result.isFinished)
      return result.steps
    }
    #expect(steps == [7, 7, 7])
  }

  /// Wants a stop while the test set is evaluated.
  private final class EvaluationStopper: TrainingObserver {
    private let isEager: Bool
    private(set) var wantsStop = false

    init(isEager: Bool) { self.isEager = isEager }

    func didEvaluate(_ samples: Int, of count: Int, epoch: Int) { wantsStop = isEager }
  }

  /// Of 50 test images the second batch has 10, all of which are rank 0's.
  @Test func oneRankStopsAllWithinAnEvaluation() throws {
    let setup = try Self.convolutional()
    let results = try ThreadRanks.run(3) { ranks, _ in
      let run = try setup.make(ranks: ranks)
      let result = try run.trainer.run(observer: EvaluationStopper(isEager: ranks.rank == 1))
      return [result.steps, result.history.count]
    }
    #expect(results == [[5, 0], [5, 0], [5, 0]])
  }

  @Test func divergeTogether() throws {
    var setup = try Self.convolutional()
    setup.options.learningRate = 1e30
    let copy = setup
    let messages = try ThreadRanks.run(2) { ranks, _ -> String in
      do {
        _ = try copy.make(ranks: ranks).trainer.run()
        return "finished"
      } catch let error as EspalierError where error.kind == .diverged {
        return String(error.message.prefix { $0 != ":" })
      }
    }
    #expect(messages[0].hasPrefix("diverged at step ") && messages[0] == messages[1])
  }

  /// A bit that differs is seen at the next update.
  @Test func otherWeightsAreSeen() throws {
    let setup = try Self.convolutional()
    let messages = try ThreadRanks.run(3) { ranks, _ -> String in
      let run = try setup.make(ranks: ranks)
      let recorder = TrainingRecorder()
      recorder.onStep = { record in
        guard ranks.rank == 2, record.step == 3 else { return }
        run.model.sparseParameters[1].withMutableValues { $0[5] = $0[5].nextUp }
      }
      do {
        _ = try run.trainer.run(observer: recorder)
        return "finished"
      } catch let error as EspalierError {
        #expect(recorder.steps.count == 5)
        return error.message
      }
    }
    #expect(messages.allSatisfy { $0.contains("rank 2") && $0.contains("connections or weights") }, "\(messages)")
  }

  @Test func otherSettingsAreRefused() throws {
    let setup = try Self.convolutional()
    let messages = try ThreadRanks.run(2) { ranks, _ -> String in
      var setup = setup
      if ranks.rank == 1 { setup.options.momentum = 0.8 }
      do {
        _ = try setup.make(ranks: ranks).trainer.run()
        return "finished"
      } catch let error as EspalierError {
        return error.message
      }
    }
    #expect(messages.allSatisfy { $0.contains("rank 1 has another settings") || $0.contains("settings") })
  }

  @Test func moreRanksThanSamplesAreRefused() throws {
    var setup = try Self.convolutional()
    setup.options.batchSize = 3
    let copy = setup
    let kinds = try ThreadRanks.run(4) { ranks, _ -> Bool in
      do {
        _ = try copy.make(ranks: ranks)
        return false
      } catch let error as EspalierError {
        return error.kind == .usage && error.message.contains("batch-size: 3")
      }
    }
    #expect(kinds == [true, true, true, true])
  }

  /// What 2 ranks saved, 2 go on with to the same bits, and 1 or 3 to nearly the same: the checkpoint says nothing of their number.
  @Test func resumeWithAnotherNumberOfRanks() throws {
    let saved = try SavedRun {
      $0.threads = 1
      $0.options.maxSteps = 40
    }
    let (setup, path, information) = (saved.setup, saved.folder.path, saved.information)
    let whole = try Self.train(2) { try setup.make(ranks: $0) }[0]
    _ = try ThreadRanks.run(2) { ranks, _ in
      let run = try setup.make(ranks: ranks)
      _ = try run.trainer.run(observer: StoppingObserver(after: 23))
      guard ranks.rank == 0 else { return }
      try CheckpointStore(run: path).save(run.trainer, information, configuration: "", data: "", best: nil)
    }
    for ranks in 1...3 {
      let resumed = try Self.train(ranks) { ranks in
        let store = CheckpointStore(run: path)
        let (step, state) = try #require(store.newest { _, reason in Issue.record("\(reason)") })
        let context = try ComputeContext(threads: 1)
        let model = try Checkpoint(path: store.path(step: step)).sparseModel(context: context)
        let run = try setup.make(model: model, context, ranks: ranks)
        try store.restore(run.trainer, step: step, state: state)
        return run
      }
      #expect(resumed.allSatisfy { $0.hash == resumed[0].hash })
      #expect((resumed[0].hash == whole.hash) == (ranks == 2))
      expectClose(resumed[0].losses, Array(whole.losses.dropFirst(23)))
    }
  }
}

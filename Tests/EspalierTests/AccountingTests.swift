import Espalier
import EspalierCore
import EspalierTopology
import Testing

/// Operations and exploration, counted by hand. A multiply-add counts 2.
@Suite struct AccountingTests {
  /// Output positions of the layers of `TrainingSetup.convolutional`: 8 x 8, 4 x 4 after a pool, 1, 1.
  private static let positions = [64, 16, 1, 1]

  private func forward(_ connections: [Int]) -> Int {
    zip(connections, Self.positions).reduce(0) { $0 + 2 * $1.0 * $1.1 }
  }

  @Test func theDenseModel() throws {
    let spec = try TrainingSetup.convolutional().spec
    #expect(spec.weightLayers.map(\.positions) == Self.positions)
    #expect(spec.denseForwardFlops == forward([8 * 9, 16 * 72, 32 * 64, 4 * 32]))
  }

  /// Forward, input gradient, weight gradient: three times the forward operations.
  @Test func aStaticTopology() throws {
    var setup = try TrainingSetup.convolutional()
    setup.method = .static
    let (run, result, _) = try setup.train()
    #expect(result.trainFlopsPerSample == Double(3 * forward(run.model.connectionCounts)))
    #expect(result.explorationRate == Double(run.model.connections) / Double(setup.spec.sparsifiableWeights))
  }

  /// An update that replaces the optimizer's step costs two passes and the candidates' gradients; one beside it costs three.
  @Test(arguments: SelectionScope.allCases, UpdateMode.allCases)
  func explorationIsCounted(scope: SelectionScope, mode: UpdateMode) throws {
    var setup = try TrainingSetup.convolutional()
    setup.scope = scope
    setup.mode = mode
    let run = try setup.make()
    var counts = run.model.connectionCounts
    let recorder = TrainingRecorder()
    let result = try run.trainer.run(observer: recorder)
    var total = 0
    for step in 1...24 {
      if let update = recorder.updates.first(where: { $0.step == step }) {
        total += (mode == .add ? 3 : 2) * forward(counts) + forward(update.layers.map(\.candidates))
        #expect(update.layers.allSatisfy { $0.candidates > 0 })
        counts = update.layers.map(\.nnz)
      } else {
        total += 3 * forward(counts)
      }
    }
    #expect(recorder.updates.count == 4)
    #expect(abs(result.trainFlopsPerSample - Double(total) / 24) < 1e-6 * Double(total))
  }

  /// The share of all possible connections that were ever active.
  @Test(arguments: [TrainingSetup.Method.gse, .set])
  func explorationRate(_ method: TrainingSetup.Method) throws {
    var setup = try TrainingSetup.convolutional(steps: 60)
    setup.method = method
    let run = try setup.make()
    var explored = run.model.activeConnections
    let start = explored.count
    let recorder = TrainingRecorder()
    recorder.onUpdate = { _ in explored.formUnion(run.model.activeConnections) }
    let rate = try #require(try run.trainer.run(observer: recorder).explorationRate)
    let size = setup.spec.sparsifiableWeights
    #expect(abs(rate - Double(explored.count) / Double(size)) < 1e-12)
    let grown = recorder.updates.reduce(0) { $0 + $1.grown }
    #expect(rate > Double(start) / Double(size) && rate <= Double(start + grown) / Double(size) && rate <= 1)
  }
}

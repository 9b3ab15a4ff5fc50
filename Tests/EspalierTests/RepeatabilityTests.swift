import Espalier
import EspalierCore
import Testing

/// Same seed, same bits: whatever the number of threads.
@Suite struct RepeatabilityTests {
  /// Batches of 32 fill their blocks of samples; those of 40 leave padding.
  @Test(arguments: [32, 40], [UpdateMode.replace, .add])
  func threadsDoNotMatter(batchSize: Int, mode: UpdateMode) throws {
    var hashes: [String] = []
    var losses: [[Double]] = []
    for threads in [1, 2, 3, 5] {
      var setup = try TrainingSetup.convolutional()
      setup.options.batchSize = batchSize
      setup.mode = mode
      setup.threads = threads
      let (run, result, recorder) = try setup.train()
      #expect(result.updates == 4)
      hashes.append(run.model.weightsSHA256)
      losses.append(recorder.steps.map(\.trainLoss) + [result.testLoss])
    }
    #expect(Set(hashes).count == 1, "\(hashes)")
    #expect(Set(losses).count == 1)
  }

  @Test func everyInstructionSetRepeatsItself() throws {
    for instructionSet in InstructionSet.available {
      let setup = try TrainingSetup.convolutional()
      let hashes = try [1, 3].map { threads in
        let context = try ComputeContext(threads: threads, instructionSet: instructionSet)
        let model = try Model(
          sparse: setup.spec, sparsity: 0.8, random: CounterRandom(seed: 4), context: context)
        let trainer = try Trainer(
          model: model, dataset: setup.dataset, normalization: TrainingSetup.normalization, options: setup.options,
          context: context)
        _ = try trainer.run(observer: TrainingRecorder())
        return model.weightsSHA256
      }
      #expect(hashes[0] == hashes[1], "\(instructionSet)")
    }
  }

  @Test func aSecondRunRepeatsTheFirst() throws {
    let hashes = try (0..<2).map { _ in try TrainingSetup.convolutional().train().run.model.weightsSHA256 }
    #expect(hashes[0] == hashes[1])
  }

  @Test func everyChoiceIsInTheHash() throws {
    let standard = try TrainingSetup.convolutional()
    var seed = standard
    seed.options.seed = 1
    var method = standard
    method.method = .set
    var augmentation = standard
    augmentation.options.augments = false
    var order = standard
    order.options.shuffles = false
    var gamma = standard
    gamma.gamma = 0.5
    let setups = [standard, seed, method, augmentation, order, gamma]
    let hashes = try setups.map { try $0.train().run.model.weightsSHA256 }
    #expect(Set(hashes).count == setups.count)
  }

  @Test func hashesAreHexadecimalAndSeeEveryNumber() throws {
    let run = try TrainingSetup.convolutional().make()
    let model = run.model
    var hashes = [model.weightsSHA256]
    #expect(hashes[0].count == 64 && hashes[0].allSatisfy { $0.isHexDigit })
    for tensor in model.state {
      switch tensor {
      case .sparse(let parameter): parameter.withMutableValues { $0[$0.count - 1] += 1 }
      case .dense(_, _, let values): values[values.count - 1] += 1
      }
      hashes.append(model.weightsSHA256)
    }
    #expect(Set(hashes).count == hashes.count)
  }

  /// Row starts in 64 bits, columns in 32, values; the rest as it is; in order of names, little-endian.
  @Test func hashesCoverStructureAndNumbersInOrder() throws {
    let model = try TrainingSetup.convolutional().make().model
    var bytes: [UInt8] = []
    func append(_ number: UInt64, size: Int) {
      for byte in 0..<size { bytes.append(UInt8(truncatingIfNeeded: number >> UInt64(8 * byte))) }
    }
    for tensor in model.state.sorted(by: { $0.name < $1.name }) {
      switch tensor {
      case .sparse(let parameter):
        let structure = parameter.matrix.structure
        for start in structure.rowStarts.array { append(start, size: 8) }
        for column in structure.columnIndices.array.prefix(structure.count) { append(UInt64(column), size: 4) }
        for value in parameter.matrix.withValues({ Array($0) }) { append(UInt64(value.bitPattern), size: 4) }
      case .dense(_, _, let values):
        for value in values.array { append(UInt64(value.bitPattern), size: 4) }
      }
    }
    var stream = SHA256Stream()
    bytes.withUnsafeBytes { stream.update($0) }
    let digest = stream.finish()
    #expect(model.weightsSHA256 == digest)
  }

  /// The empty message's digest, and "abc"'s (FIPS 180-4).
  @Test func digestsAreSHA256() {
    #expect(SHA256Stream().finish() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
    var stream = SHA256Stream()
    for byte in [UInt8]("abc".utf8) { withUnsafeBytes(of: byte) { stream.update($0) } }
    #expect(stream.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
  }
}

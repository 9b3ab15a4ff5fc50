import Espalier
import EspalierCore
import EspalierData
import Foundation
import Testing

/// Steps between updates ask the system for no memory.
@Suite struct SteadyStateTests {
  @Test func stepsAllocateNothing() throws {
    for make in [TrainingSetup.convolutional(steps:), { try TrainingSetup.perceptron(steps: $0) }] {
      var setup = try make(60)
      setup.method = .static
      let run = try setup.make()
      let recorder = TrainingRecorder()
      var allocations: [Int] = []
      recorder.onStep = { _ in allocations.append(run.context.meter.reading.allocations) }
      _ = try run.trainer.run(observer: recorder)
      // Epochs of 5 and 31 steps end with an evaluation, whose last batch has a shape of its own.
      #expect(Set(allocations[33...]).count == 1, "\(allocations)")
      #expect(Set(allocations[1..<4]).count == 1, "\(allocations)")
      #expect(allocations[0] > 0)
    }
  }

  /// One model of each family: neither pool nor meter grows from step to step.
  @Test(arguments: [
    ("mlp", 1.0, 28), ("resnet20", 0.25, 28), ("vgg11-small", 0.25, 28), ("simple-vit-tiny", 0.25, 28),
    ("resnet18", 1, 32), ("resnet50", 1, 32), ("vgg11", 1, 32),
  ])
  func noFamilyGrows(_ name: String, width: Double, side: Int) throws {
    let isLarge = ModelCatalog.isForImageNet(name)
    let images = FeatureSize(channels: 1, height: side, width: side)
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(name: name, width: width, images: images, classes: 4))
    var options = TrainingOptions(epochs: nil, maxSteps: 30)
    options.batchSize = isLarge ? 3 : 9
    options.warmupEpochs = 0
    options.learningRate = 1e-3
    let dataset = try ImageDataset.synthetic(
      trainCount: 300, testCount: 8, seed: 5, classes: 4, height: side, width: side)
    var setup = TrainingSetup(spec: spec, dataset: dataset, sparsity: isLarge ? 0.998 : 0.9, options: options)
    setup.method = .static
    let run = try setup.make()
    let recorder = TrainingRecorder()
    var readings: [[Int]] = []
    recorder.onStep = { _ in
      let reading = run.context.meter.reading
      readings.append([reading.allocations, reading.activationBytes, reading.weightBytes])
    }
    _ = try run.trainer.run(observer: recorder)
    #expect(Set(readings[1..<30]).count == 1, "\(name): \(readings)")
    try run.context.meter.check()
  }

  /// Memory comes back after updates: what lives after the last is what lived after the first.
  @Test func updatesLeaveNothingBehind() throws {
    var setup = try TrainingSetup.perceptron(steps: 60)
    setup.interval = 5
    let run = try setup.make()
    let recorder = TrainingRecorder()
    var live: [Int] = []
    recorder.onUpdate = { _ in live.append(run.context.meter.reading.weightBytes) }
    _ = try run.trainer.run(observer: recorder)
    let explored = recorder.updates.reduce(0) { $0 + $1.grown }
    #expect(live.count == 10)
    // The connections ever active are remembered, 4 bytes each; nothing else may grow.
    #expect((live.max() ?? 0) - live[0] <= 4 * explored)
  }

  /// In a process of its own, because other tests allocate at the same time.
  @Test func residentMemoryDoesNotGrow() async {
    await #expect(processExitsWith: .success) {
      var setup = try TrainingSetup.convolutional(steps: 1600)
      setup.method = .static
      let run = try setup.make()
      let recorder = TrainingRecorder()
      var resident: [Int: Int] = [:]
      recorder.onStep = { record in
        if [200, 1600].contains(record.step) { resident[record.step] = try residentBytes() }
      }
      _ = try run.trainer.run(observer: recorder)
      let growth = (resident[1600] ?? .max) - (resident[200] ?? 0)
      // The smallest activations, 48 * 4 logits, that stayed behind each step would be 1,400 * 768 bytes.
      try #require(growth < 3 << 18, "\(growth) bytes in 1,400 steps")
    }
  }
}

/// This process's resident set.
private func residentBytes() throws -> Int {
  let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
  return (Int(fields[1]) ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
}

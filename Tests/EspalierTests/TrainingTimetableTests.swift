import Espalier
import EspalierCore
import EspalierTopology
import Testing

@Suite struct TrainingTimetableTests {
  /// 60,000 images in batches of 128: 468 whole ones.
  @Test func defaultsOfTenEpochs() throws {
    let timetable = try TrainingTimetable(TrainingOptions(), trainingSamples: 60_000)
    #expect(timetable.stepsPerEpoch == 468)
    #expect(timetable.steps == 4680)
    #expect(timetable.horizon == 4680)
    #expect(timetable.epochs == 10)
    #expect(timetable.learningRate.base == 0.1)
    #expect(timetable.learningRate.warmupSteps == 117)  // a quarter of an epoch
    #expect(timetable.learningRate.decay == .milestones([1872, 2808]))
    let updates = try timetable.updates(interval: nil, until: 0.75, alpha: 0.2)
    #expect(updates == UpdateSchedule(interval: 117, end: 3510, fraction: 0.2))
  }

  /// The authors' run: 200 epochs of 390 steps, an update every 1,000 steps.
  @Test func defaultsOfALongRun() throws {
    var options = TrainingOptions(epochs: 200)
    options.milestones = [80, 120]
    let timetable = try TrainingTimetable(options, trainingSamples: 50_000)
    #expect(timetable.stepsPerEpoch == 390)
    #expect(timetable.learningRate.warmupSteps == 5 * 390)
    #expect(timetable.learningRate.decay == .milestones([80 * 390, 120 * 390]))
    let updates = try timetable.updates(interval: nil, until: 0.6, alpha: 0.2)
    #expect(updates.interval == 1000)
    #expect(updates.end == 46_800)
    #expect(updates.updates(inSteps: timetable.steps) == 46)
    #expect((1..<timetable.steps).count { updates.isUpdate(step: $0) } == 46)
  }

  @Test(arguments: [(20, 10), (400, 10), (440, 11), (4000, 100), (39_999, 999), (40_000, 1000), (400_000, 1000)])
  func updateIntervals(steps: Int, interval: Int) throws {
    let timetable = try TrainingTimetable(TrainingOptions(epochs: nil, maxSteps: steps), trainingSamples: 60_000)
    #expect(try timetable.updates(interval: nil, until: 0.75, alpha: 0.2).interval == interval)
    #expect(try timetable.updates(interval: 7, until: 0.75, alpha: 0.2).interval == 7)
  }

  @Test func maximalStepsAloneAreTheHorizon() throws {
    let timetable = try TrainingTimetable(TrainingOptions(epochs: nil, maxSteps: 1000), trainingSamples: 60_000)
    #expect(timetable.steps == 1000)
    #expect(timetable.horizon == 1000)
    #expect(timetable.epochs == 3)
    #expect(timetable.learningRate.warmupSteps == 25)
    #expect(timetable.learningRate.decay == .milestones([400, 600]))
    #expect(try timetable.updates(interval: nil, until: 0.75, alpha: 0.2).end == 750)
  }

  @Test func maximalStepsBesideEpochsOnlyCutTheRunShort() throws {
    let timetable = try TrainingTimetable(TrainingOptions(epochs: 10, maxSteps: 1000), trainingSamples: 60_000)
    #expect(timetable.steps == 1000)
    #expect(timetable.horizon == 4680)
    #expect(timetable.learningRate.decay == .milestones([1872, 2808]))
    #expect(try timetable.updates(interval: nil, until: 0.75, alpha: 0.2).end == 3510)
    let alone = try TrainingTimetable(TrainingOptions(maxSteps: 1000), trainingSamples: 60_000)
    #expect(alone.steps == 1000 && alone.horizon == 1000)
    #expect(TrainingOptions().epochs == 10 && TrainingOptions(epochs: 3, maxSteps: 5).epochs == 3)
    let longer = try TrainingTimetable(TrainingOptions(epochs: 1, maxSteps: 1000), trainingSamples: 60_000)
    #expect(longer.steps == 468)
  }

  @Test(arguments: [(1, 1), (1000, 1), (1999, 1), (2000, 2), (46_800, 46)])
  func logsStaySmall(steps: Int, interval: Int) throws {
    let timetable = try TrainingTimetable(TrainingOptions(epochs: nil, maxSteps: steps), trainingSamples: 60_000)
    #expect(timetable.logEvery == interval)
  }

  @Test func fractionsOfEpochs() throws {
    var options = TrainingOptions(epochs: 4)
    options.batchSize = 100
    options.warmupEpochs = 0.5
    options.milestones = [1.25, 3]
    let timetable = try TrainingTimetable(options, trainingSamples: 1000)
    #expect(timetable.learningRate.warmupSteps == 5)
    #expect(timetable.learningRate.decay == .milestones([13, 30]))  // 12.5 rounds up
  }

  @Test func valuesOutOfRangeAreNamed() {
    func refuse(_ name: String, _ change: (inout TrainingOptions) -> Void) {
      var options = TrainingOptions()
      change(&options)
      expectError(.usage, naming: name + ":", saying: "expected") {
        _ = try TrainingTimetable(options, trainingSamples: 1000)
      }
    }
    refuse("epochs") { $0.epochs = 0 }
    refuse("epochs") { $0.epochs = nil }
    refuse("max-steps") { $0.maxSteps = 0 }
    refuse("batch-size") { $0.batchSize = 0 }
    refuse("batch-size") { $0.batchSize = 1001 }
    for rate in [0, -1, .nan, .infinity] { refuse("lr") { $0.learningRate = rate } }
    for momentum in [-0.1, 1, .nan] { refuse("momentum") { $0.momentum = momentum } }
    for decay in [-1, .nan, .infinity] { refuse("weight-decay") { $0.weightDecay = decay } }
    for smoothing in [-0.1, 1, .nan] { refuse("label-smoothing") { $0.labelSmoothing = smoothing } }
    for epochs in [-1, .nan, .infinity] { refuse("warmup-epochs") { $0.warmupEpochs = epochs } }
    refuse("milestones") { $0.milestones = [1, .nan] }
    refuse("log-every") { $0.logEvery = 0 }
  }

  @Test func updateSchedulesOutOfRangeAreNamed() throws {
    let timetable = try TrainingTimetable(TrainingOptions(), trainingSamples: 60_000)
    expectError(.usage, naming: "update-every:") { _ = try timetable.updates(interval: 0, until: 0.75, alpha: 0.2) }
    for until in [-0.1, 2, .nan] {
      expectError(.usage, naming: "update-until:") { _ = try timetable.updates(interval: 1, until: until, alpha: 0.2) }
    }
    for alpha in [0, -1, 1.1, .nan] {
      expectError(.usage, naming: "alpha:") { _ = try timetable.updates(interval: 1, until: 0.5, alpha: alpha) }
    }
  }
}

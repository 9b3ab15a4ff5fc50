import Espalier
import EspalierCore
import Foundation
import Yams

@testable import EspalierCLI
@testable import EspalierData

/// As the argument of `--config`, and as the config.yaml of a run that goes on.
func fuzzConfiguration(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  attempt {
    let flags = try TrainFlags.parse(try ConfigurationFile.arguments(path: path))
    try check(try flags.resolve(for: .fashionMNIST))
  }
  attempt { try check(try ResumeCommand.settings(String(decoding: bytes, as: UTF8.self), of: path)) }
}

/// What a run derives from its settings before it reads any data.
private func check(_ run: RunConfiguration) throws {
  let spec = try ModelCatalog.spec(run.modelRequest(for: .fashionMNIST))
  let timetable = try TrainingTimetable(run.trainingOptions, trainingSamples: 60_000)
  _ = try timetable.updates(interval: run.updateEvery, until: run.updateUntil, alpha: run.alpha)
  for step in [0, timetable.steps / 2, max(0, timetable.steps - 1)] { _ = timetable.learningRate.rate(at: step) }
  _ = spec.denseForwardFlops
}

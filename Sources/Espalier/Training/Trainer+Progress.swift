import EspalierCore

extension Trainer {
  /// `progress` with the sums of time and operations as they are now.
  package var snapshot: TrainingProgress {
    var snapshot = progress
    snapshot.seconds = clock.seconds
    snapshot.phaseSeconds = phases.seconds
    snapshot.phasePeakBytes = phases.peakBytes
    snapshot.stepMilliseconds = stepMilliseconds
    snapshot.updateMilliseconds = updateMilliseconds
    snapshot.flops = flops.total
    snapshot.flopPasses = flops.steps
    snapshot.topology = topology?.snapshot
    return snapshot
  }

  /// Goes on from a snapshot.
  func restore(_ snapshot: TrainingProgress) {
    progress = snapshot
    clock = StepClock(seconds: snapshot.seconds)
    phases = PhaseClock(
      context: context, seconds: snapshot.phaseSeconds ?? [], peakBytes: snapshot.phasePeakBytes ?? [])
    flops = FlopCounter(model, method: denseMethod, total: snapshot.flops, steps: snapshot.flopPasses)
    if let state = snapshot.topology { topology?.snapshot = state }
  }

  /// Of this process's steps; without any, what the last process measured.
  var stepMilliseconds: Double { clock.hasSteps ? clock.medianMilliseconds : progress.stepMilliseconds }
  var updateMilliseconds: Double? { clock.medianUpdateMilliseconds ?? progress.updateMilliseconds }

  /// - Throws: `EspalierError.diverged` where a number of the model is not finite.
  func checkFinite() throws {
    if let name = model.firstBrokenTensor(context) {
      throw EspalierError.diverged(
        "diverged at step \(progress.step): \(name) is not finite; try a lower learning rate")
    }
  }
}

extension Model {
  /// The first piece of the model's state that holds a number that is not finite.
  func firstBrokenTensor(_ context: ComputeContext) -> String? {
    state.first { tensor in
      switch tensor {
      case .sparse(let parameter): !parameter.matrix.withValues { context.allFinite($0) }
      case .dense(_, _, let values): !context.allFinite(values)
      }
    }?.name
  }

  /// The first output, in words, that holds a number that is not finite, where the layers run one by one.
  func firstBrokenOutput(_ batch: Batch, on tape: Tape) -> String? {
    var x = Variable(batch.images)
    for (index, layer) in layers.enumerated() {
      guard let y = try? layer(x, on: tape) else { return nil }
      if !y.value.buffer.allSatisfy(\.isFinite) {
        let name = layer.parameters.first.map {
          String($0.name.prefix(upTo: $0.name.lastIndex(of: ".") ?? $0.name.endIndex))
        }
        return "the output of \(name.map { "layer \($0)" } ?? "layer number \(index + 1)")"
      }
      x = y
    }
    return nil
  }
}

import EspalierCore
import TestSupport
import Testing

@Suite struct DropoutTests {
  private static let random = CounterRandom(seed: 3)

  @Test(arguments: CoreHarness.batches, [Float(0.25), 0.5])
  func zeroesOrScalesAndBackwardUsesTheSameMask(batch: Int, probability: Float) throws {
    let x = OracleTensor.distinct(batch, channels: 30, height: 2, width: 1, seed: 11)
    let delta = OracleTensor.distinct(batch, channels: 30, height: 2, width: 1, seed: 12)
    let results = try CoreHarness.everywhere { context in
      let (output, gradient) = try context.trained(x, delta: delta, step: 5) {
        $0.dropout($1, probability: probability, index: 2, random: Self.random)
      }
      return [output, gradient]
    }
    let scale = 1 / (1 - probability)
    for result in results {
      let kept = result[0].map { $0 != 0 }
      let isMasked = kept.indices.allSatisfy { i in
        [(result[0][i], x.values[i]), (result[1][i], delta.values[i])].allSatisfy { actual, value in
          let expected = kept[i] ? Float(value) * scale : 0
          return abs(actual - expected) <= abs(expected) * Float.ulpOfOne
        }
      }
      #expect(isMasked)
      #expect(result == results[0], "masks do not depend on the instruction set")
      let n = Double(kept.count)
      let share = Double(kept.count { $0 })
      let p = Double(probability)
      #expect(abs(share - n * (1 - p)) <= 4 * (n * p * (1 - p)).squareRoot())
    }
  }

  @Test func masksDifferByStepAndLayer() throws {
    let context = try ComputeContext(threads: 1)
    let x = OracleTensor.distinct(5, channels: 40, seed: 13)
    func masked(step: Int, index: Int) -> [Float] {
      let tape = Tape(context: context, mode: .training(step: step))
      return context.numbers(
        tape.dropout(
          tape.input(context.activations(x, padding: 0)), probability: 0.5, index: index, random: Self.random
        )
        .value)
    }
    #expect(masked(step: 1, index: 0) == masked(step: 1, index: 0))
    #expect(masked(step: 1, index: 0) != masked(step: 2, index: 0))
    #expect(masked(step: 1, index: 0) != masked(step: 1, index: 1))
  }

  @Test func isTheIdentityInEvaluationAndAtProbabilityZero() throws {
    let context = try ComputeContext(threads: 1)
    let x = context.activations(OracleTensor.distinct(5, channels: 4, seed: 14), padding: 0)
    for (mode, probability) in [(Tape.Mode.evaluation, Float(0.5)), (.training(step: 1), 0)] {
      let tape = Tape(context: context, mode: mode)
      let y = tape.dropout(Variable(x), probability: probability, index: 0, random: Self.random)
      #expect(y.value.pointer == x.pointer)
    }
  }
}

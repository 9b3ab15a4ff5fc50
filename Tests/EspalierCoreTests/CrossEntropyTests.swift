import EspalierCore
import TestSupport
import Testing

@Suite struct CrossEntropyTests {
  private static func logits(_ batch: Int) -> OracleTensor {
    var random = LayerRandom(seed: 21)
    return OracleTensor(samples: batch, channels: 7, using: &random).map { 4 * $0 }
  }

  @Test(arguments: CoreHarness.batches, [Float(0), 0.1])
  func matchesTheOracleAndItsDifferences(batch: Int, smoothing: Float) throws {
    let logits = Self.logits(batch)
    var random = LayerRandom(seed: UInt64(batch))
    let labels = (0..<batch).map { _ in Int.random(in: 0..<7, using: &random) }
    let e = Double(smoothing)
    let expected = logits.meanLoss(labels: labels, smoothing: e)
    let gradient = (0..<batch).flatMap { sample in
      OracleDerivative.central(
        { LayerLossOracle(logits: $0, label: labels[sample], smoothing: e).loss / Double(batch) },
        at: logits.sample(sample).values, indices: 0..<7)
    }
    let shares = (0..<batch).flatMap { sample in
      let oracle = LayerLossOracle(logits: logits.sample(sample).values, label: labels[sample], smoothing: e)
      return zip(oracle.softmax, oracle.target).map { $0 + $1 }
    }
    let correct = (0..<batch).count { sample in
      let numbers = logits.sample(sample).values
      return numbers.firstIndex(of: numbers.max()!) == labels[sample]
    }
    let results = try CoreHarness.everywhere { context in
      let numbers = context.activations(logits, padding: 1e30)
      let seed = context.pool.activations(numbers.shape)
      seed.buffer.update(repeating: .nan)
      let result = labels.map(UInt32.init).withUnsafeBufferPointer {
        context.softmaxCrossEntropy(numbers, labels: $0, labelSmoothing: smoothing, gradient: seed)
      }
      #expect(result.correct == correct && result.samples == batch)
      #expect(abs(result.mean - expected) <= 32 * CoreHarness.u * (1 + abs(expected)))
      #expect(context.hasZeroPadding(seed))
      return [context.numbers(seed)]
    }
    // exp's argument is off by u times the logits' range, everything else by a few roundings.
    let range = logits.values.max()! - logits.values.min()!
    for result in results {
      CoreHarness.expectClose(result[0], gradient, "gradient") {
        CoreHarness.u * (20 + range) * shares[$0] / Double(batch) + 1e-11
      }
    }
  }
}

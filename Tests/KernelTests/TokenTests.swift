import EspLayers
import TestSupport
import Testing

@Suite struct TokenTests {
  struct Case: Sendable {
    let blocks, channels, rows, columns, patch, lanes: Int
    var shape: esp_patch_shape {
      esp_patch_shape(
        blocks: blocks, channels: channels, height: rows * patch, width: columns * patch, patch: patch, lanes: lanes)
    }
    var count: Int { blocks * channels * rows * columns * patch * patch * lanes }

    /// Where each token element comes from, after einops' 'b c (h p1) (w p2) -> b (h w) (p1 p2 c)'.
    var sources: [Int] {
      var result: [Int] = []
      for b in 0..<blocks {
        for h in 0..<rows {
          for w in 0..<columns {
            for p1 in 0..<patch {
              for p2 in 0..<patch {
                for c in 0..<channels {
                  let row = (b * channels + c) * rows * patch + h * patch + p1
                  for lane in 0..<lanes { result.append((row * columns * patch + w * patch + p2) * lanes + lane) }
                }
              }
            }
          }
        }
      }
      return result
    }
  }

  static let cases = LayerShape.allLanes.flatMap { lanes in
    [(1, 1, 1, 1, 1), (2, 3, 2, 3, 4), (3, 1, 5, 1, 2), (1, 2, 1, 4, 3)].map {
      Case(blocks: $0, channels: $1, rows: $2, columns: $3, patch: $4, lanes: lanes)
    }
  }

  @Test(arguments: cases)
  func patchesGoThereAndBack(_ test: Case) {
    var random = LayerRandom(seed: 3)
    let x = random.floats(test.count)
    let expected = test.sources.map { x[$0] }
    var shape = test.shape
    let forwards = LayerHarness.outputs { isa, threads in
      let input = GuardedBuffer(x, guarding: .behind)
      let y = GuardedBuffer(LayerHarness.nans(x.count), guarding: .behind)
      esp_patches_forward(isa, input.base, &shape, y.base, threads)
      return y.contents
    }
    for y in forwards { #expect(y == expected) }
    let backwards = LayerHarness.outputs { isa, threads in
      let d = GuardedBuffer(expected, guarding: .before)
      let dx = GuardedBuffer(LayerHarness.nans(x.count), guarding: .before)
      esp_patches_backward(isa, d.base, &shape, dx.base, threads)
      return dx.contents
    }
    for dx in backwards { #expect(dx == x) }
  }

  @Test(arguments: LayerShape.allLanes)
  func positionsAreAddedToEverySample(lanes: Int) {
    let (blocks, features, tokens) = (3, 5, 7)
    var random = LayerRandom(seed: 4)
    let embedding = random.floats(features * tokens)
    let x = random.floats(blocks * features * tokens * lanes)
    let expected = x.indices.map { x[$0] + embedding[$0 / lanes % (features * tokens)] }
    let outputs = LayerHarness.outputs { isa, threads in
      let input = GuardedBuffer(x, guarding: .behind)
      let y = GuardedBuffer(LayerHarness.nans(x.count), guarding: .behind)
      esp_add_positions(isa, input.base, embedding, blocks, tokens, features, lanes, y.base, threads)
      return y.contents
    }
    for y in outputs { #expect(y == expected) }
  }

  /// Numbers of a token below and above what is added at once.
  @Test(arguments: LayerShape.allLanes, [(1, 5), (7, 40)])
  func theMeanOfTokensGoesThereAndBack(lanes: Int, shape: (tokens: Int, features: Int)) {
    let (blocks, tokens, row) = (3, shape.tokens, shape.features * lanes)
    var random = LayerRandom(seed: 5)
    let x = random.floats(blocks * tokens * row)
    var sums = [Double](repeating: 0, count: blocks * row)
    var magnitudes = sums
    for i in x.indices {
      let place = i / (tokens * row) * row + i % row
      sums[place] += Double(x[i])
      magnitudes[place] += Double(abs(x[i]))
    }
    let forwards = LayerHarness.outputs { isa, threads in
      let input = GuardedBuffer(x, guarding: .before)
      let y = GuardedBuffer(LayerHarness.nans(sums.count), guarding: .before)
      esp_mean_of_tokens_forward(isa, input.base, blocks, tokens, shape.features, lanes, y.base, threads)
      return y.contents
    }
    for y in forwards {
      LayerHarness.expectClose(y, sums.map { $0 / Double(tokens) }) {
        Double(tokens + 1) * LayerHarness.u * magnitudes[$0] / Double(tokens)
      }
    }
    let d = random.floats(blocks * row)
    let backwards = LayerHarness.outputs { isa, threads in
      let seed = GuardedBuffer(d, guarding: .behind)
      let dx = GuardedBuffer(LayerHarness.nans(x.count), guarding: .behind)
      esp_mean_of_tokens_backward(isa, seed.base, blocks, tokens, shape.features, lanes, dx.base, threads)
      return dx.contents
    }
    for dx in backwards {
      #expect(dx == x.indices.map { d[$0 / (tokens * row) * row + $0 % row] / Float(tokens) })
    }
  }
}

import EspLayers
import TestSupport
import Testing

@Suite struct ShortcutTests {
  struct Case: Sendable, CustomTestStringConvertible {
    let channels, height, width, stride, front, back: Int
    var blocks = 2

    var outHeight: Int { (height + stride - 1) / stride }
    var outWidth: Int { (width + stride - 1) / stride }
    var outChannels: Int { front + channels + back }
    var testDescription: String { "\(channels)x\(height)x\(width), stride \(stride), \(front) + \(back) channels" }

    var shape: esp_shortcut_shape {
      esp_shortcut_shape(
        in_channels: channels, in_height: height, in_width: width, stride: stride, front: front, back: back)
    }

    /// Where output (c, i, j) comes from, by channel and position; nil for a channel of zeros.
    func source(_ c: Int, _ i: Int, _ j: Int) -> Int? {
      (front..<front + channels).contains(c)
        ? ((c - front) * height + i * stride) * width + j * stride : nil
    }

    /// Calls `body` with each output number's index and its input's.
    func forEachOutput(_ lanes: Int, _ body: (Int, Int?) -> Void) {
      for b in 0..<blocks {
        for c in 0..<outChannels {
          for i in 0..<outHeight {
            for j in 0..<outWidth {
              let out = ((b * outChannels + c) * outHeight + i) * outWidth + j
              let source = source(c, i, j).map { b * channels * height * width + $0 }
              for l in 0..<lanes { body(out * lanes + l, source.map { $0 * lanes + l }) }
            }
          }
        }
      }
    }
  }

  static let cases = [
    Case(channels: 3, height: 4, width: 6, stride: 2, front: 2, back: 1),
    Case(channels: 2, height: 5, width: 3, stride: 2, front: 0, back: 2),
    Case(channels: 1, height: 7, width: 8, stride: 3, front: 1, back: 0),
    Case(channels: 4, height: 2, width: 2, stride: 1, front: 0, back: 0),
  ]

  @Test(arguments: cases, LayerShape.allLanes)
  func copiesWhatTheDefinitionSays(_ test: Case, lanes: Int) {
    var random = LayerRandom(seed: 1)
    let x = random.floats(test.blocks * test.channels * test.height * test.width * lanes)
    let d = random.floats(test.blocks * test.outChannels * test.outHeight * test.outWidth * lanes)
    var y = [Float](repeating: 0, count: d.count)
    var dx = [Float](repeating: 0, count: x.count)
    test.forEachOutput(lanes) { out, source in
      guard let source else { return }
      y[out] = x[source]
      dx[source] = d[out]
    }
    var shape = test.shape
    for threads in LayerHarness.threads {
      let forward = GuardedBuffer(LayerHarness.nans(y.count), guarding: .behind)
      esp_shortcut_forward(x, &shape, test.blocks, lanes, forward.base, threads)
      #expect(forward.contents == y)
      let backward = GuardedBuffer(LayerHarness.nans(x.count), guarding: .behind)
      esp_shortcut_backward(d, &shape, test.blocks, lanes, backward.base, threads)
      #expect(backward.contents == dx)
    }
  }
}

import EspalierCore
import Testing

@Suite struct ActivationShapeTests {
  /// The widest of 32 and 16 that makes the batch at most a quarter larger, else 8; 1 for a single sample.
  @Test func lanesPadAtMostAQuarter() {
    for samples in 1...700 {
      let wide = [32, 16].first { lanes in
        let padded = (samples + lanes - 1) / lanes * lanes
        return 4 * (padded - samples) <= samples
      }
      let shape = ActivationShape(samples: samples, channels: 3)
      #expect(shape.lanes == (samples == 1 ? 1 : wide ?? 8), "\(samples) samples")
      #expect(shape.blocks * shape.lanes >= samples && (shape.blocks - 1) * shape.lanes < samples)
    }
  }

  @Test(arguments: [
    (1, 1), (2, 8), (8, 8), (12, 8), (13, 16), (16, 16), (25, 8), (26, 32), (31, 32), (33, 8), (128, 32),
  ])
  func lanesOfSomeBatches(samples: Int, lanes: Int) {
    #expect(ActivationShape(samples: samples, channels: 1).lanes == lanes)
  }

  @Test func countsNumbers() {
    let shape = ActivationShape(samples: 33, channels: 3, height: 5, width: 4)
    #expect(shape.positions == 20 && shape.features == 60)
    #expect(shape.count == shape.blocks * shape.lanes * 60)
    #expect(shape.with(channels: 7) == ActivationShape(samples: 33, channels: 7))
    #expect(
      shape.with(channels: 7, height: 2, width: 9) == ActivationShape(samples: 33, channels: 7, height: 2, width: 9))
  }

  /// Every (sample, feature) has its own place; samples of a block lie side by side.
  @Test(arguments: [1, 5, 8, 31, 33, 50])
  func offsetsAreDistinctAndSamplesAreInnermost(samples: Int) throws {
    let context = try ComputeContext(threads: 1)
    let shape = ActivationShape(samples: samples, channels: 3, height: 2, width: 2)
    let activations = context.pool.activations(shape)
    #expect(activations.buffer.count == shape.count)
    var seen = Set<Int>()
    for sample in 0..<samples {
      for feature in 0..<12 {
        let offset = activations.offset(sample: sample, feature: feature)
        #expect((0..<shape.count).contains(offset) && seen.insert(offset).inserted)
        let first = activations.offset(sample: sample / shape.lanes * shape.lanes, feature: feature)
        #expect(offset == first + sample % shape.lanes && first % shape.lanes == 0)
        activations[sample: sample, feature: feature] = Float(sample * 100 + feature)
      }
    }
    for sample in 0..<samples {
      for feature in 0..<12 { #expect(activations[sample: sample, feature: feature] == Float(sample * 100 + feature)) }
    }
  }

  @Test func aReshapeSharesItsNumbers() throws {
    let context = try ComputeContext(threads: 1)
    let image = context.pool.activations(ActivationShape(samples: 5, channels: 3, height: 2, width: 4))
    for sample in 0..<5 {
      for feature in 0..<24 { image[sample: sample, feature: feature] = Float(sample * 24 + feature) }
    }
    let flat = image.reshaped(channels: 24)
    #expect(flat.pointer == image.pointer && flat.shape == ActivationShape(samples: 5, channels: 24))
    let other = flat.reshaped(channels: 4, height: 3, width: 2)
    #expect(other[sample: 4, feature: 7] == Float(4 * 24 + 7))
    // feature = (channel * height + row) * width + column
    #expect(image[sample: 1, feature: (2 * 2 + 1) * 4 + 3] == Float(24 + 23))
  }
}

@Suite struct ActivationPoolTests {
  @Test func memoryComesBackWithTheLastReference() throws {
    let context = try ComputeContext(threads: 1)
    let shape = ActivationShape(samples: 8, channels: 100)
    var first: Activations? = context.pool.activations(shape)
    let pointer = first!.pointer
    var view: Activations? = first!.reshaped(channels: 50, height: 2)
    first = nil
    #expect(context.pool.activations(shape).pointer != pointer, "a reshaped view still refers to it")
    #expect(first == nil && view != nil)
    view = nil
    let reused = (0..<2).map { _ in context.pool.activations(shape) }.contains { $0.pointer == pointer }
    #expect(reused && view == nil)
  }

  @Test func nearlyEqualShapesShareMemory() throws {
    let context = try ComputeContext(threads: 1)
    for channels in [2_000, 1_990, 1_985, 1_999] {
      _ = context.pool.activations(ActivationShape(samples: 32, channels: channels))
    }
    #expect(context.meter.reading.allocations == 1)
  }

  @Test func piecesAreLargeEnough() throws {
    let context = try ComputeContext(threads: 1)
    for channels in [1, 2, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1_000, 1_025] {
      for samples in [1, 8, 32] {
        let before = context.meter.reading.activationBytes
        let kept = context.pool.activations(ActivationShape(samples: samples, channels: channels))
        let size = kept.shape.count * 4
        kept.buffer.update(repeating: 1)
        let added = context.meter.reading.activationBytes - before
        // Large pieces take a page more, to start at different offsets in it.
        let page = size >= 1 << 15 ? 4096 : 0
        #expect(added == 0 || (added >= size && added <= max(256, size + size / 4 + 256) + page))
      }
    }
  }
}

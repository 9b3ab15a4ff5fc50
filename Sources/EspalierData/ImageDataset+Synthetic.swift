import EspalierCore

extension ImageDataset {
  /// Makes images up: deterministic in `seed`, for benchmarks and tests only.
  ///
  /// Image n has class n mod classes and pixel = pattern[class] + noise, where the pattern is constant on cells of 4 x 4
  /// pixels and uniform in 0 ..< 96, and the noise is uniform in 0 ..< 160.
  /// - Throws: `EspalierError.usage` if a size is not positive or their product is too large.
  /// - Complexity: O(pixels).
  public static func synthetic(
    trainCount: Int = 60_000, testCount: Int = 10_000, seed: UInt64 = 0, classes: Int = 10, channels: Int = 1,
    height: Int = 28, width: Int = 28
  ) throws -> ImageDataset {
    for (size, name) in [
      (trainCount, "trainCount"), (testCount, "testCount"), (classes, "classes"), (channels, "channels"),
      (height, "height"), (width, "width"),
    ] where size < 1 || size > Int(UInt32.max) {
      throw EspalierError.usage("synthetic data: \(name) must lie in 1 ... 2^32 - 1, found \(size)")
    }
    let generator = SyntheticImages(
      random: CounterRandom(seed: seed), classes: classes, channels: channels, height: height, width: width)
    return ImageDataset(
      name: "synthetic", isSynthetic: true, classes: classes, channels: channels, height: height, width: width,
      train: try generator.split(count: trainCount, noise: 1), test: try generator.split(count: testCount, noise: 2))
  }
}

/// The generator behind `ImageDataset.synthetic`. Layer 0 of the stream draws patterns; each split has one of its own.
private struct SyntheticImages {
  let pixels: Int
  let patterns: [[UInt8]]  // [classes][pixels]
  let random: CounterRandom

  init(random: CounterRandom, classes: Int, channels: Int, height: Int, width: Int) {
    self.random = random
    pixels = channels * height * width
    let stream = random.stream(.syntheticData, layer: 0)
    let cellRows = (height + 3) / 4
    let cellColumns = (width + 3) / 4
    patterns = (0..<classes).map { label in
      (0..<channels * height * width).map { pixel in
        let (plane, row, column) = (pixel / (height * width), pixel / width % height, pixel % width)
        let cell = ((label * channels + plane) * cellRows + row / 4) * cellColumns + column / 4
        return UInt8(stream.below(96, at: UInt64(cell)))
      }
    }
  }

  func split(count: Int, noise layer: Int) throws -> ImageSplit {
    let (bytes, overflow) = count.multipliedReportingOverflow(by: pixels)
    guard !overflow else { throw EspalierError.usage("synthetic data: \(count) images of \(pixels) pixels overflow") }
    let images = try PixelBuffer(count: bytes) { buffer in
      let stream = random.stream(.syntheticData, layer: layer)
      for image in 0..<count {
        fill(UnsafeMutableBufferPointer(rebasing: buffer[image * pixels..<(image + 1) * pixels]), image, stream)
      }
    }
    return ImageSplit(images: images, labels: (0..<count).map { UInt32($0 % patterns.count) })
  }

  /// Eight pixels share the 64 bits of one draw.
  private func fill(_ out: UnsafeMutableBufferPointer<UInt8>, _ image: Int, _ stream: CounterRandom.Stream) {
    let draws = (pixels + 7) / 8
    patterns[image % patterns.count].withUnsafeBufferPointer { pattern in
      for draw in 0..<draws {
        var bits = stream.bits(UInt64(image) * UInt64(draws) + UInt64(draw))
        for pixel in draw * 8..<min(draw * 8 + 8, pixels) {
          out[pixel] = pattern[pixel] + UInt8(((bits & 0xff) * 160) >> 8)
          bits >>= 8
        }
      }
    }
  }
}

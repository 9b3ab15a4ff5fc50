import EspalierCore

extension ImageSplit {
  /// Parts the images in two at random: floor(fraction * count) for validation, the rest for training, both in their first order.
  ///
  /// The parts depend on the seed alone.
  /// - Throws: `EspalierError.usage` unless 0 < fraction < 1 and both parts have an image.
  public func heldOut(fraction: Double, random: CounterRandom) throws -> (train: ImageSplit, validation: ImageSplit) {
    guard fraction > 0, fraction < 1 else {
      throw EspalierError.usage("validation: \(fraction) is out of range; expected above 0 and below 1")
    }
    let held = Int(fraction * Double(count))
    guard held > 0 else {
      throw EspalierError.usage(
        "validation: \(fraction) of \(count) training images is less than one; expected at least \(1 / Double(count))")
    }
    // Layer 0 of this purpose orders the epochs.
    let order = random.stream(.shuffle, layer: 1).permutation(count: count)
    return (try part(order[held...]), try part(order[..<held]))
  }

  private func part(_ indices: ArraySlice<UInt32>) throws -> ImageSplit {
    let indices = indices.sorted()
    let size = images.count / count
    let pixels = try images.withUnsafeBufferPointer { source in
      try PixelBuffer(count: indices.count * size) { target in
        for (place, index) in indices.enumerated() {
          let image = UnsafeBufferPointer(rebasing: source[Int(index) * size..<(Int(index) + 1) * size])
          _ = UnsafeMutableBufferPointer(rebasing: target[place * size..<(place + 1) * size]).update(from: image)
        }
      }
    }
    return ImageSplit(images: pixels, labels: indices.map { labels[Int($0)] })
  }
}

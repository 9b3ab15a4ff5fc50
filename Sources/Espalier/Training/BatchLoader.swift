import EspalierCore
import EspalierData

/// Turns a split's images into a model's input, batch by batch.
struct BatchLoader {
  let split: ImageSplit
  let packing: ImagePacking
  let context: ComputeContext

  init(
    _ split: ImageSplit, of dataset: ImageDataset, normalization: Normalization, input: FeatureSize,
    context: ComputeContext
  ) throws {
    guard dataset.channels == input.channels || dataset.channels == 1, dataset.height <= input.height,
      dataset.width <= input.width, [1, input.channels].contains(normalization.mean.count),
      normalization.deviation.count == normalization.mean.count
    else {
      throw EspalierError.usage(
        "data set \(dataset.name): images of \(dataset.channels) x \(dataset.height) x \(dataset.width) with \(normalization.mean.count) means do not fit a model that takes \(input.channels) x \(input.height) x \(input.width)"
      )
    }
    self.split = split
    self.context = context
    func repeated(_ values: [Float]) -> [Float] {
      values.count == input.channels ? values : [Float](repeating: values[0], count: input.channels)
    }
    packing = ImagePacking(
      sourceChannels: dataset.channels, sourceHeight: dataset.height, sourceWidth: dataset.width,
      channels: input.channels, height: input.height, width: input.width, mean: repeated(normalization.mean),
      deviation: repeated(normalization.deviation))
  }

  /// The split's samples in batches of `size`, starting with batch number `first` of the epoch.
  ///
  /// - Parameter augmentation: places training images at random; nil for none.
  func batches(
    in order: SampleOrder, size: Int, dropLast: Bool, from first: Int = 0, augmentation: Augmentation? = nil,
    epoch: Int = 0, random: CounterRandom = CounterRandom(seed: 0)
  ) -> BatchReader {
    BatchReader(
      loader: self, batches: order.batches(size: size, dropLast: dropLast), position: first,
      augmentation: augmentation, epoch: epoch, random: random)
  }

  fileprivate func batch(_ indices: ArraySlice<UInt32>, placements: [ImagePlacement]) -> Batch {
    let images = indices.withUnsafeBufferPointer { indices in
      placements.withUnsafeBufferPointer { placements in
        split.images.withUnsafeBufferPointer {
          context.pack(images: $0, indices: indices, placements: placements, packing: packing)
        }
      }
    }
    return Batch(images: images, labels: indices.map { split.labels[Int($0)] })
  }
}

/// What a model sees in one step.
struct Batch {
  /// [samples, channels, height, width], normalised.
  let images: Activations
  /// [samples].
  let labels: [UInt32]
}

/// An epoch's batches, one after the other.
struct BatchReader {
  let loader: BatchLoader
  let batches: SampleOrder.Batches
  /// Number of the next batch in its epoch.
  private(set) var position: Int
  let augmentation: Augmentation?
  let epoch: Int
  let random: CounterRandom

  /// The next batch; nil after the last.
  ///
  /// - Throws: `EspalierError.input` where images cannot be read.
  mutating func next() throws -> Batch? {
    guard position < batches.count else { return nil }
    defer { position += 1 }
    let indices = batches[position]
    let placements = augmentation?.placements(of: indices, epoch: epoch, random: random) ?? []
    return loader.batch(indices, placements: placements)
  }
}

import EspalierCore
import EspalierData

/// Turns a split's images into a model's input, batch by batch.
///
/// Pictures in files are cropped, and brought to the input's size, in threads of their own, ahead of the trainer. Images in memory
/// are padded.
struct BatchLoader {
  let split: ImageSplit
  let packing: ImagePacking
  let context: ComputeContext
  /// Threads that decode pictures, as many as compute unless told otherwise; results do not depend on them.
  let workers: Int

  init(
    _ split: ImageSplit, of dataset: ImageDataset, normalization: Normalization, input: FeatureSize,
    context: ComputeContext, workers: Int? = nil
  ) throws {
    let source = Self.sourceSize(split, of: dataset, input: input)
    guard source.channels == input.channels || source.channels == 1, source.height <= input.height,
      source.width <= input.width, [1, input.channels].contains(normalization.mean.count),
      normalization.deviation.count == normalization.mean.count
    else {
      throw EspalierError.usage(
        "data set \(dataset.name): images of \(dataset.channels) x \(dataset.height) x \(dataset.width) with \(normalization.mean.count) means do not fit a model that takes \(input.channels) x \(input.height) x \(input.width)"
      )
    }
    self.split = split
    self.context = context
    self.workers = max(1, workers ?? context.threads)
    func repeated(_ values: [Float]) -> [Float] {
      values.count == input.channels ? values : [Float](repeating: values[0], count: input.channels)
    }
    packing = ImagePacking(
      sourceChannels: source.channels, sourceHeight: source.height, sourceWidth: source.width,
      channels: input.channels, height: input.height, width: input.width, mean: repeated(normalization.mean),
      deviation: repeated(normalization.deviation))
  }

  /// The size of one image before it is padded.
  private static func sourceSize(_ split: ImageSplit, of dataset: ImageDataset, input: FeatureSize) -> FeatureSize {
    switch split.storage {
    case .bytes, .floats: FeatureSize(channels: dataset.channels, height: dataset.height, width: dataset.width)
    case .files: FeatureSize(channels: 3, height: input.height, width: input.width)
    }
  }

  /// The split's samples in batches of `size`, of which a `slice` is loaded, starting with batch number `first` of the epoch.
  ///
  /// A picture that cannot be decoded is replaced by the next of the split where `dropLast`, which asks for whole batches; else
  /// it is left out.
  /// - Parameter augmentation: places training images at random; nil for none.
  func batches(
    in order: SampleOrder, size: Int, slice: Range<Int>? = nil, dropLast: Bool, from first: Int = 0,
    augmentation: Augmentation? = nil, epoch: Int = 0, random: CounterRandom = CounterRandom(seed: 0)
  ) -> BatchReader {
    BatchReader(
      loader: self, batches: order.batches(size: size, dropLast: dropLast, slice: slice), position: first,
      augmentation: augmentation, epoch: epoch, random: random, damage: dropLast ? .replace : .leaveOut)
  }

  /// A batch of images in memory.
  fileprivate func batch(_ indices: ArraySlice<UInt32>, placements: ([UInt32]) -> [ImagePlacement]) -> Batch {
    let numbers = indices.map { split.number(of: $0) }
    let placements = placements(numbers)
    let images =
      switch split.storage {
      case .bytes(let pixels):
        pixels.withUnsafeBufferPointer {
          context.pack(images: $0, indices: numbers, placements: placements, packing: packing)
        }
      case .floats(let numbersOfImages):
        numbersOfImages.withUnsafeFloats {
          context.pack(normalized: $0, indices: numbers, placements: placements, packing: packing)
        }
      case .files: preconditionFailure("pictures in files are read by PictureBatches")
      }
    return Batch(images: images, labels: indices.map { split.labels[Int($0)] })
  }

  /// A batch of decoded pictures.
  fileprivate func batch(_ pictures: PictureBatch) -> Batch {
    let images = context.pack(
      images: pictures.pixels, indices: pictures.slots, placements: pictures.flips.map { ImagePlacement(flip: $0) },
      packing: packing)
    return Batch(images: images, labels: pictures.samples.map { split.labels[Int($0)] })
  }
}

/// What a model sees in one step.
package struct Batch {
  /// [samples, channels, height, width], normalised.
  package let images: Activations
  /// [samples].
  package let labels: [UInt32]
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
  let damage: PictureRequest.Damage
  /// The threads that decode; started with the first batch.
  private var pictures: PictureBatches?

  fileprivate init(
    loader: BatchLoader, batches: SampleOrder.Batches, position: Int, augmentation: Augmentation?, epoch: Int,
    random: CounterRandom, damage: PictureRequest.Damage
  ) {
    self.loader = loader
    self.batches = batches
    self.position = position
    self.augmentation = augmentation
    self.epoch = epoch
    self.random = random
    self.damage = damage
  }

  /// The next batch; nil after the last.
  ///
  /// - Throws: `EspalierError.input` where images cannot be read.
  mutating func next() throws -> Batch? {
    guard case .files = loader.split.storage else { return nextInMemory() }
    while position < batches.count {
      let reader = try pictures ?? decode()
      pictures = reader
      position += 1
      let batch = try reader.withNext { $0.samples.isEmpty ? nil : loader.batch($0) }
      if let batch = batch ?? nil { return batch }
    }
    pictures = nil
    return nil
  }

  /// Gives back the memory of decoded pictures; nothing is read after.
  mutating func close() {
    pictures = nil
    position = batches.count
  }

  private mutating func nextInMemory() -> Batch? {
    guard position < batches.count else { return nil }
    defer { position += 1 }
    return loader.batch(batches[position]) {
      augmentation?.placements(of: $0, epoch: epoch, random: random) ?? []
    }
  }

  private func decode() throws -> PictureBatches {
    let transform =
      augmentation.map {
        PictureRequest.Transform.random($0.crop, flips: $0.flips, epoch: epoch, random)
      } ?? .centre
    let request = PictureRequest(
      split: loader.split, batches: batches, first: position, transform: transform,
      size: PictureSize(height: loader.packing.height, width: loader.packing.width), damage: damage)
    return try PictureBatches(request, workers: loader.workers, instructionSet: loader.context.instructionSet)
  }
}

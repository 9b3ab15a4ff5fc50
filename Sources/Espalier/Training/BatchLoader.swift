import EspalierCore
import EspalierData

/// Turns stored images into a model's input, batch by batch.
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

  /// The images at `indices`, perhaps placed anew, as activations.
  func images(_ indices: ArraySlice<UInt32>, placements: [ImagePlacement] = []) -> Activations {
    indices.withUnsafeBufferPointer { indices in
      placements.withUnsafeBufferPointer { placements in
        split.images.withUnsafeBufferPointer {
          context.pack(images: $0, indices: indices, placements: placements, packing: packing)
        }
      }
    }
  }

  /// Replaces the contents of `labels` by those of the images at `indices`.
  func labels(_ indices: ArraySlice<UInt32>, into labels: inout [UInt32]) {
    labels.removeAll(keepingCapacity: true)
    for index in indices { labels.append(split.labels[Int(index)]) }
  }
}

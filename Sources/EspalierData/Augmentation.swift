import EspalierCore

/// Random crops of zero-padded images, and mirror images.
///
/// Padding by p on each side and cropping back is a shift uniform in -p ... p along each axis. Source: He et al. 2015
/// (arXiv 1512.03385), section 4.2, with p = 4 and flips of probability 1/2.
public struct Augmentation: Sendable, Hashable {
  /// Pixels of padding on each side.
  public let padding: Int

  /// Whether half of the images, at random, are mirrored.
  public let flips: Bool

  /// Which part of a picture that is decoded on the way is taken; images in memory are padded and cropped.
  public let crop: TrainingCrop

  /// - Precondition: 0 <= padding <= 16,383.
  public init(padding: Int = 4, flips: Bool = true, crop: TrainingCrop = .resized) {
    precondition((0...16_383).contains(padding))
    self.padding = padding
    self.flips = flips
    self.crop = crop
  }

  /// The placements of the given samples of the data set in one epoch, in their order.
  ///
  /// A sample's placement depends on the seed, the epoch and the sample's index alone: not on the batch that it is in.
  /// - Precondition: 0 <= epoch < 2^32.
  public func placements(of samples: some Sequence<UInt32>, epoch: Int, random: CounterRandom) -> [ImagePlacement] {
    let stream = random.stream(.augmentation, step: epoch)
    return samples.map { placement(of: $0, stream) }
  }

  /// Four numbers are set aside for each sample: shift along y, shift along x, flip, and one unused.
  private func placement(of sample: UInt32, _ stream: CounterRandom.Stream) -> ImagePlacement {
    let first = UInt64(sample) * 4
    let choices = UInt64(2 * padding + 1)
    return ImagePlacement(
      shiftY: Int16(Int(stream.below(choices, at: first)) - padding),
      shiftX: Int16(Int(stream.below(choices, at: first + 1)) - padding),
      flip: flips && stream.below(2, at: first + 2) == 1)
  }
}

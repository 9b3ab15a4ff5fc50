import EspalierCore
import Foundation

/// A part of a picture, the size that it is brought to, and the window of that which is wanted.
package struct PictureCrop: Equatable {
  /// In pixels of the picture.
  package var left, top, width, height: Int
  /// The size that the part is brought to, in pixels.
  package var resizedWidth, resizedHeight: Int
  /// Where in it the window begins, which is as large as the model's input.
  package var windowLeft = 0
  package var windowTop = 0

  package init(
    left: Int, top: Int, width: Int, height: Int, resizedWidth: Int, resizedHeight: Int, windowLeft: Int = 0,
    windowTop: Int = 0
  ) {
    (self.left, self.top, self.width, self.height) = (left, top, width, height)
    (self.resizedWidth, self.resizedHeight) = (resizedWidth, resizedHeight)
    (self.windowLeft, self.windowTop) = (windowLeft, windowTop)
  }
}

/// Which part of a picture training sees: a random one of random shape, mirrored half of the time.
///
/// Up to ten times an area, uniform in `scale` of the picture's, and a ratio of width to height, uniform in its logarithm, are
/// drawn; the first part that fits is taken, at a uniform place. If none fits, the largest centred part of a ratio in range is.
/// Source: Szegedy et al. 2015 (arXiv 1409.4842), section 6, as torchvision's RandomResizedCrop does it.
public struct RandomResizedCrop: Sendable, Hashable {
  /// Of the picture's area.
  public var scale = 0.08...1.0
  /// Of width to height.
  public var ratio = 3.0 / 4...4.0 / 3

  /// The crop that ImageNet models are trained with.
  public init() {}

  /// Numbers of the stream that are set aside for each picture: four a trial, then the flip.
  fileprivate static let numbers: UInt64 = 64
  private static let trials: UInt64 = 10

  /// The stream of one epoch; pictures in memory take layer 0 of the same purpose.
  package static func stream(epoch: Int, random: CounterRandom) -> CounterRandom.Stream {
    random.stream(.augmentation, layer: 1, step: epoch)
  }

  /// Whether a picture is mirrored; a function of the stream and the picture's number alone.
  package static func flips(_ picture: UInt32, _ stream: CounterRandom.Stream) -> Bool {
    stream.below(2, at: UInt64(picture) * numbers + 4 * trials) == 1
  }

  /// The part of a picture of `width` x `height` pixels, brought to `size`.
  package func crop(width: Int, height: Int, size: PictureSize, picture: UInt32, _ stream: CounterRandom.Stream)
    -> PictureCrop
  {
    let first = UInt64(picture) * Self.numbers
    let area = Double(width * height)
    for trial in 0..<Self.trials {
      let at = first + 4 * trial
      let target = area * stream.uniform(in: scale, at: at)
      let shape = exp(stream.uniform(in: log(ratio.lowerBound)...log(ratio.upperBound), at: at + 1))
      let w = Int((target * shape).squareRoot().rounded(.toNearestOrEven))
      let h = Int((target / shape).squareRoot().rounded(.toNearestOrEven))
      guard w > 0, w <= width, h > 0, h <= height else { continue }
      return PictureCrop(
        left: Int(stream.below(UInt64(width - w + 1), at: at + 3)),
        top: Int(stream.below(UInt64(height - h + 1), at: at + 2)), width: w, height: h, resizedWidth: size.width,
        resizedHeight: size.height)
    }
    return centre(width: width, height: height, size: size)
  }

  /// The largest centred part whose ratio is in range.
  private func centre(width: Int, height: Int, size: PictureSize) -> PictureCrop {
    var (w, h) = (width, height)
    if Double(width) / Double(height) < ratio.lowerBound {
      h = min(height, Int((Double(width) / ratio.lowerBound).rounded(.toNearestOrEven)))
    } else if Double(width) / Double(height) > ratio.upperBound {
      w = min(width, Int((Double(height) * ratio.upperBound).rounded(.toNearestOrEven)))
    }
    return PictureCrop(
      left: (width - w) / 2, top: (height - h) / 2, width: max(1, w), height: max(1, h), resizedWidth: size.width,
      resizedHeight: size.height)
  }
}

/// Which part of a picture training sees.
public enum TrainingCrop: String, Sendable, CaseIterable, Codable {
  /// A random part of random shape and size (`RandomResizedCrop`), as the code of Heddes et al. takes it.
  case resized
  /// A random window of the input's size, after the picture's shorter side has been brought to 8/7 of it: what evaluation takes the centre of
  /// (Heddes et al., arXiv 2401.06898, supplement).
  case window

  /// The part of a picture of `width` x `height` pixels, brought to `size`.
  package func crop(width: Int, height: Int, size: PictureSize, picture: UInt32, _ stream: CounterRandom.Stream)
    -> PictureCrop
  {
    switch self {
    case .resized:
      return RandomResizedCrop().crop(width: width, height: height, size: size, picture: picture, stream)
    case .window:
      var crop = CentreCrop.crop(width: width, height: height, size: size)
      let first = UInt64(picture) * RandomResizedCrop.numbers
      crop.windowTop = Int(stream.below(UInt64(crop.resizedHeight - size.height + 1), at: first))
      crop.windowLeft = Int(stream.below(UInt64(crop.resizedWidth - size.width + 1), at: first + 1))
      return crop
    }
  }
}

/// Which part of a picture evaluation sees: its centre, after its shorter side has been brought to 8/7 of the input's (256 for 224).
///
/// Source: torchvision's Resize(256) and CenterCrop(224).
package enum CentreCrop {
  package static func crop(width: Int, height: Int, size: PictureSize) -> PictureCrop {
    let side = (Double(max(size.width, size.height)) * 256 / 224).rounded(.toNearestOrEven)
    let short = Double(min(width, height))
    let long = max(side, (side * Double(max(width, height)) / short).rounded(.down))
    let resized = width <= height ? (width: Int(side), height: Int(long)) : (width: Int(long), height: Int(side))
    func middle(_ whole: Int, _ part: Int) -> Int { Int((Double(whole - part) / 2).rounded(.toNearestOrEven)) }
    return PictureCrop(
      left: 0, top: 0, width: width, height: height, resizedWidth: resized.width, resizedHeight: resized.height,
      windowLeft: middle(resized.width, size.width), windowTop: middle(resized.height, size.height))
  }
}

/// The size of a model's input, in pixels.
public struct PictureSize: Sendable, Hashable {
  /// Pixels.
  public let height, width: Int

  /// `height` rows of `width` pixels.
  public init(height: Int, width: Int) {
    self.height = height
    self.width = width
  }

  /// Bytes of a picture in three colours.
  var bytes: Int { 3 * height * width }
}

extension CounterRandom.Stream {
  /// Uniform in `range`, in steps of 2^-53 of its width.
  fileprivate func uniform(in range: ClosedRange<Double>, at index: UInt64) -> Double {
    range.lowerBound + Double(bits(index) >> 11) * 0x1p-53 * (range.upperBound - range.lowerBound)
  }
}

import EspLayers

/// How stored bytes become a network's input.
public struct ImagePacking: Sendable {
  /// Channels of an image as stored.
  public let sourceChannels: Int
  /// Rows of an image as stored.
  public let sourceHeight: Int
  /// Columns of an image as stored.
  public let sourceWidth: Int
  /// Of the network: equal to the source's, or the source has one and it is repeated.
  public let channels: Int
  /// Of the network: at least the source's; the image is centred in zeros.
  public let height: Int
  /// Columns of the result.
  public let width: Int
  /// By network channel, after division by 255.
  public let mean: [Float]
  /// Each channel's standard deviation, above zero.
  public let deviation: [Float]

  /// How stored images become a model's input.
  public init(
    sourceChannels: Int, sourceHeight: Int, sourceWidth: Int, channels: Int, height: Int, width: Int, mean: [Float],
    deviation: [Float]
  ) {
    precondition(channels == sourceChannels || sourceChannels == 1)
    precondition(height >= sourceHeight && width >= sourceWidth)
    precondition(mean.count == channels && deviation.count == channels)
    self.sourceChannels = sourceChannels
    self.sourceHeight = sourceHeight
    self.sourceWidth = sourceWidth
    self.channels = channels
    self.height = height
    self.width = width
    self.mean = mean
    self.deviation = deviation
  }
}

/// How one image is moved and mirrored within its plane: out[i, j] = in[i + shiftY, j' + shiftX], zero outside, with
/// j' = width - 1 - j where `flip`, else j.
public struct ImagePlacement: Sendable, Equatable {
  fileprivate let placement: esp_placement

  /// An image shifted by so many pixels and then, perhaps, mirrored.
  public init(shiftY: Int16 = 0, shiftX: Int16 = 0, flip: Bool = false) {
    placement = esp_placement(shift_y: shiftY, shift_x: shiftX, flip: flip ? 1 : 0)
  }

  /// Pixels downwards.
  public var shiftY: Int16 { placement.shift_y }
  /// Pixels to the right.
  public var shiftX: Int16 { placement.shift_x }
  /// Whether left and right change places.
  public var flip: Bool { placement.flip != 0 }

  /// Whether both place an image the same way.
  public static func == (a: Self, b: Self) -> Bool {
    (a.shiftY, a.shiftX, a.flip) == (b.shiftY, b.shiftX, b.flip)
  }
}

extension ComputeContext {
  /// The images at `indices` as activations [samples, channels, height, width]: padded with zero bytes, placed, divided by 255,
  /// normalised.
  ///
  /// - Parameters:
  ///   - images: [count, source channels, source height, source width], one byte a pixel.
  ///   - indices: which images, in which order.
  ///   - placements: one an image, or empty for none.
  ///   - packing: sizes and normalisation.
  public func pack(
    images: UnsafeBufferPointer<UInt8>, indices: [UInt32], placements: [ImagePlacement], packing: ImagePacking
  ) -> Activations {
    return pack(indices: indices, placements: placements, packing: packing) { shape, placements, output in
      esp_pack_images(
        isa, images.baseAddress, indices, placements, packing.sourceChannels, packing.sourceHeight, packing.sourceWidth,
        packing.channels, packing.height, packing.width, packing.mean, packing.deviation, shape.samples, shape.lanes,
        output,
        threadCount)
    }
  }

  /// The images at `indices`, whose numbers are taken as they are: padded with zeros and placed.
  ///
  /// - Parameters:
  ///   - images: [count, source channels, source height, source width].
  ///   - indices: which images, in which order.
  ///   - placements: one an image, or empty for none.
  ///   - packing: sizes; its normalisation is not used.
  public func pack(
    normalized images: UnsafeBufferPointer<Float>, indices: [UInt32], placements: [ImagePlacement],
    packing: ImagePacking
  ) -> Activations {
    pack(indices: indices, placements: placements, packing: packing) { shape, placements, output in
      esp_pack_floats(
        isa, images.baseAddress, indices, placements, packing.sourceChannels, packing.sourceHeight, packing.sourceWidth,
        packing.channels, packing.height, packing.width, shape.samples, shape.lanes, output, threadCount)
    }
  }

  private func pack(
    indices: [UInt32], placements: [ImagePlacement], packing: ImagePacking,
    kernel: (ActivationShape, UnsafePointer<esp_placement>?, UnsafeMutablePointer<Float>) -> Void
  ) -> Activations {
    precondition(placements.isEmpty || placements.count == indices.count)
    let shape = ActivationShape(
      samples: indices.count, channels: packing.channels, height: packing.height, width: packing.width)
    let output = pool.activations(shape)
    placements.withUnsafeBufferPointer {
      $0.withMemoryRebound(to: esp_placement.self) {
        kernel(shape, placements.isEmpty ? nil : $0.baseAddress, output.pointer)
      }
    }
    return output
  }
}

import EspalierCore
import EspalierData

/// Computes a model's logits in evaluation mode: dropout off, batch norms with their running statistics.
public struct Predictor {
  /// The model whose logits these are.
  public let model: Model
  /// Samples that are computed together.
  package let batchSize: Int
  private let context: ComputeContext

  /// Samples a batch at most where nothing else is asked for, and the bytes that their activations may take.
  private static let usual = (samples: 128, bytes: 1 << 30)

  /// - Parameters:
  ///   - model: whose logits are computed.
  ///   - context: what computes.
  ///   - batchSize: nil for 128, or as many as take 1 GiB of activations: a function of the model alone, so that results repeat.
  /// - Throws: `EspalierError.usage` for a batch size below 1 or above 65,536.
  public init(_ model: Model, batchSize: Int? = nil, context: ComputeContext) throws {
    let batchSize = try batchSize ?? Self.fitting(model, context: context)
    guard (1...65_536).contains(batchSize) else {
      throw EspalierError.usage("batch-size: \(batchSize) is out of range; expected 1 to 65536")
    }
    self.model = model
    self.batchSize = batchSize
    self.context = context
  }

  /// The usual batch size, halved until its activations fit.
  private static func fitting(_ model: Model, context: ComputeContext) throws -> Int {
    let probe = try ComputeContext(threads: 1, instructionSet: context.instructionSet)
    let input = model.spec.input
    let shape = ActivationShape(samples: 1, channels: input.channels, height: input.height, width: input.width)
    // Models of small images are small, whatever their layers are.
    guard input.count > 3 * 64 * 64 else { return usual.samples }
    let x = probe.pool.activations(shape)
    x.buffer.update(repeating: 0)
    _ = try model(Variable(x), on: Tape(context: probe, mode: .evaluation))
    let bytes = max(1, probe.meter.reading.peakActivationBytes)
    var samples = usual.samples
    while samples > 1, samples > usual.bytes / bytes { samples /= 2 }
    return samples
  }

  /// Logits [samples, classes] of normalised images [samples, channels, height, width], both row-major.
  ///
  /// - Throws: `EspalierError.usage` unless `images` is a whole number of the model's inputs long.
  public func logits(of images: UnsafeBufferPointer<Float>) throws -> [Float] {
    let input = model.spec.input
    guard images.count % input.count == 0 else {
      throw EspalierError.usage("\(model.spec.name): \(images.count) numbers are no whole number of images of \(input)")
    }
    let samples = images.count / input.count
    return try stride(from: 0, to: samples, by: batchSize).flatMap { first in
      let last = min(first + batchSize, samples)
      return try batch(UnsafeBufferPointer(rebasing: images[first * input.count..<last * input.count]))
    }
  }

  /// Writes the logits of a NumPy file's images into another, [samples, classes] in float32.
  ///
  /// - Parameters:
  ///   - input: [samples, channels, height, width] in float32, normalised; any number of samples.
  ///   - path: where the logits go; appears when it is whole.
  ///   - report: is told how long each batch took, from its images in memory to its logits there.
  /// - Returns: the number of samples.
  /// - Throws: `EspalierError.input` where the images are of another type or shape, or not finite; `EspalierError.diverged` where logits are
  ///   not; `EspalierError.write`.
  /// - Complexity: holds one batch.
  @discardableResult
  public func predict(
    _ input: NumPyFile, to path: String, report: (Duration) -> Void = { _ in }
  ) throws -> Int {
    let size = model.spec.input
    let expected = [size.channels, size.height, size.width]
    guard input.type == .float32, input.shape.count == 4, Array(input.shape[1...]) == expected else {
      throw EspalierError.input(
        "\(input.path): holds \(input.type.name) \(input.shape), \(model.spec.name) takes float32 "
          + "[N, \(size.channels), \(size.height), \(size.width)]; save x.astype('float32') of that shape")
    }
    let samples = input.shape[0]
    try NumPyFile.write(.float32, shape: [samples, model.spec.classes], to: path) { sink in
      var images: [Float] = []
      for first in stride(from: 0, to: samples, by: batchSize) {
        let count = min(batchSize, samples - first)
        if images.count != count * size.count { images = [Float](repeating: 0, count: count * size.count) }
        try images.withUnsafeMutableBytes { try input.read(from: first * size.count, into: $0) }
        if let index = images.firstIndex(where: { !$0.isFinite }) {
          throw EspalierError.input(
            "\(input.path): sample \(first + index / size.count) holds \(images[index]); expected finite numbers")
        }
        let started = ContinuousClock.now
        let logits = try images.withUnsafeBufferPointer { try batch($0) }
        report(ContinuousClock.now - started)
        if let index = logits.firstIndex(where: { !$0.isFinite }) {
          throw EspalierError.diverged(
            "\(input.path): the logits of sample \(first + index / model.spec.classes) are not finite; the weights are not usable"
          )
        }
        try logits.withUnsafeBytes { try sink($0) }
      }
    }
    return samples
  }

  private func batch(_ images: UnsafeBufferPointer<Float>) throws -> [Float] {
    let input = model.spec.input
    let shape = ActivationShape(
      samples: images.count / input.count, channels: input.channels, height: input.height, width: input.width)
    let x = context.pool.activations(shape)
    for padded in shape.samples..<max(shape.samples, shape.sampleBlocks * shape.lanes) {
      for feature in 0..<shape.features { x.pointer[x.offset(sample: padded, feature: feature)] = 0 }
    }
    for sample in 0..<shape.samples {
      let first = x.offset(sample: sample, feature: 0)
      for feature in 0..<shape.features {
        x.pointer[first + feature * shape.lanes] = images[sample * shape.features + feature]
      }
    }
    let y = try model(Variable(x), on: Tape(context: context, mode: .evaluation)).value
    return withExtendedLifetime((x, y)) {
      (0..<shape.samples).flatMap { sample in
        (0..<y.shape.features).map { y.pointer[y.offset(sample: sample, feature: $0)] }
      }
    }
  }
}

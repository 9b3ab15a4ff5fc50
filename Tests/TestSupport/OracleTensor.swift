/// A batch [samples, channels, height, width] in Double, row by row: what oracles compute with.
public struct OracleTensor: Sendable {
  public let samples, channels, height, width: Int
  public var values: [Double]

  public init(samples: Int, channels: Int, height: Int = 1, width: Int = 1, values: [Double]) {
    precondition(values.count == samples * channels * height * width)
    self.samples = samples
    self.channels = channels
    self.height = height
    self.width = width
    self.values = values
  }

  /// Signed random numbers that a Float holds exactly.
  public init(samples: Int, channels: Int, height: Int = 1, width: Int = 1, using random: inout LayerRandom) {
    self.init(
      samples: samples, channels: channels, height: height, width: width,
      values: random.floats(samples * channels * height * width).map(Double.init))
  }

  /// Signed distinct numbers 1/64 apart in random order: no maximum is a matter of rounding and none is zero.
  public static func distinct(
    _ samples: Int, channels: Int, height: Int = 1, width: Int = 1, seed: UInt64
  ) -> OracleTensor {
    var random = LayerRandom(seed: seed)
    let count = samples * channels * height * width
    let values = (0..<count).shuffled(using: &random).map { (Double($0 - count / 2) + 0.5) / 64 }
    return OracleTensor(samples: samples, channels: channels, height: height, width: width, values: values)
  }

  public var positions: Int { height * width }
  public var features: Int { channels * positions }

  /// The same shape with other values.
  public func with(_ values: [Double]) -> OracleTensor {
    OracleTensor(samples: samples, channels: channels, height: height, width: width, values: values)
  }

  public func map(_ body: (Double) -> Double) -> OracleTensor { with(values.map(body)) }

  /// One sample as a batch.
  public func sample(_ index: Int) -> OracleTensor {
    OracleTensor(
      samples: 1, channels: channels, height: height, width: width,
      values: Array(values[index * features..<(index + 1) * features]))
  }

  public func flattened() -> OracleTensor { OracleTensor(samples: samples, channels: features, values: values) }

  /// Sum of products with another tensor of as many numbers.
  public func dot(_ other: OracleTensor) -> Double {
    precondition(values.count == other.values.count)
    var sum = 0.0
    for i in values.indices { sum += values[i] * other.values[i] }
    return sum
  }
}

extension OracleTensor {
  public func relu() -> OracleTensor { map { max($0, 0) } }

  /// y = W x + b; weights [outputs, features], dense.
  public func linear(weights: [Double], bias: [Double]) -> OracleTensor {
    flattened().convolution(weights: weights, bias: bias, OracleKernel(height: 1, width: 1))
  }

  /// A cross-correlation; weights [outputs, channels, kernel height, kernel width], dense.
  public func convolution(weights: [Double], bias: [Double], _ kernel: OracleKernel) -> OracleTensor {
    let outHeight = (height + 2 * kernel.padding - kernel.height) / kernel.stride + 1
    let outWidth = (width + 2 * kernel.padding - kernel.width) / kernel.stride + 1
    var result: [Double] = []
    result.reserveCapacity(samples * bias.count * outHeight * outWidth)
    for sample in 0..<samples {
      for output in bias.indices {
        for y in 0..<outHeight {
          for x in 0..<outWidth {
            result.append(bias[output] + window(sample, output, y, x, weights: weights, kernel))
          }
        }
      }
    }
    return OracleTensor(samples: samples, channels: bias.count, height: outHeight, width: outWidth, values: result)
  }

  private func window(
    _ sample: Int, _ output: Int, _ y: Int, _ x: Int, weights: [Double], _ kernel: OracleKernel
  ) -> Double {
    var sum = 0.0
    for channel in 0..<channels {
      for ky in 0..<kernel.height {
        for kx in 0..<kernel.width {
          let i = y * kernel.stride + ky - kernel.padding
          let j = x * kernel.stride + kx - kernel.padding
          guard i >= 0, i < height, j >= 0, j < width else { continue }
          sum +=
            weights[((output * channels + channel) * kernel.height + ky) * kernel.width + kx]
            * values[((sample * channels + channel) * height + i) * width + j]
        }
      }
    }
    return sum
  }

  /// Batch normalisation with the batch's own statistics, before any activation.
  public func batchNorm(scale: [Double], shift: [Double], epsilon: Double) -> OracleTensor {
    var result = values
    for channel in 0..<channels {
      let elements = elements(ofChannel: channel)
      let mean = elements.reduce(0) { $0 + values[$1] } / Double(elements.count)
      let variance = elements.reduce(0) { $0 + (values[$1] - mean) * (values[$1] - mean) } / Double(elements.count)
      for e in elements {
        result[e] = scale[channel] * (values[e] - mean) / (variance + epsilon).squareRoot() + shift[channel]
      }
    }
    return with(result)
  }

  /// Indices of one channel's numbers in all samples.
  public func elements(ofChannel channel: Int) -> [Int] {
    (0..<samples).flatMap { sample in
      (0..<positions).map { (sample * channels + channel) * positions + $0 }
    }
  }

  /// Each window's value by `body`, which is given the numbers inside the image.
  public func pooled(kernel: Int, stride: Int, padding: Int = 0, _ body: ([Double]) -> Double) -> OracleTensor {
    let window = LayerPoolOracle(height, width, kernel: kernel, stride: stride, padding: padding)
    var result: [Double] = []
    for plane in 0..<samples * channels {
      for y in 0..<window.outHeight {
        for x in 0..<window.outWidth {
          result.append(body(window.window(y, x).map { values[plane * positions + $0] }))
        }
      }
    }
    return OracleTensor(
      samples: samples, channels: channels, height: window.outHeight, width: window.outWidth, values: result)
  }

  /// The mean of every output's share of the image: the pixels (y, x) whose square meets [i, i + 1] x [j, j + 1] * size / outputs.
  public func adaptivelyPooled(height outHeight: Int, width outWidth: Int) -> OracleTensor {
    func share(_ i: Int, of size: Int, among outputs: Int) -> [Int] {
      (0..<size).filter { ($0 + 1) * outputs > i * size && $0 * outputs < (i + 1) * size }
    }
    var result: [Double] = []
    for plane in 0..<samples * channels {
      for i in 0..<outHeight {
        for j in 0..<outWidth {
          let (rows, columns) = (share(i, of: height, among: outHeight), share(j, of: width, among: outWidth))
          let sum = rows.reduce(0) { sum, y in
            columns.reduce(sum) { $0 + values[plane * positions + y * width + $1] }
          }
          result.append(sum / Double(rows.count * columns.count))
        }
      }
    }
    return OracleTensor(samples: samples, channels: channels, height: outHeight, width: outWidth, values: result)
  }

  /// Mean softmax cross-entropy with label smoothing of logits [samples, classes].
  public func meanLoss(labels: [Int], smoothing: Double) -> Double {
    (0..<samples).reduce(0) {
      $0 + LayerLossOracle(logits: sample($1).values, label: labels[$1], smoothing: smoothing).loss
    } / Double(samples)
  }
}

/// A convolution's kernel: size, stride and zero padding.
public struct OracleKernel: Sendable, CustomStringConvertible {
  public let height, width, stride, padding: Int

  public init(height: Int, width: Int, stride: Int = 1, padding: Int = 0) {
    self.height = height
    self.width = width
    self.stride = stride
    self.padding = padding
  }

  public var taps: Int { height * width }
  public var description: String { "\(height)x\(width), stride \(stride), padding \(padding)" }
}

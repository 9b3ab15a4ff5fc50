import Foundation

extension OracleTensor {
  public static func + (a: OracleTensor, b: OracleTensor) -> OracleTensor {
    precondition(a.channels == b.channels && a.height == b.height && a.width == b.width)
    return a.with(zip(a.values, b.values).map { $0 + $1 })
  }

  public subscript(sample: Int, channel: Int, position: Int) -> Double {
    values[(sample * channels + channel) * positions + position]
  }

  /// The same samples with other features, each made by `body` from sample, channel and position.
  public func making(
    channels: Int, height: Int, width: Int, _ body: (_ sample: Int, _ channel: Int, _ position: Int) -> Double
  ) -> OracleTensor {
    var result: [Double] = []
    result.reserveCapacity(samples * channels * height * width)
    for sample in 0..<samples {
      for channel in 0..<channels {
        for position in 0..<height * width { result.append(body(sample, channel, position)) }
      }
    }
    return OracleTensor(samples: samples, channels: channels, height: height, width: width, values: result)
  }

  /// Normalisation over the channels of each position.
  public func layerNorm(scale: [Double], shift: [Double], epsilon: Double = 1e-5) -> OracleTensor {
    var result = values
    for sample in 0..<samples {
      for position in 0..<positions {
        let numbers = (0..<channels).map { self[sample, $0, position] }
        let mean = numbers.reduce(0, +) / Double(channels)
        let variance = numbers.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(channels)
        for c in 0..<channels {
          result[(sample * channels + c) * positions + position] =
            scale[c] * (numbers[c] - mean) / (variance + epsilon).squareRoot() + shift[c]
        }
      }
    }
    return with(result)
  }

  /// x times the normal distribution's cumulative function of x.
  public func gelu() -> OracleTensor { map { $0 * erfc(-$0 / 2.0.squareRoot()) / 2 } }

  /// Softmax attention of each head from stacked queries, keys and values.
  public func attention(heads: Int, size: Int) -> OracleTensor {
    var result = [Double](repeating: 0, count: samples * heads * size * positions)
    for sample in 0..<samples {
      for head in 0..<heads {
        for query in 0..<positions {
          let scores = (0..<positions).map { key in
            (0..<size).reduce(0) {
              $0 + self[sample, head * size + $1, query] * self[sample, (heads + head) * size + $1, key]
            } / Double(size).squareRoot()
          }
          let largest = scores.max()!
          let weights = scores.map { exp($0 - largest) }
          let sum = weights.reduce(0, +)
          for d in 0..<size {
            let value = (0..<positions).reduce(0) {
              $0 + weights[$1] / sum * self[sample, (2 * heads + head) * size + d, $1]
            }
            result[(sample * heads * size + head * size + d) * positions + query] = value
          }
        }
      }
    }
    return OracleTensor(samples: samples, channels: heads * size, height: height, width: width, values: result)
  }

  /// Squares of pixels as tokens; channel (row, column, channel) of the square.
  public func patches(size: Int) -> OracleTensor {
    let (columns, channels) = (width / size, channels)
    return making(channels: channels * size * size, height: height / size, width: columns) { sample, feature, token in
      let pixel = feature / channels
      let (row, column) = (token / columns * size + pixel / size, token % columns * size + pixel % size)
      return self[sample, feature % channels, row * width + column]
    }
  }

  /// Adds the sines and cosines of each position.
  public func addingPositions() -> OracleTensor {
    let quarter = channels / 4
    return making(channels: channels, height: height, width: width) { sample, channel, position in
      let angle =
        Double(channel < 2 * quarter ? position % width : position / width)
        / pow(10_000, Double(channel % quarter) / Double(quarter - 1))
      return self[sample, channel, position] + (channel / quarter % 2 == 0 ? sin(angle) : cos(angle))
    }
  }

  /// Each channel's mean.
  public func globalAverage() -> OracleTensor {
    making(channels: channels, height: 1, width: 1) { sample, channel, _ in
      (0..<positions).reduce(0) { $0 + self[sample, channel, $1] } / Double(positions)
    }
  }

  /// Every stride-th pixel both ways between channels of zeros.
  public func paddedShortcut(outChannels: Int, stride: Int) -> OracleTensor {
    let front = (outChannels - channels) / 2
    let columns = (width + stride - 1) / stride
    return making(channels: outChannels, height: (height + stride - 1) / stride, width: columns) {
      sample, c, position in
      guard c >= front, c < front + channels else { return 0 }
      return self[sample, c - front, position / columns * stride * width + position % columns * stride]
    }
  }
}

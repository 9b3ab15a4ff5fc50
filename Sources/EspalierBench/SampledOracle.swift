import Espalier

/// Some outputs of a product, in Double, by the definition: loops over connections, positions and samples that share nothing with the kernels.
struct SampledOracle {
  /// One output: its offset in the product, its value, the sum of its terms' magnitudes, the number of its terms.
  struct Output {
    let offset: Int
    var value = 0.0
    var magnitude = 0.0
    var terms = 0

    mutating func add(_ a: Float, _ b: Float) {
      value += Double(a) * Double(b)
      magnitude += abs(Double(a) * Double(b))
      terms += 1
    }

    /// What `terms` products summed in single precision, in any order, may err by.
    var bound: Double { Double(terms + 1) * Double(Float.ulpOfOne) * magnitude }
  }

  private let layer: LayerCase
  private let fixture: LayerFixture
  private let structure: SparseStructure
  private let kernelWidth, stride, padding: Int

  init(_ fixture: LayerFixture) {
    self.fixture = fixture
    layer = fixture.layer
    structure = fixture.parameter.matrix.structure
    kernelWidth = layer.geometry?.kernelWidth ?? 1
    stride = layer.geometry?.stride ?? 1
    padding = layer.geometry?.padding ?? 0
  }

  func outputs(of product: BenchKernel.Product) -> [Output] {
    switch product {
    case .forward: forward()
    case .inputGradient: inputGradient()
    case .weightGradient: weightGradient()
    }
  }

  /// Up to `count` of 0 ..< bound, the first and the last among them.
  private func some(_ count: Int, of bound: Int) -> [Int] {
    guard bound > count else { return Array(0..<bound) }
    return (0..<count).map { $0 * (bound - 1) / (count - 1) }
  }

  /// Samples and positions, in step with each other so that they are few.
  private func places(height: Int, width: Int) -> [(sample: Int, y: Int, x: Int)] {
    let positions = some(7, of: height * width)
    let samples = some(max(7, positions.count), of: layer.batch)
    return samples.enumerated().map { i, sample in
      let position = positions[i % positions.count]
      return (sample, position / width, position % width)
    }
  }

  private func forward() -> [Output] {
    var outputs: [Output] = []
    fixture.parameter.matrix.withValues { values in
      for row in some(6, of: layer.outputs) {
        for (sample, y, x) in places(height: layer.height, width: layer.width) {
          let feature = (row * layer.height + y) * layer.width + x
          var output = Output(offset: fixture.delta.offset(sample: sample, feature: feature))
          for k in structure.positions(ofRow: row) {
            let (channel, tap) = Int(structure.columnIndices.pointer[k]).quotientAndRemainder(dividingBy: layer.taps)
            output.add(
              values[k],
              pixel(
                sample, channel, y * stride + tap / kernelWidth - padding, x * stride + tap % kernelWidth - padding))
          }
          outputs.append(output)
        }
      }
    }
    return outputs
  }

  /// The input at a pixel; zero outside.
  private func pixel(_ sample: Int, _ channel: Int, _ y: Int, _ x: Int) -> Float {
    guard y >= 0, y < layer.inputHeight, x >= 0, x < layer.inputWidth else { return 0 }
    return fixture.input[sample: sample, feature: (channel * layer.inputHeight + y) * layer.inputWidth + x]
  }

  private func inputGradient() -> [Output] {
    let channels = some(6, of: layer.inputs)
    var connections: [Int: [(row: Int, tap: Int, weight: Float)]] = [:]
    let wanted = Set(channels)
    fixture.parameter.matrix.withValues { values in
      for row in 0..<layer.outputs {
        for k in structure.positions(ofRow: row) {
          let (channel, tap) = Int(structure.columnIndices.pointer[k]).quotientAndRemainder(dividingBy: layer.taps)
          if wanted.contains(channel) { connections[channel, default: []].append((row, tap, values[k])) }
        }
      }
    }
    return channels.flatMap { channel in
      places(height: layer.inputHeight, width: layer.inputWidth).map { sample, y, x in
        let feature = (channel * layer.inputHeight + y) * layer.inputWidth + x
        var output = Output(offset: fixture.input.offset(sample: sample, feature: feature))
        for (row, tap, weight) in connections[channel] ?? [] {
          let (above, left) = (y + padding - tap / kernelWidth, x + padding - tap % kernelWidth)
          guard above >= 0, left >= 0, above % stride == 0, left % stride == 0, above / stride < layer.height,
            left / stride < layer.width
          else { continue }
          let at = (row * layer.height + above / stride) * layer.width + left / stride
          output.add(weight, fixture.delta[sample: sample, feature: at])
        }
        return output
      }
    }
  }

  private func weightGradient() -> [Output] {
    some(16, of: structure.count).map { k in
      let (row, column) = structure.connection(at: k)
      let (channel, tap) = column.quotientAndRemainder(dividingBy: layer.taps)
      var output = Output(offset: k)
      for sample in 0..<layer.batch {
        for y in 0..<layer.height {
          for x in 0..<layer.width {
            output.add(
              fixture.delta[sample: sample, feature: (row * layer.height + y) * layer.width + x],
              pixel(
                sample, channel, y * stride + tap / kernelWidth - padding, x * stride + tap % kernelWidth - padding))
          }
        }
      }
      return output
    }
  }
}

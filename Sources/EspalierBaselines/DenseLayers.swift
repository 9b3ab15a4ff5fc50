import EspDense
import Espalier
import EspalierCore
import EspalierTopology

/// Dense weights of a layer: [outputs, inputs] and their gradient, both of them rows * columns numbers.
public final class DenseWeights {
  /// The weights [rows, columns], row-major.
  public let parameter: VectorParameter
  /// One number an output; nil for none.
  public let bias: VectorParameter?
  /// Outputs, or output channels.
  public let rows: Int
  /// Inputs: channels * kernel height * width.
  public let columns: Int
  /// As PyTorch has it: [outputs, inputs], or [outputs, channels, kernel height, kernel width].
  let shape: [Int]

  init(_ layer: WeightLayer, random: CounterRandom, context: ComputeContext) {
    rows = layer.shape.rows
    columns = layer.shape.columns
    shape = layer.denseShape
    parameter = VectorParameter(
      name: layer.shape.name + ".weight", count: rows * columns, value: 0, tag: .dense, meter: context.meter)
    bias =
      layer.hasBias ? VectorParameter(name: layer.shape.name + ".bias", count: rows, meter: context.meter) : nil
    FanInInitialization(random: random)(dense: parameter, fanIn: columns, index: layer.index, bias: bias)
  }

  var parameters: [any Parameter] { [parameter] + (bias.map { [$0] } ?? []) }
  var state: [StateTensor] {
    [.dense(name: parameter.name, shape: shape, values: parameter.values)] + (bias.map { [$0.state] } ?? [])
  }
}

/// A dense linear layer on OpenBLAS: y = W x + b.
public struct DenseLinear: Layer {
  /// W and b.
  public let weights: DenseWeights

  public var parameters: [any Parameter] { weights.parameters }
  public var state: [StateTensor] { weights.state }

  public func callAsFunction(_ input: Variable, on tape: Tape) throws -> Variable {
    let x = input.shape.positions == 1 ? input : tape.flatten(input)
    let (weights, context, value) = (weights, tape.context, x.value)
    guard x.shape.features == weights.columns else {
      throw EspalierError.usage(
        "\(weights.parameter.name): expected \(weights.columns) inputs, found \(x.shape.features)")
    }
    let (blocks, lanes) = (x.shape.blocks, x.shape.lanes)
    let output = context.pool.activations(x.shape.with(channels: weights.rows))
    esp_dense_linear_forward(
      weights.parameter.values.pointer, weights.bias?.values.pointer, weights.rows, weights.columns, blocks, lanes,
      value.pointer, output.pointer, context.threadCount)
    return tape.record(output, inputs: [x]) { [unowned tape] delta in
      if let bias = weights.bias { context.biasGradient(of: delta, into: bias) }
      tape.measure(.weightGradient) {
        esp_dense_linear_weight_gradient(
          weights.rows, weights.columns, blocks, lanes, value.pointer, delta.pointer,
          weights.parameter.gradient.pointer, context.threadCount)
      }
      let gradient = context.pool.activations(value.shape)
      esp_dense_linear_input_gradient(
        weights.parameter.values.pointer, weights.rows, weights.columns, blocks, lanes, delta.pointer,
        gradient.pointer, context.threadCount)
      return [gradient]
    }
  }
}

/// A dense 2-D convolution on OpenBLAS, by im2col.
public struct DenseConvolution: Layer {
  /// Kernels and biases.
  public let weights: DenseWeights
  /// Kernel, stride and padding.
  public let geometry: ConvolutionGeometry

  public var parameters: [any Parameter] { weights.parameters }
  public var state: [StateTensor] { weights.state }

  public func callAsFunction(_ x: Variable, on tape: Tape) throws -> Variable {
    let (weights, context, value) = (weights, tape.context, x.value)
    guard x.shape.channels * geometry.taps == weights.columns else {
      throw EspalierError.usage(
        "\(weights.parameter.name): expected \(weights.columns / geometry.taps) channels, found \(x.shape.channels)")
    }
    var shape = try geometry.kernelShape(input: x.shape, outputs: weights.rows)
    let (blocks, lanes) = (x.shape.blocks, x.shape.lanes)
    let floats = esp_dense_conv_workspace(&shape, lanes, context.threadCount)
    let output = context.pool.activations(
      x.shape.with(channels: weights.rows, height: shape.out_height, width: shape.out_width))
    context.pool.withWorkspace(count: floats) {
      esp_dense_conv_forward(
        weights.parameter.values.pointer, weights.bias?.values.pointer, &shape, blocks, lanes, value.pointer,
        output.pointer, $0, context.threadCount)
    }
    return tape.record(output, inputs: [x]) { [shape, unowned tape] delta in
      var shape = shape
      if let bias = weights.bias { context.biasGradient(of: delta, into: bias) }
      let gradient = x.needsGradient ? context.pool.activations(value.shape) : nil
      context.pool.withWorkspace(count: floats) { workspace in
        tape.measure(.weightGradient) {
          esp_dense_conv_weight_gradient(
            &shape, blocks, lanes, value.pointer, delta.pointer, weights.parameter.gradient.pointer, workspace,
            context.threadCount)
        }
        guard let gradient else { return }
        esp_dense_conv_input_gradient(
          weights.parameter.values.pointer, &shape, blocks, lanes, delta.pointer, gradient.pointer, workspace,
          context.threadCount)
      }
      return [gradient]
    }
  }
}

/// Makes dense layers: what `--method dense` trains, to compare with.
public struct DenseLayerFactory: WeightLayerFactory {
  /// Draws weights and biases, keyed by the layer's number.
  public let random: CounterRandom
  /// Whose meter counts the layers' memory.
  public let context: ComputeContext

  /// A factory that draws from `random`.
  public init(random: CounterRandom, context: ComputeContext) {
    self.random = random
    self.context = context
    esp_dense_prepare()
  }

  /// A layer with all of its weights, drawn by fan-in.
  public func makeLayer(_ layer: WeightLayer) -> any Layer {
    let weights = DenseWeights(layer, random: random, context: context)
    guard let geometry = layer.geometry else { return DenseLinear(weights: weights) }
    return DenseConvolution(weights: weights, geometry: geometry)
  }
}

/// The dense library that the baselines run on.
public enum DenseLibrary {
  /// OpenBLAS's version and processor core.
  public static var description: String { String(cString: esp_dense_library()) }
}

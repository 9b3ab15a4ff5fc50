import Espalier
import EspalierCore
import TestSupport

/// Carries out a model's description in Double with dense weights: shares nothing with layers, tape and kernels.
struct SpecOracle {
  let spec: ModelSpec
  /// Weights (dense), biases and norm parameters by name.
  var numbers: [String: [Double]]

  /// The numbers of a made model.
  init(_ model: Model) {
    spec = model.spec
    numbers = [:]
    for tensor in model.state {
      switch tensor {
      case .dense(let name, _, let values): numbers[name] = values.array.map(Double.init)
      case .sparse(let parameter):
        var dense = [Double](repeating: 0, count: parameter.matrix.rows * parameter.matrix.columns)
        for (connection, weight) in parameter.weights {
          dense[connection.row * parameter.matrix.columns + connection.column] = Double(weight)
        }
        numbers[parameter.name] = dense
      }
    }
  }

  /// Logits in training mode: norms use the batch's statistics.
  func logits(_ x: OracleTensor) -> OracleTensor { run(spec.layers, x) }

  func loss(_ x: OracleTensor, labels: [Int]) -> Double { logits(x).meanLoss(labels: labels, smoothing: 0) }

  private func run(_ layers: [LayerSpec], _ x: OracleTensor) -> OracleTensor { layers.reduce(x) { run($1, $0) } }

  private func run(_ layer: LayerSpec, _ x: OracleTensor) -> OracleTensor {
    func number(_ name: String) -> [Double] { numbers[name] ?? [] }
    func bias(_ name: String, _ count: Int) -> [Double] {
      numbers[name + ".bias"] ?? [Double](repeating: 0, count: count)
    }
    switch layer {
    case .convolution(let name, let outputs, let geometry, _):
      return x.convolution(
        weights: number(name + ".weight"), bias: bias(name, outputs),
        OracleKernel(
          height: geometry.kernelHeight, width: geometry.kernelWidth, stride: geometry.stride,
          padding: geometry.padding))
    case .linear(let name, let outputs, _):
      let (weights, bias) = (number(name + ".weight"), bias(name, outputs))
      // As many weights as channels an output: the layer works on every position by itself.
      let isTokenwise = weights.count == outputs * x.channels
      return isTokenwise
        ? x.convolution(weights: weights, bias: bias, OracleKernel(height: 1, width: 1))
        : x.linear(weights: weights, bias: bias)
    case .batchNorm(let name, let relu):
      let y = x.batchNorm(scale: number(name + ".weight"), shift: number(name + ".bias"), epsilon: 1e-5)
      return relu ? y.relu() : y
    case .layerNorm(let name): return x.layerNorm(scale: number(name + ".weight"), shift: number(name + ".bias"))
    case .relu: return x.relu()
    case .gelu: return x.gelu()
    case .maxPool(let pool):
      return x.pooled(kernel: pool.kernel, stride: pool.stride, padding: pool.padding) { $0.max()! }
    case .averagePool(let pool):
      let size = Double(pool.kernel * pool.kernel)
      return x.pooled(kernel: pool.kernel, stride: pool.stride, padding: pool.padding) { $0.reduce(0, +) / size }
    case .adaptiveAveragePool(let height, let width): return x.adaptivelyPooled(height: height, width: width)
    case .globalAveragePool: return x.globalAverage()
    case .dropout: return x
    case .flatten: return x.flattened()
    case .residual(let body, let shortcut, let relu):
      let sum = run(body, x) + run(shortcut, x)
      return relu ? sum.relu() : sum
    case .paddedShortcut(let outChannels, let stride): return x.paddedShortcut(outChannels: outChannels, stride: stride)
    case .patches(let size): return x.patches(size: size)
    case .positionEmbedding: return x.addingPositions()
    case .attention(let heads, let size): return x.attention(heads: heads, size: size)
    }
  }
}

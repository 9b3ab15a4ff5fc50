import Espalier

/// What a benchmark measured.
public struct BenchReport: Sendable, Encodable {
  /// One kernel on one layer with one number of threads. Times are medians.
  public struct Row: Sendable, Encodable {
    /// Which product was timed.
    public let kernel: BenchKernel
    /// The layer's name.
    public let name: String
    /// The instruction set whose kernel ran.
    public let variant: String
    /// Features of a linear layer, channels of a convolution.
    public let inputs, outputs: Int
    /// Of the output in pixels.
    public let height, width: Int
    /// 1 of a linear layer.
    public let kernelHeight, kernelWidth, stride: Int
    /// Samples, threads, active connections.
    public let batch, threads, nnz: Int
    /// Fraction of the weights that are absent.
    public let sparsity: Double
    /// Useful GFLOP/s: those of the connections that exist.
    public let gflops: Double
    /// OpenBLAS's time for the same product with all weights.
    public let denseMs: Double
    /// The sparse kernel's time.
    public let ms: Double
    /// denseMs / ms
    public let speedup: Double
    /// gflops over sgemm's with as many threads.
    public let sgemmRatio: Double
    /// Half the distance between the quartiles over the median.
    public let spread, denseSpread: Double
    /// How often the sparse kernel was timed.
    public let repetitions: Int

    init(_ kernelCase: KernelCase, context: ComputeContext, sparse: Samples, dense: Samples, sgemm: Double) {
      let layer = kernelCase.layer
      kernel = kernelCase.kernel
      name = layer.name
      variant = context.instructionSet.name
      (inputs, outputs, height, width) = (layer.inputs, layer.outputs, layer.height, layer.width)
      kernelHeight = layer.geometry?.kernelHeight ?? 1
      kernelWidth = layer.geometry?.kernelWidth ?? 1
      stride = layer.geometry?.stride ?? 1
      (batch, threads, nnz, sparsity) = (layer.batch, context.threads, layer.connections, layer.sparsity)
      gflops = layer.flops * Double(kernelCase.kernel.products.count) / sparse.median * 1e-9
      (ms, denseMs) = (1000 * sparse.median, 1000 * dense.median)
      speedup = dense.median / sparse.median
      sgemmRatio = gflops / sgemm
      (spread, denseSpread, repetitions) = (sparse.spread, dense.spread, sparse.count)
    }
  }

  /// Where a square linear layer's forward product and its gradients take as long as the dense ones.
  public struct Crossover: Sendable, Encodable {
    /// Where the crossover lies.
    public enum Place: String, Sendable, Encodable {
      /// Between two measured sparsities: `sparsity` is interpolated.
      case between
      /// Sparse is faster already at `sparsity`, the lowest measured.
      case below
      /// Dense is faster still at `sparsity`, the highest measured.
      case above
    }
    /// Inputs and outputs alike; samples; threads.
    public let units, batch, threads: Int
    /// The sparsity that `place` is about.
    public let sparsity: Double
    /// Whether it was found between two measurements.
    public let place: Place
  }

  /// A very wide layer with few connections a unit, forward.
  public struct WideRow: Sendable, Encodable {
    /// Inputs and outputs alike; active connections; samples; threads.
    public let units, nnz, batch, threads: Int
    /// Of one forward product, and of one of its connections.
    public let ms, nanosecondsPerConnection: Double
  }

  /// One for each case of one product and number of threads.
  public internal(set) var rows: [Row] = []
  /// The same of both gradients together.
  public internal(set) var backward: [Row] = []
  /// One for each size and number of threads.
  public internal(set) var crossovers: [Crossover] = []
  /// One for each wide layer and number of threads.
  public internal(set) var wide: [WideRow] = []
  /// OpenBLAS on 2048 x 2048 x 128, by number of threads.
  public internal(set) var sgemmGflopsByThreads: [Int: Double] = [:]
}

extension BenchReport.Crossover {
  /// One for each size of which what a step takes was measured.
  static func find(in rows: [BenchReport.Row]) -> [Self] {
    struct Key: Hashable {
      let units, batch, threads: Int
    }
    var byKey: [Key: [Double: [BenchReport.Row]]] = [:]
    for row in rows where BenchKernel.step(isConvolution: false).contains(row.kernel) && row.inputs == row.outputs {
      byKey[Key(units: row.inputs, batch: row.batch, threads: row.threads), default: [:]][row.sparsity, default: []]
        .append(row)
    }
    let keys = byKey.keys.sorted { ($0.threads, $0.units) < ($1.threads, $1.units) }
    return keys.compactMap { key in
      let points = byKey[key, default: [:]].filter { $0.value.count == 2 }.sorted { $0.key < $1.key }.map {
        ($0.key, $0.value.reduce(0) { $0 + $1.ms } / $0.value.reduce(0) { $0 + $1.denseMs })
      }
      guard points.count > 1, let (sparsity, place) = cross(points) else { return nil }
      return Self(units: key.units, batch: key.batch, threads: key.threads, sparsity: sparsity, place: place)
    }
  }

  /// Where the ratio of times, linear between the points, falls to 1 for good; sparsities ascend.
  package static func cross(_ points: [(sparsity: Double, ratio: Double)]) -> (Double, Place)? {
    guard let first = points.first, let last = points.last else { return nil }
    guard let slow = points.lastIndex(where: { $0.ratio > 1 }) else { return (first.sparsity, .below) }
    guard slow + 1 < points.count else { return (last.sparsity, .above) }
    let (a, b) = (points[slow], points[slow + 1])
    return (a.sparsity + (b.sparsity - a.sparsity) * (a.ratio - 1) / (a.ratio - b.ratio), .between)
  }
}

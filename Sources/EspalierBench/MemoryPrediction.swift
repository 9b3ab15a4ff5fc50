import Espalier
import EspalierTopology

/// The peak resident memory of a training run, in bytes.
///
/// Activations, gradients and workspaces are what the meter counts in a real step of a few samples, scaled to the batch; weight
/// state is counted on a few connections. So the prediction follows the code, whatever the layers are.
public struct MemoryPrediction: Sendable {
  /// The program itself with its libraries.
  public let process: Int
  /// Images and labels.
  public let data: Int
  /// Structure, values, gradients, optimizer state, and an update's candidates and copies.
  public let weights: Int
  /// Activations, their gradients, workspaces.
  public let activations: Int

  public var peak: Int { process + data + weights + activations }

  init(_ request: ModelPlan.Request, connections: Int, context: ComputeContext) throws {
    process = request.processBytes
    data = request.dataBytes
    let probe = Probe(request: request, threads: context.threads, instructionSet: context.instructionSet)
    let blocks = ActivationShape(samples: request.batchSize, channels: 1)
    let perSample = request.spec.weightLayers.reduce(0) { $0 + $1.positions * $1.shape.rows }
    let isSmall = perSample * 64 <= 1 << 26
    let first = try probe.step(samples: min(request.batchSize, isSmall ? 32 : 8))
    var activations = Double(first.activations)
    if request.batchSize > 32, isSmall {
      let second = try probe.step(samples: 64)
      activations += Double(second.activations - first.activations) * Double(blocks.count - 32) / 32
    } else if request.batchSize > 8, !isSmall {
      activations *= Double(blocks.count) / 8
    }
    self.activations = Int(activations)
    weights =
      first.weights + (connections - first.connections) * (try probe.bytesPerConnection())
      + connections * Self.updateBytesPerConnection
  }

  /// A topology update's candidates (index and gradient, one a connection) and the copies of a layer in the making.
  private static let updateBytesPerConnection = 16
}

/// Runs a step of the model on random images and reads the meter.
private struct Probe {
  let request: ModelPlan.Request
  let threads: Int
  let instructionSet: InstructionSet

  /// Connections of the model that is probed at most: activations do not depend on them, time does.
  private static let connections = 300_000.0

  func step(samples: Int) throws -> (activations: Int, weights: Int, connections: Int) {
    let context = try ComputeContext(threads: threads, instructionSet: instructionSet)
    let (spec, random) = (request.spec, CounterRandom(seed: 0))
    let size = Double(spec.sparsifiableWeights)
    let model = try Model(
      sparse: spec,
      sparsity: max(request.sparsity, 1 - max(Self.connections, 2 * Double(spec.weightLayers.count)) / size),
      distribution: request.distribution, random: random, context: context)
    let shape = ActivationShape(
      samples: samples, channels: spec.input.channels, height: spec.input.height, width: spec.input.width)
    let labels = [UInt32](repeating: 0, count: samples)
    let optimizer = SGD()
    // The second step runs as all others do: with optimizer state, and on the first one's memory.
    for step in 0..<2 {
      let tape = Tape(context: context, mode: .training(step: step))
      let logits = try model(
        Variable(context.pool.random(shape, random.stream(.syntheticData, layer: 0))), on: tape)
      let delta = context.pool.activations(logits.shape)
      _ = labels.withUnsafeBufferPointer {
        context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
      }
      try tape.backward(from: logits, gradient: delta)
      optimizer.step(model.parameters, learningRate: 1e-3, context: context)
    }
    let reading = context.meter.reading
    return (reading.peakActivationBytes, reading.weightBytes, model.connections)
  }

  /// Bytes that one more connection costs, with its gradient and momentum.
  func bytesPerConnection() throws -> Int {
    func bytes(_ connections: Int) -> Int {
      let meter = AllocationMeter()
      let structure = SparseStructure.random(
        name: "probe", rows: 128, columns: 128, count: connections,
        stream: CounterRandom(seed: 0).stream(.topology), meter: meter)
      let parameter = SparseParameter(
        matrix: SparseMatrix(name: "probe", structure: structure, meter: meter), index: 0)
      parameter.optimizerState = [parameter.makeOptimizerState()]
      return withExtendedLifetime(parameter) { meter.reading.weightBytes }
    }
    return (bytes(2048) - bytes(1024)) / 1024
  }
}

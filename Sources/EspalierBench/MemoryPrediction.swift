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

  /// Bytes in all.
  public var peak: Int { process + data + weights + activations }

  init(_ request: ModelPlan.Request, connections: Int, context: ComputeContext) throws {
    process = request.processBytes + Self.runBytes
    data = request.dataBytes
    let probe = Probe(request: request, threads: context.threads, instructionSet: context.instructionSet)
    let count = ActivationShape(samples: request.batchSize, channels: 1).count
    let started = ContinuousClock.now
    var first = try probe.step(samples: min(request.batchSize, 8))
    // Blocks of 32 samples are what a large batch has, and two points tell workspaces apart; unless that would take too long.
    let isFast = (ContinuousClock.now - started) * 12 < .seconds(1)
    var activations = Double(first.activations)
    if request.batchSize > 8, isFast {
      first = try probe.step(samples: min(request.batchSize, 32))
      activations = Double(first.activations)
      if request.batchSize > 32 {
        let second = try probe.step(samples: 64)
        activations += Double(second.activations - first.activations) * Double(count - 32) / 32
      }
    } else if request.batchSize > 8 {
      activations *= Double(count) / 8
    }
    self.activations = Int(activations) + (isFast ? try Self.evaluation(request, probe: probe, samples: 32) : 0)
    weights =
      first.weights + (connections - first.connections) * (try probe.bytesPerConnection())
      + connections * Self.updateBytesPerConnection
  }

  /// What the last batch of an evaluation takes, where it is smaller than the others and so fits none of their memory.
  private static func evaluation(_ request: ModelPlan.Request, probe: Probe, samples: Int) throws -> Int {
    let left = request.testSamples % request.batchSize
    guard left > 0 else { return 0 }
    func padded(_ samples: Int) -> Int { ActivationShape(samples: samples, channels: 1).count }
    guard padded(left) != padded(request.batchSize) else { return 0 }
    return try probe.evaluation(samples: samples) * padded(left) / padded(samples)
  }

  /// What a run adds to the program: threads' stacks, pages of libraries, the order of samples, logs (seen on Linux).
  private static let runBytes = 10 << 20

  /// A topology update's candidates (index and gradient, one a connection) and the copies of a layer in the making.
  private static let updateBytesPerConnection = 16
}

/// Runs a step of the model on random images and reads the meter.
private struct Probe {
  let request: ModelPlan.Request
  let threads: Int
  let instructionSet: InstructionSet

  /// Connections of the model that is probed at most: activations do not depend on them, time does.
  private static let connections = 100_000.0

  private func model(in context: ComputeContext) throws -> Model {
    let spec = request.spec
    let most = max(Self.connections, 2 * Double(spec.weightLayers.count))
    return try Model(
      sparse: spec, sparsity: max(request.sparsity, 1 - most / Double(spec.sparsifiableWeights)),
      distribution: request.distribution, random: CounterRandom(seed: 0), context: context)
  }

  private func images(_ samples: Int, in context: ComputeContext) -> Variable {
    let input = request.spec.input
    let shape = ActivationShape(samples: samples, channels: input.channels, height: input.height, width: input.width)
    return Variable(context.pool.random(shape, CounterRandom(seed: 0).stream(.syntheticData)))
  }

  /// A training step's memory.
  func step(samples: Int) throws -> (activations: Int, weights: Int, connections: Int) {
    let context = try ComputeContext(threads: threads, instructionSet: instructionSet)
    let model = try model(in: context)
    let labels = [UInt32](repeating: 0, count: samples)
    let tape = Tape(context: context, mode: .training(step: 0))
    let logits = try model(images(samples, in: context), on: tape)
    let delta = context.pool.activations(logits.shape)
    _ = labels.withUnsafeBufferPointer {
      context.softmaxCrossEntropy(logits.value, labels: $0, gradient: delta)
    }
    try tape.backward(from: logits, gradient: delta)
    SGD().step(model.parameters, number: 1, learningRate: 1e-3, context: context)
    let reading = context.meter.reading
    return (reading.peakActivationBytes, reading.weightBytes, model.connections)
  }

  /// An evaluation's activations.
  func evaluation(samples: Int) throws -> Int {
    let context = try ComputeContext(threads: threads, instructionSet: instructionSet)
    _ = try model(in: context)(images(samples, in: context), on: Tape(context: context, mode: .evaluation))
    return context.meter.reading.peakActivationBytes
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

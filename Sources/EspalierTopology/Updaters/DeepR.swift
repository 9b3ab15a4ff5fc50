import EspalierCore

/// Deep rewiring (Bellec, Kappel, Maass, Legenstein, arXiv 1711.05136, algorithm 1): a connection has a fixed sign s and a strength theta >= 0, its
/// weight is s theta. After every optimizer step theta takes a step of L1 decay and of noise,
/// theta <- theta - eta alpha + sqrt(2 eta T) normal; a connection whose strength falls below zero is dormant and makes way for a
/// uniformly random inactive one with strength zero and a random sign. Where fewer are inactive, only so many are dormant, the first
/// in order of (row, column); the others stay with strength zero.
///
/// Each layer's number of connections stays. Signs are one number a connection in the parameter's topology state. Time and memory O(n +
/// nnz) a step. As in the authors' code, noise moves only strengths above zero, so that a new connection's first gradients decide about
/// it, and it never comes back at once. Departures: the gradient step is the trainer's optimizer, momentum and all; a connection is replaced by
/// one that was inactive before (the code may draw an active one twice); initial signs are those that weights have after the first step.
public struct DeepR: TopologyUpdater {
  /// Nothing moves in updates; the interval is that of records.
  public let schedule: UpdateSchedule
  /// L1 decay (alpha).
  public let decay: Double
  /// Temperature T of the noise: 2.5e-11 makes as much of it at the authors' rate of 0.5 as their code does.
  public let temperature: Double

  /// Rewires after every optimizer step, and makes a record every `interval` steps.
  public init(recordEvery interval: Int, decay: Double = 1e-5, temperature: Double = 2.5e-11) {
    schedule = UpdateSchedule(interval: interval, end: 0, fraction: 0)
    self.decay = decay
    self.temperature = temperature
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .none(in: layer.weights)
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    layers.map { $0.weights.exchange(pruned: $0.weights.smallestWeights(0), growing: 0, step: step, random: random) }
  }

  public func changes(
    afterStep step: Int, of layers: [SparseParameter], learningRate: Double, random: CounterRandom
  ) -> [TopologyChange]? {
    layers.map { layer in
      let dormant = move(layer, step: step, learningRate: learningRate, random: random)
      return layer.exchange(pruned: dormant, growing: dormant.count, step: step, random: random)
    }
  }

  /// Decay and noise; returns the connections that fell below zero, at most as many as are inactive.
  private func move(
    _ layer: SparseParameter, step: Int, learningRate: Double, random: CounterRandom
  ) -> Selected {
    let (site, meter) = (layer.matrix.site, layer.matrix.meter)
    if layer.topologyState.isEmpty {
      layer.topologyState = [.zeros(count: layer.count, tag: .optimizer, site: site, meter: meter)]
    }
    let signs = layer.topologyState[0]
    let dormant = MeteredBuffer<UInt32>(count: layer.count, tag: .selection, site: site, meter: meter)
    let noise = MeteredBuffer<Float>(count: layer.count, tag: .selection, site: site, meter: meter)
    let deviation = (2 * learningRate * temperature).squareRoot()
    random.stream(.noise, layer: layer.index, step: step).fillNormal(noise.buffer, deviation: deviation)
    let coins = random.stream(.rewiring, layer: layer.index, step: step)
    let decay = Float(learningRate * decay)
    let isFirstStep = step == 0
    let room = layer.inactive
    var count = 0
    layer.withMutableValues { values in
      for i in values.indices {
        if signs.pointer[i] == 0 {
          // A new connection's sign is a coin; an initial one has its weight's.
          let isNegative = isFirstStep ? values[i] < 0 : coins.bits(UInt64(i)) & 1 == 1
          signs.pointer[i] = isNegative ? -1 : 1
        }
        var strength = signs.pointer[i] * values[i]
        if strength > 0 { strength += noise.pointer[i] - decay }
        if strength < 0, count == room { strength = 0 }
        if strength < 0 {
          dormant.pointer[count] = UInt32(i)
          count += 1
        }
        values[i] = signs.pointer[i] * strength
      }
    }
    return Selected(indices: dormant, count: count)
  }
}

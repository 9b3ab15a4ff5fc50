import EspalierCore
import TestSupport
import Testing

@Suite struct AllocationRuleTests {
  /// 4 * (nnz + gamma * nnz + rows + columns), below rows * columns unless density > 1/2 or the layer is small.
  @Test(arguments: [
    (rows: 128, columns: 128, connections: 100, gamma: 1.0, allowed: 4 * (200 + 256)),  // 16,384 cells: small
    (rows: 128, columns: 128, connections: 8_192, gamma: 1, allowed: 4 * (16_384 + 256)),
    (rows: 128, columns: 129, connections: 100, gamma: 1, allowed: 4 * (200 + 257)),
    (rows: 128, columns: 129, connections: 8_000, gamma: 1, allowed: 128 * 129 - 1),
    (rows: 128, columns: 129, connections: 8_256, gamma: 1, allowed: 128 * 129 - 1),  // exactly 1/2
    (rows: 128, columns: 129, connections: 8_257, gamma: 1, allowed: 4 * (16_514 + 257)),
    (rows: 128, columns: 129, connections: 128 * 129, gamma: 1, allowed: 4 * (2 * 128 * 129 + 257)),
    (rows: 1_000, columns: 1_000, connections: 10_000, gamma: 0, allowed: 4 * (10_000 + 2_000)),
    (rows: 1_000, columns: 1_000, connections: 10_000, gamma: 2.5, allowed: 4 * (35_000 + 2_000)),
    (rows: 1_000, columns: 1_000, connections: 0, gamma: 1, allowed: 8_000),
  ])
  func largestBuffer(rows: Int, columns: Int, connections: Int, gamma: Double, allowed: Int) throws {
    let site = WeightSite(layer: "layer", rows: rows, columns: columns, connections: connections)
    #expect(site.largestBuffer(gamma: gamma) == allowed)

    let meter = AllocationMeter(gamma: gamma)
    _ = MeteredBuffer<UInt8>(count: allowed, tag: .values, site: site, meter: meter)
    try meter.check()
    _ = MeteredBuffer<UInt8>(count: allowed + 1, tag: .values, site: site, meter: meter)
    #expect(performing: { try meter.check() }, throws: { ($0 as? EspalierError)?.kind == .invariant })
    let violation = try #require(meter.reading.violations.first)
    #expect(violation.tag == .values && violation.site == site)
    #expect(violation.elements == allowed + 1 && violation.allowed == allowed)
  }

  /// A layer with one output, or one input: its own width is all there is, and buffers of that width are needed.
  @Test(arguments: [(1, 20_000), (20_000, 1)])
  func layersOfOneRowOrColumnHaveRoomForTheirWidth(rows: Int, columns: Int) throws {
    let context = try ComputeContext(threads: 1)
    let structure = SparseStructure.random(
      name: "layer", rows: rows, columns: columns, count: 3_000,
      stream: CounterRandom(seed: 1).stream(.topology), meter: context.meter)
    let matrix = SparseMatrix(name: "layer", structure: structure, meter: context.meter)
    _ = structure.randomInactiveSubset(
      draws: 3_000, stream: CounterRandom(seed: 1).stream(.candidates), site: matrix.site, meter: context.meter)
    try context.meter.check()
  }

  @Test func aDenseBufferOfASparseLayerIsNamed() {
    let meter = AllocationMeter()
    let site = WeightSite(layer: "features.3", rows: 200, columns: 300, connections: 30_000)
    _ = MeteredBuffer<Float>(count: 60_000, tag: .gradient, site: site, meter: meter)
    #expect(
      throws: EspalierError.invariant(
        "never dense: gradient buffer of layer features.3 (200 x 300, 30000 connections) has 60000 elements, the always-sparse rule allows 59999"
      )
    ) { try meter.check() }
  }

  @Test func theFirstViolationStaysAndOthersAreListed() {
    let meter = AllocationMeter()
    let site = WeightSite(layer: "a", rows: 200, columns: 300, connections: 10)
    for count in [60_000, 100, 70_000] {
      _ = MeteredBuffer<UInt8>(count: count, tag: .candidates, site: site, meter: meter)
    }
    #expect(meter.reading.violations.map(\.elements) == [60_000, 70_000])
    #expect(meter.reading.violations.allSatisfy { $0.allowed == 4 * (20 + 500) })
  }

  /// Dense methods' weights, vectors, activations and buffers of no layer are outside of the rule.
  @Test(arguments: AllocationTag.allCases)
  func onlySparseWeightBuffersAreHeldToTheRule(tag: AllocationTag) {
    let meter = AllocationMeter()
    let site = WeightSite(layer: "a", rows: 200, columns: 300, connections: 10)
    _ = MeteredBuffer<UInt8>(count: 60_000, tag: tag, site: site, meter: meter)
    let isExempt = [.dense, .vector, .activation].contains(tag)
    #expect(meter.reading.violations.isEmpty == isExempt)
    let other = AllocationMeter()
    _ = MeteredBuffer<UInt8>(count: 60_000, tag: tag, site: nil, meter: other)
    #expect(other.reading.violations.isEmpty)
  }
}

@Suite struct AllocationCountTests {
  @Test func countsBytesPeaksAndWhatIsFreed() {
    let meter = AllocationMeter()
    var first: MeteredBuffer<UInt64>? = MeteredBuffer(count: 100, tag: .structure, site: nil, meter: meter)
    var second: MeteredBuffer<Float>? = .zeros(count: 50, tag: .values, site: nil, meter: meter)
    #expect(meter.reading.weightBytes == 1000 && meter.reading.largestWeightBuffer == 800)
    first = nil
    #expect(meter.reading.weightBytes == 200 && meter.reading.peakWeightBytes == 1000)
    var third: MeteredBuffer<Float>? = MeteredBuffer(count: 210, tag: .dense, site: nil, meter: meter)
    #expect(meter.reading.weightBytes == 1040 && meter.reading.peakWeightBytes == 1040)
    #expect(meter.reading.largestWeightBuffer == 840)
    #expect(meter.reading.activationBytes == 0 && meter.reading.allocations == 3)
    #expect(first == nil && second != nil && third != nil)
    second = nil
    third = nil
    #expect(meter.reading.weightBytes == 0 && meter.reading.peakWeightBytes == 1040)
    #expect(second == nil && third == nil)
  }

  @Test func activationsAreCountedApart() {
    let meter = AllocationMeter()
    do {
      let pool = ActivationPool(meter: meter)
      let shape = ActivationShape(samples: 32, channels: 4)
      do {
        let one = pool.activations(shape)
        let two = pool.activations(shape)
        #expect(one.pointer != two.pointer)
        #expect(meter.reading.activationBytes == 2 * 128 * 4)
      }
      #expect(meter.reading.activationBytes == 2 * 128 * 4, "memory returns to the pool, not to the system")
      _ = pool.activations(shape)
      #expect(meter.reading.allocations == 2)
      #expect(meter.reading.peakActivationBytes == 2 * 128 * 4)
    }
    #expect(meter.reading.activationBytes == 0 && meter.reading.weightBytes == 0)
  }

  @Test func buffersAreAlignedAndZeroed() {
    let meter = AllocationMeter()
    for count in [0, 1, 63, 1000] {
      let buffer = MeteredBuffer<Float>.zeros(count: count, tag: .values, site: nil, meter: meter)
      #expect(UInt(bitPattern: buffer.pointer) % 64 == 0)
      #expect(buffer.array == [Float](repeating: 0, count: count))
    }
  }

  /// A training step asks the system for nothing once the first has run, and for no weight-side memory at all.
  @Test func repeatedStepsAllocateNothing() throws {
    let context = try ComputeContext(threads: 2)
    var random = LayerRandom(seed: 41)
    let x = OracleTensor(samples: 33, channels: 3, height: 6, width: 6, using: &random)
    let first = try context.parameter(OracleLayer(rows: 8, columns: 27, count: 60, using: &random), taps: 9)
    let last = try context.parameter(OracleLayer(rows: 5, columns: 72, count: 90, using: &random), index: 1)
    let bias = context.bias(random.floats(5))
    let norm = BatchNormState(name: "norm", channels: 8, meter: context.meter)
    func step(_ number: Int) throws {
      let tape = Tape(context: context, mode: .training(step: number))
      let source = Variable(context.activations(x, padding: 0))
      let geometry = ConvolutionGeometry(kernel: 3, padding: 1)
      let convolved = try tape.sparseConvolution(source, weight: first, bias: nil, geometry: geometry)
      let normal = try tape.batchNorm(convolved, norm, relu: true)
      let pooled = try tape.maxPool(tape.add(normal, tape.relu(normal)), PoolGeometry(kernel: 2))
      let dropped = tape.dropout(pooled, probability: 0.5, index: 0, random: CounterRandom(seed: 1))
      let logits = try tape.sparseLinear(tape.flatten(dropped), weight: last, bias: bias)
      let seed = context.pool.activations(logits.shape)
      _ = [UInt32](repeating: 1, count: 33).withUnsafeBufferPointer {
        context.softmaxCrossEntropy(logits.value, labels: $0, gradient: seed)
      }
      try tape.backward(from: logits, gradient: seed)
    }
    try step(0)
    let before = context.meter.reading
    for number in 1..<20 { try step(number) }
    let after = context.meter.reading
    #expect(after.allocations == before.allocations)
    #expect(after.weightBytes == before.weightBytes && after.peakActivationBytes == before.peakActivationBytes)
  }
}

import Espalier
import Testing

@Suite struct MemoryAndNeverDense {
  @Test func theMeterCounts() throws {
    let run = try SmallRun()
    let (dataset, normalization, spec, options) = (run.dataset, run.normalization, run.spec, run.options)
    let context = run.context
    // snippet
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: normalization, options: options,
      updater: try GSE(schedule: UpdateSchedule(interval: 10, end: 50, fraction: 0.3)), context: context)
    try trainer.run()

    let reading = context.meter.reading
    print("weight side: \(reading.weightBytes) bytes, at most \(reading.peakWeightBytes)")
    print("largest buffer: \(reading.largestWeightBuffer) bytes")
    print("activations: at most \(reading.peakActivationBytes) bytes")
    try context.meter.check()
    // end
    #expect(reading.violations.isEmpty)
    #expect(reading.largestWeightBuffer < 4 * 784 * 64)
    #expect(reading.peakWeightBytes >= model.weightStateBytes)
  }

  @Test func theMeterRefusesADenseBuffer() throws {
    // snippet
    let meter = AllocationMeter()
    let site = WeightSite(layer: "hidden", rows: 1000, columns: 1000, connections: 20_000)
    print(site.largestBuffer(gamma: meter.gamma))  // 168000

    let dense = MeteredBuffer<Float>(count: 1_000_000, tag: .values, site: site, meter: meter)
    do {
      try meter.check()
    } catch {
      print(error)
    }
    // end
    #expect(site.largestBuffer(gamma: meter.gamma) == 168_000)
    #expect(throws: EspalierError.self) { try meter.check() }
    #expect(dense.count == 1_000_000)
  }
}

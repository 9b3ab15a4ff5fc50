import Espalier
import Foundation
import Testing

/// The library example of the README, run as it stands there.
@Suite struct ReadmeExampleTests {
  @Test func theExampleTrains() throws {
    // README begin
    let description = try DatasetCatalog.description(of: "fashion-mnist")
    let data = try DatasetCatalog.load(name: "fashion-mnist")
    let context = try ComputeContext(threads: 2)
    let spec = try ModelSpec(
      name: "small", input: FeatureSize(channels: 1, height: 28, width: 28), classes: 10,
      layers: [
        .convolution(name: "conv", outChannels: 16, geometry: ConvolutionGeometry(kernel: 3, padding: 1)),
        .batchNorm(name: "norm", relu: true), .maxPool(PoolGeometry(kernel: 2)), .flatten,
        .linear(name: "head", outputs: 10),
      ])
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let trainer = try Trainer(
      model: model, dataset: data, normalization: description.normalization, options: TrainingOptions(maxSteps: 200),
      updater: try GSE(schedule: UpdateSchedule(interval: 25, end: 150, fraction: 0.2)), context: context)
    let result = try trainer.run()
    print(result.testAccuracy, model.connections, context.meter.reading.largestWeightBuffer)
    // README end
    #expect(result.testAccuracy > 0.7)
    #expect(result.updates == 5)
    #expect(model.connections == Int((0.1 * Double(spec.sparsifiableWeights)).rounded()))
  }

  @Test func theReadmeShowsThisCode() throws {
    let here = URL(fileURLWithPath: #filePath)
    let root = here.deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    let readme = try String(contentsOf: root.appendingPathComponent("README.md"), encoding: .utf8)
    let source = try String(contentsOf: here, encoding: .utf8)
    let begin = try #require(source.range(of: "// README begin\n"))
    let end = try #require(source.range(of: "    // README end"))
    let code = source[begin.upperBound..<end.lowerBound].split(separator: "\n").map { $0.dropFirst(4) }
    #expect(readme.contains(code.joined(separator: "\n")))
  }
}

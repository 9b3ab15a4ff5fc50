// snippet
import Espalier
import Foundation
// end
import Testing

@Suite struct GettingStarted {
  @Test func theProgramTrainsGrowsInspectsAndExports() throws {
    // snippet
    let context = try ComputeContext()
    print("\(context.threadsGranted) threads on \(context.instructionSet)")
    let description = try DatasetCatalog.description(of: "fashion-mnist")
    let dataset = try DatasetCatalog.load(name: "fashion-mnist")
    // end

    // snippet
    let request = ModelCatalog.Request(
      name: "mlp", hidden: [256, 128], images: FeatureSize(channels: 1, height: 28, width: 28), classes: 10)
    let spec = try ModelCatalog.spec(request)
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    print("\(model.connections) of \(spec.sparsifiableWeights) weights are there")
    // end

    // snippet
    var options = TrainingOptions(epochs: 1)
    options.learningRate = 0.05
    let timetable = try TrainingTimetable(options, trainingSamples: dataset.train.count)
    // end

    // snippet
    let updater = try GSE(schedule: timetable.updates(interval: 50, until: 0.75, alpha: 0.2), guide: .graest)
    // end

    // snippet
    struct ShowUpdates: TrainingObserver {
      func didUpdateTopology(_ record: UpdateRecord) {
        print("step \(record.step): \(record.grown) connections exchanged, \(record.nnz) active")
      }
    }

    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: description.normalization, options: options,
      updater: updater, updateMode: .add, context: context)
    let result = try trainer.run(observer: ShowUpdates())
    print("test accuracy \(result.testAccuracy) after \(result.steps) steps and \(result.updates) updates")
    // end

    // snippet
    for parameter in model.sparseParameters {
      let structure = parameter.matrix.structure
      let fanIns = (0..<structure.rows).map { structure.positions(ofRow: $0).count }
      print(
        "\(parameter.layerName): \(structure.rows) x \(structure.columns), \(structure.count) connections,",
        "\(fanIns.min() ?? 0) to \(fanIns.max() ?? 0) a unit")
    }
    // end

    // snippet
    let folder = FileManager.default.temporaryDirectory.appending(path: "espalier-\(UUID().uuidString)").path
    let information = Checkpoint.Information(
      model: request, dataset: dataset.name, method: "gse", seed: options.seed, step: result.steps,
      batchSize: options.batchSize)
    try Checkpoint.save(model, information, to: folder)
    try model.writeSafetensors(to: folder + "/pytorch.safetensors", layout: .maskedDense)
    try model.writeSciPy(toFolder: folder + "/scipy")
    // end

    // snippet
    let stored = try Checkpoint(path: folder).sparseModel(context: context)
    print(stored.weightsSHA256 == model.weightsSHA256)
    // end
    defer { try? FileManager.default.removeItem(atPath: folder) }
    #expect(stored.weightsSHA256 == model.weightsSHA256)
    #expect(model.connections == Int((0.1 * Double(spec.sparsifiableWeights)).rounded()))
    #expect(result.updates == 7)
    #expect(result.testAccuracy > 0.75)
    #expect(FileManager.default.fileExists(atPath: folder + "/scipy/layers.0.npz"))
  }
}

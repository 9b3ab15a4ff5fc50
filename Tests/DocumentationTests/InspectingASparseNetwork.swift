import Espalier
import Testing

@Suite struct InspectingASparseNetwork {
  @Test func structureIsReadAndTravels() throws {
    let run = try SmallRun()
    let temporary = try TemporaryFolder()
    let (folder, request, spec, context) = (temporary.path, run.request, run.spec, run.context)
    let model = try Model(sparse: spec, sparsity: 0.9, random: CounterRandom(seed: 0), context: context)
    let total = model.connections
    // snippet
    let layer = model.sparseParameters[0].matrix
    print("\(layer.name): \(layer.count) of \(layer.rows) x \(layer.columns), density \(layer.density)")

    // Some inputs and weights of unit 3.
    layer.withValues { weights in
      for position in layer.structure.positions(ofRow: 3).prefix(5) {
        print("input \(layer.structure.columnIndices[position]), weight \(weights[position])")
      }
    }
    // end

    // snippet
    var fanOut = [Int](repeating: 0, count: layer.columns)
    for position in 0..<layer.count { fanOut[Int(layer.structure.columnIndices[position])] += 1 }
    print("\(fanOut.count { $0 == 0 }) inputs are not read, one is read by \(fanOut.max() ?? 0) units")
    // end
    #expect(fanOut.reduce(0, +) == layer.count)
    #expect(
      fanOut.count { $0 == 0 } == layer.structure.emptyColumns(site: layer.site, meter: context.meter))

    // snippet
    try model.writeSafetensors(to: folder + "/weights.safetensors")
    try model.writeSafetensors(to: folder + "/pytorch.safetensors", layout: .maskedDense)
    try model.writeSciPy(toFolder: folder + "/scipy")
    print("\(model.zeroConnections) connections have the weight zero and are not in pytorch.safetensors")
    // end

    // snippet
    let summary = try WeightsSummary(path: folder + "/weights.safetensors")
    for layer in summary.layers {
      print("\(layer.name): \(layer.nnz) connections in \(layer.bytes) bytes")
    }
    // end
    #expect(summary.connections == total)

    // snippet
    let weights = try WeightsFile(path: folder + "/weights.safetensors")
    let copy = try Model(spec, weights: weights, context: context)
    // end
    #expect(copy.weightsSHA256 == model.weightsSHA256)

    // snippet
    let information = Checkpoint.Information(
      model: request, dataset: "my-data", method: "static", seed: 0, step: 0, batchSize: 128)
    try Checkpoint.save(model, information, to: folder + "/checkpoint")
    let checkpoint = try Checkpoint(path: folder + "/checkpoint")
    let stored = try checkpoint.sparseModel(context: context)
    // end
    #expect(checkpoint.spec == spec)
    #expect(stored.weightsSHA256 == model.weightsSHA256)

    // snippet
    let images = [Float](repeating: 0.5, count: 3 * spec.input.count)
    let logits = try images.withUnsafeBufferPointer { try Predictor(stored, context: context).logits(of: $0) }
    print(logits.prefix(spec.classes))
    // end
    #expect(logits.count == 30)
    #expect(logits.allSatisfy { $0.isFinite } && logits[..<10] == logits[10..<20])
  }
}

import EspLayers
import EspSparseMatmul
import TestSupport
import Testing

/// A chain of a norm, two linear layers and a GELU between them, with an inaccessible page next to every buffer.
@Suite struct TokenChainGuardTests {
  @Test(arguments: GuardedSide.allCases, [1, 8, 16, 32])
  func staysInBoundsAndRepeats(_ side: GuardedSide, lanes: Int) {
    for (tokens, samples) in [(1, 1), (4, lanes + 1), (6, 2 * lanes)] {
      for isa in SparseSweep.isas {
        let results = LayerHarness.threads.flatMap { threads in
          [true, false].map { run(isa, side, tokens: tokens, samples: samples, lanes: lanes, keeps: $0, threads) }
        }
        for result in results {
          #expect(!result.contains { $0.isNaN }, "\(tokens) tokens, \(samples) samples")
          expectSameBits(result, results[0], "\(tokens) tokens, \(samples) samples, \(lanes) lanes")
        }
      }
    }
  }

  /// Y, dx and every parameter's gradient, whether or not the norm keeps its moments.
  private func run(
    _ isa: esp_isa, _ side: GuardedSide, tokens: Int, samples: Int, lanes: Int, keeps: Bool, _ threads: Int32
  ) -> [Float] {
    func buffer(_ values: [Float]) -> GuardedBuffer<Float> { GuardedBuffer(values, guarding: side) }
    func nans(_ count: Int) -> GuardedBuffer<Float> { buffer(LayerHarness.nans(count)) }
    let matrices = [
      SparseCase(rows: 9, columns: 5, density: 0.4, seed: 3), SparseCase(rows: 5, columns: 9, density: 0.4, seed: 4),
    ]
    let structures = matrices.map { GuardedStructure($0, side) }
    let transposed = matrices.map { GuardedStructure($0.transposed().matrix, side) }
    let permutations = matrices.map { GuardedBuffer($0.transposed().permutation, guarding: side) }
    let count = (samples + lanes - 1) / lanes * tokens * 5 * lanes
    var random = LayerRandom(seed: 5)
    let shape = LayerShape(channels: 5, positions: tokens, samples: samples, lanes: lanes, areTokens: true)
    let x = buffer(random.floats(count))
    let d = buffer(shape.padded(random.floats(count), with: 0))
    let (y, dx) = (nans(count), nans(count))
    let (scale, shift) = (buffer(random.floats(5)), buffer(random.floats(5)))
    let biases = [buffer(random.floats(9)), buffer(random.floats(5))]
    let gradients = [5, 5, 9, 5].map(nans) + matrices.map { nans($0.count) }
    let parts = Int(ESP_CHAIN_PARTS)
    let sums = matrices.map { matrix in (0..<parts).map { _ in nans(matrix.count) } }
    func linear(_ i: Int) -> esp_link {
      esp_link(
        kind: ESP_LINK_LINEAR, inputs: matrices[i].columns, outputs: matrices[i].rows, w: structures[i].csr,
        transposed: transposed[i].csr, values: structures[i].values.base, transposed_values: transposed[i].values.base,
        permutation: permutations[i].base, scale: nil, shift: biases[i].base, epsilon: 0, moments: nil,
        weight_gradient: gradients[4 + i].base,
        scale_gradient: nil,
        shift_gradient: gradients[2 + i].base)
    }
    var norm = esp_link()
    (norm.kind, norm.inputs, norm.outputs, norm.epsilon) = (ESP_LINK_NORM, 5, 5, 1e-5)
    (norm.scale, norm.shift) = (UnsafePointer(scale.base), UnsafePointer(shift.base))
    (norm.scale_gradient, norm.shift_gradient) = (gradients[0].base, gradients[1].base)
    var empty = esp_chain(links: nil, count: 0, samples: samples, tokens: tokens, lanes: lanes)
    let moments = nans(esp_chain_moments(&empty))
    if keeps { norm.moments = moments.base }
    var gelu = esp_link()
    (gelu.kind, gelu.inputs, gelu.outputs) = (ESP_LINK_GELU, 9, 9)
    [norm, linear(0), gelu, linear(1)].withUnsafeBufferPointer { links in
      var chain = esp_chain(links: links.baseAddress, count: 4, samples: samples, tokens: tokens, lanes: lanes)
      let forward = nans(esp_chain_forward_workspace(&chain, threads))
      esp_chain_forward(isa, &chain, x.base, x.base, y.base, forward.base, threads)
      let backward = nans(esp_chain_backward_workspace(&chain, threads))
      let none = [UnsafeMutablePointer<Float>?](repeating: nil, count: parts)
      let partials = none + sums[0].map { $0.base } + none + sums[1].map { $0.base }
      esp_chain_backward(isa, &chain, x.base, d.base, d.base, dx.base, partials, backward.base, threads)
    }
    return withExtendedLifetime((structures, transposed, permutations, biases, sums, moments)) {
      y.contents + dx.contents + gradients.flatMap(\.contents)
    }
  }
}

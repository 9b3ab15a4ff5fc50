import EspSampling
import EspSparseMatmul
import Glibc
import TestSupport
import Testing

/// Shapes that few machines can hold: the widest layer that 32-bit indices reach, and more threads than processors.
@Suite struct LargeShapeTests {
  /// Address space for `count` floats, of which only what `makeUsable` touches has memory; anything else read or written ends the test.
  private final class Expanse {
    let pointer: UnsafeMutablePointer<Float>
    private let bytes: Int

    init(count: Int) throws {
      bytes = count * MemoryLayout<Float>.stride
      let place = mmap(nil, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
      pointer = try #require(place != MAP_FAILED ? place : nil).bindMemory(to: Float.self, capacity: count)
    }

    deinit { munmap(pointer, bytes) }

    func makeUsable(at element: Int) {
      let page = Int(getpagesize()), address = Int(bitPattern: pointer + element)
      let status = mprotect(UnsafeMutableRawPointer(bitPattern: address / page * page), page, PROT_READ | PROT_WRITE)
      #expect(status == 0)
    }
  }

  /// One row of 2^32 columns, connected to its first, its last, and one whose numbers lie beyond 2^32.
  @Test(arguments: SparseSweep.lanes) func offsetsHave64Bits(lanes: Int) throws {
    let columns = 1 << 32
    let row = SparseCase(
      rows: 1, columns: columns, rowStarts: [0, 3], columnIndices: [0, 1 << 29, UInt32.max], values: [0.5, -2, 3],
      name: "a row of 2^32 columns")
    let x = try Expanse(count: columns * lanes)
    var expected = [Float](repeating: 0, count: lanes)
    var gradient = [Float](repeating: 0, count: 3)
    let d = (0..<lanes).map { Float($0 + 1) }
    for (k, column) in row.columnIndices.enumerated() {
      x.makeUsable(at: Int(column) * lanes)
      for lane in 0..<lanes {
        let value = Float(k + 1) + Float(lane) / 4  // sums of a few quarters are exact
        x.pointer[Int(column) * lanes + lane] = value
        expected[lane] += row.values[k] * value
        gradient[k] += d[lane] * value
      }
    }
    for isa in SparseSweep.isas {
      var y = [Float](repeating: .nan, count: lanes), g = [Float](repeating: .nan, count: 3)
      row.withStructure { structure in
        esp_spmm_f32(isa, structure, row.values, nil, 1, lanes, x.pointer, &y, 2)
        esp_sddmm_f32(isa, structure, 1, lanes, x.pointer, d, &g, 2)
      }
      #expect(y == expected)
      #expect(g == gradient)
    }
    withExtendedLifetime(x) {}
  }

  /// Weights of a masked matrix whose numbers, and those of their blocks in the stream, lie beyond 2^32.
  @Test func maskedWeightsHave64Bits() throws {
    let key = esp_random_key(seed: 3, stream: 5, step: 1)
    let (rows, columns) = (1 << 19, 1 << 16)
    let mask = try Expanse(count: rows * columns / 32)
    let row = rows - 1, first = row * columns
    mask.makeUsable(at: first / 32)
    let word = UnsafeMutableRawPointer(mask.pointer + first / 32).assumingMemoryBound(to: UInt64.self)
    word.pointee = 0x8000_0100_0003_0402
    let live = (0..<64).filter { word.pointee >> UInt64($0) & 1 == 1 }
    var whole = [Float](repeating: .nan, count: 64)
    esp_random_uniform_f32(key, UInt64(first), 64, -1, 1, &whole)
    for isa in SparseSweep.isas {
      var starts: [UInt64] = [0, 0], indices = [UInt32](repeating: 0, count: 64)
      var values = [Float](repeating: .nan, count: 64)
      var weights = esp_procedural(
        key: key, rows: rows, columns: columns, low: -1, high: 1, absolute: 0,
        alive: UnsafeRawPointer(mask.pointer).assumingMemoryBound(to: UInt64.self))
      let tile = esp_tile(first_row: row, rows: 1, first_column: 0, columns: 64)
      esp_procedural_tile(isa, &weights, tile, &starts, &indices, &values, 1)
      #expect(starts == [0, UInt64(live.count)])
      #expect(indices.prefix(live.count).map(Int.init) == live)
      #expect(Array(values.prefix(live.count)) == live.map { whole[$0] })
    }
    withExtendedLifetime(mask) {}
  }

  /// Batches of 8 and 128 split for 16 threads give the bits of one thread.
  @Test(arguments: [8, 128]) func sixteenThreadsChangeNothing(samples: Int) {
    let linear = SparseCase(rows: 300, columns: 200, density: 0.03, seed: 41)
    let convolution = DenseConvolution(
      image: (channels: 24, height: 8, width: 8), outChannels: 20, kernel: (3, 3), padding: 1)
    let filters = convolution.weights(density: 0.1, seed: 43)
    for isa in SparseSweep.isas {
      let x = SparseActivations(samples: samples, features: linear.columns, lanes: 32, seed: 5)
      let d = SparseActivations(samples: samples, features: linear.rows, lanes: 32, seed: 7)
      expectSameBits(
        linear.product(isa, x, bias: nil, threads: 16).storage, linear.product(isa, x, bias: nil, threads: 1).storage,
        "")
      expectSameBits(
        linear.weightGradient(isa, x, d, threads: 16), linear.weightGradient(isa, x, d, threads: 1), "")
      let image = convolution.input(samples: samples, lanes: 32)
      let delta = convolution.outputGradient(samples: samples, lanes: 32)
      expectSameBits(
        convolution.forward(isa, filters, image, bias: nil, threads: 16).storage,
        convolution.forward(isa, filters, image, bias: nil, threads: 1).storage, "")
      expectSameBits(
        convolution.inputGradient(isa, filters, delta, threads: 16).storage,
        convolution.inputGradient(isa, filters, delta, threads: 1).storage, "")
      expectSameBits(
        convolution.weightGradient(isa, filters, image, delta, threads: 16),
        convolution.weightGradient(isa, filters, image, delta, threads: 1), "")
    }
  }
}

import Espalier
import EspalierBench
import Testing

/// What a layer's step is measured on, and how that is scaled.
@Suite struct TileTests {
  private func linear(_ inputs: Int, _ outputs: Int, _ connections: Int, batch: Int = 128) -> LayerCase {
    LayerCase(name: "layer", outputs: outputs, inputs: inputs, batch: batch, connections: connections)
  }

  @Test func aSmallLayerIsItsOwnTile() {
    let layer = linear(512, 512, 26_214)
    let tile = Tile(layer)
    #expect(tile.dense == layer && tile.sparse == layer && tile.isFaithful)
  }

  @Test func manyConnectionsAUnitKeepTheirDensity() {
    let tile = Tile(linear(8192, 8192, 6_710_886))
    #expect(tile.sparse == tile.dense)
    #expect(tile.dense.size <= 1 << 22)
    #expect(abs(tile.dense.sparsity - 0.9) < 1e-6)
  }

  /// The dense tile of such a layer holds 15 connections on 2,048 units.
  @Test(arguments: [1 << 16, 1 << 18, 1 << 20, 1 << 24])
  func aWideLayerKeepsConnectionsAUnit(_ units: Int) {
    let tile = Tile(linear(units, units, 11 * units / 3))
    #expect(tile.dense.size <= 1 << 22)
    let sparse = tile.sparse
    #expect(sparse.outputs == min(units, 1 << 17) && sparse.inputs == sparse.outputs)
    #expect(abs(Double(sparse.connections) / Double(sparse.outputs) - 11.0 / 3) < 1e-4)
    #expect(sparse.batch == 128 && tile.isFaithful)
    #expect(tile.secondConnections == sparse.connections / 4, "not half of a dense form that cannot exist")
  }

  @Test func aShortSideStaysWhole() {
    let wide = 1 << 20
    for (layer, inputs, outputs) in [
      (linear(784, wide, 1_926_677), 784, 1 << 17), (linear(wide, 10, 1_925_256), 1 << 17, 10),
    ] {
      let sparse = Tile(layer).sparse
      #expect((sparse.inputs, sparse.outputs) == (inputs, outputs))
      #expect(abs(8 * sparse.connections - layer.connections) <= 8)
    }
  }

  @Test func timeAndMemoryLimitTheTile() {
    let heavy = Tile(linear(1 << 20, 1 << 20, 15 << 20)).sparse
    #expect(heavy.connections <= 1 << 20 && heavy.outputs > 60_000)
    let large = Tile(linear(1 << 20, 1 << 20, 1 << 20, batch: 4096)).sparse
    #expect(large.batch == 128 && large.outputs == 1 << 17)
    let small = Tile(linear(1 << 20, 1 << 20, 1 << 20, batch: 8)).sparse
    #expect(small.batch == 8 && small.outputs == 1 << 20)
  }

  /// A step that takes 3 µs a unit and 5 µs a connection for each block of 128 samples does so in the whole, too.
  @Test(arguments: [(1 << 20, 128), (1 << 20, 512), (3 << 18, 96), (4096, 128)])
  func unitsAndConnectionsAreScaledEachByTheirOwn(_ units: Int, batch: Int) {
    let whole = linear(units, units, 4 * units, batch: batch)
    let tile = Tile(whole)
    func blocks(_ layer: LayerCase) -> Double { Double((layer.batch + 31) / 32) / 4 }
    func seconds(_ layer: LayerCase, _ connections: Int) -> Double {
      blocks(layer) * 1e-6 * (3 * Double(layer.outputs) + 5 * Double(connections))
    }
    let cost = tile.sparseCost(
      own: seconds(tile.sparse, tile.sparse.connections), second: seconds(tile.sparse, tile.secondConnections))
    let (fixed, slope) = (blocks(whole) * 3e-6 * Double(units), blocks(whole) * 5e-6)
    #expect(abs(cost.fixed - fixed) < 1e-3 * fixed)
    #expect(abs(cost.perConnection - slope) < 1e-3 * slope)
    let total = cost.fixed + cost.perConnection * Double(whole.connections)
    #expect(abs(total - seconds(whole, whole.connections)) < 1e-9 * total)
    let dense = tile.denseCost(2)
    let ratio = Double(units) * Double(units) / Double(tile.dense.size) * blocks(whole) / blocks(tile.dense)
    #expect(abs(dense - 2 * ratio) < 1e-9 * dense)
  }

  /// Where more connections seem to take less time, all of it counts for connections that are there.
  @Test func noiseMakesNoNegativeTimes() {
    let tile = Tile(linear(1 << 20, 1 << 20, 4 << 20))
    let cost = tile.sparseCost(own: 1, second: 2)
    #expect(cost.perConnection == 0 && abs(cost.fixed - 8) < 1e-9)
    let other = tile.sparseCost(own: 1, second: 0.1)
    #expect(other.fixed == 0 && abs(other.perConnection * Double(4 << 20) - 8) < 1e-9)
  }
}

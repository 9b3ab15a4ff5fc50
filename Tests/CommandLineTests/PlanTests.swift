import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `plan`: exact numbers where there is something to count, sane ones where something is measured.
  @Suite struct Plan {
    private func plan(_ arguments: String..., environment: [String: String?] = [:]) throws -> [String: Any] {
      let program = try RunProgram.espalier(
        ["plan", "--json", "--budget", "0"] + arguments.flatMap { $0.split(separator: " ").map(String.init) },
        environment: environment)
      try #require(program.status == 0, "\(program.error)")
      return try program.json()
    }

    /// By arithmetic: weights that could exist, other parameters, multiply-adds of a dense forward pass.
    private static let models: [(name: String, weights: Int, other: Int, products: Int)] = [
      ("mlp", 784 * 512 + 512 * 512 + 512 * 10, 1034, 784 * 512 + 512 * 512 + 512 * 10),
      ("vgg11-small", 909_232, 3098, vgg([1, 1, 2, 2, 2])), ("vgg13-small", 920_752, 3242, vgg([2, 2, 2, 2, 2])),
      ("vgg16-small", 1_252_528, 4202, vgg([2, 2, 3, 3, 3])), ("vgg19-small", 1_584_304, 5162, vgg([2, 2, 4, 4, 4])),
      resNet(20), resNet(32), resNet(44), resNet(56), resNet(110), resNet(1202),
      ("simple-vit-tiny", 4_224_000, 13_930, 64 * (4_224_000 - 5120) + 5120),
      ("simple-vit", 38_545_408, 43_530, 196 * (38_545_408 - 10_240) + 10_240),
      largeResNet(18, [2, 2, 2, 2], expansion: 1), largeResNet(34, [3, 4, 6, 3], expansion: 1),
      largeResNet(50, [3, 4, 6, 3], expansion: 4), largeResNet(101, [3, 4, 23, 3], expansion: 4),
      largeResNet(152, [3, 8, 36, 3], expansion: 4), largeVGG(11, [1, 1, 2, 2, 2]), largeVGG(13, [2, 2, 2, 2, 2]),
      largeVGG(16, [2, 2, 3, 3, 3]), largeVGG(19, [2, 2, 4, 4, 4]),
    ]

    /// torchvision's residual network for 10 classes on 32 x 32 images: 16 x 16 after the stem's convolution, 8 x 8 after its pool.
    private static func largeResNet(
      _ depth: Int, _ blocks: [Int], expansion: Int
    ) -> (name: String, weights: Int, other: Int, products: Int) {
      var (weights, units, products) = (64 * 147, 64, 64 * 147 * 256)
      var (inputs, side) = (64, 8)
      func add(_ size: Int, _ outputs: Int, _ side: Int) {
        weights += size * outputs
        units += outputs
        products += size * outputs * side * side
      }
      for (stage, count) in blocks.enumerated() {
        let channels = 64 << stage
        for block in 0..<count {
          let before = side
          if stage > 0, block == 0 { side /= 2 }
          if expansion == 1 {
            add(9 * inputs, channels, side)
            add(9 * channels, channels, side)
          } else {
            add(inputs, channels, before)
            add(9 * channels, channels, side)
            add(channels, expansion * channels, side)
          }
          if side != before || inputs != expansion * channels { add(inputs, expansion * channels, side) }
          inputs = expansion * channels
        }
      }
      return ("resnet\(depth)", weights + 10 * inputs, 2 * units + 10, products + 10 * inputs)
    }

    /// torchvision's VGG with batch norm, alike: its last pool leaves one pixel, which the classifier sees 7 x 7 times.
    private static func largeVGG(
      _ depth: Int, _ depths: [Int]
    ) -> (name: String, weights: Int, other: Int, products: Int) {
      let classifier = 49 * 512 * 4096 + 4096 * 4096 + 4096 * 10
      var (weights, other, products) = (classifier, 2 * 4096 + 10, classifier)
      var (inputs, pixels) = (3, 32)
      for (channels, depth) in zip([64, 128, 256, 512, 512], depths) {
        for _ in 0..<depth {
          weights += 9 * inputs * channels
          other += 3 * channels
          products += 9 * inputs * channels * pixels * pixels
          inputs = channels
        }
        pixels /= 2
      }
      return ("vgg\(depth)", weights, other, products)
    }

    /// Three stages of 2n convolutions with 16, 32 and 64 channels, 6n + 2 layers in all.
    private static func resNet(_ depth: Int) -> (name: String, weights: Int, other: Int, products: Int) {
      let n = (depth - 2) / 6
      let weights = 432 + 2 * n * 2304 + 4608 + (2 * n - 1) * 9216 + 18_432 + (2 * n - 1) * 36_864 + 640
      // Each convolution but the first takes 16 * 16 * 9 * 32 * 32 products, the two that halve the image half of that.
      let products = 3 * 16 * 9 * 1024 + (6 * n - 1) * 16 * 16 * 9 * 1024 + 640
      return ("resnet\(depth)", weights, 2 * (16 + 2 * n * (16 + 32 + 64)) + 10, products)
    }

    /// Multiply-adds of a VGG-small for 32 x 32 images and 10 classes with these numbers of convolutions a stage.
    private static func vgg(_ depths: [Int]) -> Int {
      var (products, inputs, pixels) = (0, 3, 32)
      for (channels, depth) in zip([16, 32, 64, 128, 128], depths) {
        for _ in 0..<depth {
          products += inputs * channels * 9 * pixels * pixels
          inputs = channels
        }
        pixels /= 2
      }
      return products + 128 * 512 + 512 * 512 + 512 * 10
    }

    @Test(arguments: models.map(\.name))
    func everyModelsNumbers(_ name: String) throws {
      let model = try #require(Self.models.first { $0.name == name })
      let result = try plan("--model \(name) --dataset fashion-mnist --sparsity 0.95 --batch-size 16 --threads 2")
      func integer(_ key: String) -> Int { result[key] as? Int ?? -1 }
      #expect(result["model"] as? String == name)
      #expect(integer("sparsifiable_weights") == model.weights)
      #expect(integer("parameters") == model.weights + model.other)
      #expect(integer("nnz") == Int((0.05 * Double(model.weights)).rounded()))
      #expect(integer("dense_forward_flops") == 2 * model.products)
      #expect(integer("batch_size") == 16 && integer("threads") == 2)
      let layers = try #require(result["layers"] as? [[String: Any]])
      func sum(_ value: ([String: Any]) -> Int) -> Int { layers.reduce(0) { $0 + value($1) } }
      func number(_ layer: [String: Any], _ key: String) -> Int { layer[key] as? Int ?? -1 }
      #expect(sum { number($0, "nnz") } == integer("nnz"))
      #expect(sum { number($0, "inputs") * number($0, "outputs") } == model.weights)
      #expect(sum { 2 * number($0, "nnz") * number($0, "positions") } == integer("sparse_forward_flops"))
      for layer in layers {
        let size = Double(number(layer, "inputs") * number(layer, "outputs"))
        #expect(abs((layer["density"] as? Double ?? -1) - Double(number(layer, "nnz")) / size) < 1e-9)
        #expect(layer["dense_ms"] as? Double ?? 0 > 0 && layer["sparse_ms"] as? Double ?? 0 > 0)
        #expect(["measured", "estimated"].contains(layer["source"] as? String))
      }
      #expect(layers.contains { $0["source"] as? String == "measured" })
      let memory = try #require(result["memory"] as? [String: Int])
      #expect(memory.values.reduce(0, +) == integer("predicted_peak_bytes"))
      #expect(memory["data"] == 70_000 * 788)
      #expect(memory["weights"] ?? 0 >= 28 * integer("nnz"))
    }

    /// In units of 100,000, as published.
    @Test(arguments: [("vgg16-small", 202), ("resnet20", 406), ("resnet56", 1255), ("simple-vit-tiny", 2700)])
    func knownNumbersOfProducts(_ name: String, _ expected: Int) throws {
      let model = try #require(Self.models.first { $0.name == name })
      #expect((model.products + 50_000) / 100_000 == expected)
    }

    @Test func activationsFollowTheBatch() throws {
      func activations(_ batch: Int) throws -> Double {
        let result = try plan("--model vgg11-small --dataset synthetic --threads 1 --batch-size \(batch)")
        return Double((result["memory"] as? [String: Int])?["activations"] ?? 0)
      }
      let (small, large) = (try activations(125), try activations(500))
      #expect(large > 3 * small && large < 4.05 * small, "four times as many blocks, the workspaces the same")
      #expect(small > 128 * 4 * 2 * 16 * 32 * 32, "two planes a convolution, of the first one alone")
    }

    @Test func flagsChangeTheModel() throws {
      let wide = try plan("--model mlp --hidden 64,32 --width 2 --distribution uniform --sparsity 0.5 --threads 1")
      #expect(wide["sparsifiable_weights"] as? Int == 784 * 128 + 128 * 64 + 640)
      let layers = try #require(wide["layers"] as? [[String: Any]])
      #expect(layers.compactMap { $0["nnz"] as? Int } == [784 * 64, 64 * 64, 320])
    }

    @Test func noDataAreNeeded() throws {
      let place = try IDXFolder()
      let result = try plan(
        "--model mlp --hidden 16 --dataset mnist --threads 1", environment: ["HOME": place.path, "ESPALIER_DATA": nil])
      #expect(result["dataset"] as? String == "mnist")
    }

    /// A published data set is not even looked at: this one would be refused.
    @Test func dataThatAreThereAreNotRead() throws {
      let place = try IDXFolder()
      try place.write([1], to: "train/cat/1.jpg")
      try place.write([1], to: "val/cat/1.jpg")
      let result = try plan(
        "--model resnet20 --width 0.25 --dataset imagenet --threads 1", environment: ["ESPALIER_DATA": place.path])
      #expect((result["layers"] as? [[String: Any]])?.last?["outputs"] as? Int == 1000)
    }

    @Test func theTableSaysWhereSparseWins() throws {
      let program = try RunProgram.espalier(["plan", "--model", "mlp", "--hidden", "32", "--budget", "0"])
      try #require(program.status == 0, "\(program.error)")
      for text in ["parameters", "connections", "memory", "layers.0", "measured", "sparse is faster"] {
        #expect(program.text.contains(text), "\(program.text)")
      }
    }
  }
}

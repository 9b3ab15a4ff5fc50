import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// `train --init`, `import`, `export`, `predict`, `inspect`, with weights and logits that PyTorch recorded.
  @Suite struct Weights {
    private static let fixture = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("Fixtures/resnet20.safetensors").path
    private static let model = ["--model", "resnet20", "--width", "0.25"]

    private let place: IDXFolder

    init() throws { place = try IDXFolder() }

    private func path(_ name: String) -> String { place.path + "/" + name }

    /// Runs the program, which must succeed and say no more than `note` beside its result.
    @discardableResult
    private func run(_ arguments: [String], note: String? = nil) throws -> [String: Any] {
      let program = try RunProgram.espalier(arguments + ["--json"])
      try #require(program.status == 0, "\(program.error)")
      #expect(program.error == (note.map { $0 + "\n" } ?? ""), "\(program.error)")
      return try program.json()
    }

    private func refuse(
      _ arguments: [String], _ status: Int32, saying fragments: String..., location: SourceLocation = #_sourceLocation
    ) throws {
      let program = try RunProgram.espalier(arguments)
      expectOneLine(program, status: status, sourceLocation: location)
      for fragment in fragments {
        #expect(program.error.contains(fragment), "\(program.error)", sourceLocation: location)
      }
    }

    private func images(samples: Int = 3) throws -> String {
      try place.writeArray((0..<samples * 3072).map { Float($0 * 37 % 101) / 50 - 1 }, shape: [samples, 3, 32, 32])
    }

    private func bytes(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }

    /// Masked dense and CSR, a file and a checkpoint of it: the same logits, bit for bit.
    @Test func weightsTravelEveryWay() throws {
      let exported = try run([
        "export", Self.fixture, "--format", "safetensors", "--masked-dense", "--output", path("dense.safetensors"),
      ])
      #expect(exported["lost_zeros"] as? Int == 0)
      let imported = try run(
        ["import", path("dense.safetensors"), "--output", path("checkpoint")] + Self.model,
        note: "note: taken for fashion-mnist; name another with --dataset")
      let nnz = try #require(exported["nnz"] as? Int)
      #expect(imported["nnz"] as? Int == nnz && imported["classes"] as? Int == 10)
      try run(["export", path("checkpoint"), "--format", "safetensors", "--output", path("csr.safetensors")])
      let input = try images()
      let sources = [
        [Self.fixture], [path("checkpoint")], [path("csr.safetensors")],
        ["--init", path("dense.safetensors")] + Self.model, ["--init", path("csr.safetensors")] + Self.model,
      ]
      var logits: Set<Data> = []
      for source in sources {
        let result = try run(["predict", "--input", input, "--output", path("y.npy")] + source)
        #expect(result["samples"] as? Int == 3 && result["classes"] as? Int == 10 && result["nnz"] as? Int == nnz)
        logits.insert(try bytes(path("y.npy")))
      }
      #expect(logits.count == 1)
      #expect(try bytes(path("y.npy")).count == 128 + 3 * 10 * 4)
    }

    /// Small models are for small images, also of folders, whether the data set is named or guessed.
    @Test func importKnowsTheImages() throws {
      func take(_ name: String, _ arguments: [String], note: String? = nil) throws -> [String: Any] {
        try run(["import", Self.fixture, "--output", path(name)] + Self.model + arguments, note: note)
      }
      for part in ["train", "val"] {
        for index in 0..<10 { try place.write([1], to: "own/\(part)/class\(index)/1.jpg") }
      }
      #expect(try take("a", ["--dataset", "folder", "--data-dir", path("own")])["classes"] as? Int == 10)
      let mismatch =
        "note: imagenet has 1000 classes, the weights' head 10: predict and export work, eval does not"
      #expect(try take("b", ["--dataset", "imagenet"], note: mismatch)["classes"] as? Int == 10)
      let input = try images()
      for name in ["a", "b"] { try run(["predict", path(name), "--input", input, "--output", path("y.npy")]) }
      let data = ["import", Self.fixture, "--output", path("c"), "--data-dir", path("own")] + Self.model
      try refuse(data, 64, saying: "data-dir", "--dataset")
      try refuse(data + ["--dataset", "npy"], 65, saying: "x_train.npy")
      try refuse(["plan", "--dataset", "npy", "--data-dir", place.path], 65, saying: "x_train.npy", place.path)
    }

    @Test func batchesDoNotMatter() throws {
      let input = try images(samples: 9)
      func predict(_ batch: Int) throws -> [Float] {
        try run(["predict", Self.fixture, "--input", input, "--output", path("y.npy"), "--batch-size", "\(batch)"])
        return try bytes(path("y.npy")).suffix(360).withUnsafeBytes { raw in
          (0..<90).map { raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
      }
      let expected = try predict(9)
      for batch in [1, 4, 100] {
        #expect(zip(try predict(batch), expected).allSatisfy { abs($0 - $1) <= 1e-5 })
      }
    }

    /// Of a run: its folder is exported both ways, and each way trains on alike.
    @Test func trainingStartsFromTheWeights() throws {
      let train = [
        "--model", "mlp", "--hidden", "16", "--dataset", "synthetic", "--max-steps", "2", "--batch-size", "8",
        "--threads", "1",
      ]
      let first = try TrainedRun(train + ["--method", "static"], output: path("runs"))
      let export = ["export", first.folder, "--format", "safetensors", "--output"]
      try run(export + [path("csr.safetensors")])
      try run(export + [path("dense.safetensors"), "--masked-dense"])
      for method in ["static", "gse", "set", "dense"] {
        let flags = train + ["--method", method, "--init"]
        let dense = try TrainedRun(flags + [path("dense.safetensors")], output: path("runs"))
        let sparse = try TrainedRun(flags + [path("csr.safetensors")], output: path("runs"))
        #expect(dense.hash == sparse.hash && dense.hash != first.hash, "\(method)")
        let configuration = String(decoding: try dense.file("config.yaml"), as: UTF8.self)
        #expect(configuration.contains("init: \(path("dense.safetensors"))"))
        guard method != "dense" else {
          let onnx = ["export", dense.folder, "--format", "onnx", "--output", path("dense.onnx")]
          try refuse(onnx + ["--sparse-initializers"], 64, saying: "sparse-initializers", "dense")
          continue
        }
        #expect(dense.result["nnz"] as? Int == first.result["nnz"] as? Int)
      }
      // Given beside it, the sparsity must agree to one connection.
      let nnz = try #require(first.result["nnz"] as? Int)
      let size = Double(try #require(first.result["sparsifiable_weights"] as? Int))
      for (off, status) in [(0.0, Int32(0)), (1, 0), (-1, 0), (2, 64), (-2, 64)] {
        let sparsity = "\(1 - (Double(nnz) + off) / size)"
        let program = try RunProgram.espalier(
          ["train"] + train + ["--init", first.folder + "/checkpoints/step-00000002", "--sparsity", sparsity]
            + ["--output", path("runs")])
        #expect(program.status == status, "\(off): \(program.error)")
        #expect(status == 0 || program.error.contains("leave --sparsity out"), "\(program.error)")
      }
    }

    /// A weight of zero is a connection that masked dense cannot hold, and the user is told.
    @Test func lostZerosAreCounted() throws {
      var bytes = [UInt8](try bytes(Self.fixture))
      let header = Int(bytes[0]) + Int(bytes[1]) << 8
      let json = try RunProgram.object(Data(bytes[8..<8 + header]))
      let entry = try #require(json["linear.weight.values"] as? [String: Any])
      let start = try #require((entry["data_offsets"] as? [Int])?.first)
      for i in 0..<12 { bytes[8 + header + start + i] = 0 }
      let damaged = try place.write(bytes, to: "zeros.safetensors")
      let export = ["export", damaged, "--format", "safetensors", "--output", path("e.safetensors")]
      #expect(try run(export)["lost_zeros"] as? Int == 0)
      let program = try RunProgram.espalier(export + ["--masked-dense", "--json"])
      #expect(program.status == 0)
      #expect(program.errorLines.count == 1 && program.error.hasPrefix("warning: 3 of "), "\(program.error)")
      #expect(try program.json()["lost_zeros"] as? Int == 3)
    }

    /// Zeros are no connections; a dry run looks at weights, also those of a dense network.
    @Test func startsThatAreNoneAreRefused() throws {
      let output = ["--masked-dense", "--format", "safetensors", "--output", path("w.safetensors")]
      #expect(try RunProgram.espalier(["export", Self.fixture] + output).status == 0)
      var bytes = try [UInt8](bytes(path("w.safetensors")))
      let header = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
      for i in (8 + header)..<bytes.count { bytes[i] = 0 }
      try Data(bytes).write(to: URL(fileURLWithPath: path("zeros.safetensors")))
      let train = ["train", "--dataset", "synthetic", "--dry-run", "--init"]
      try refuse(train + [path("zeros.safetensors")] + Self.model, 65, saying: path("zeros.safetensors"), "not zero")
      try refuse(train + [path("absent"), "--method", "dense"] + Self.model, 65, saying: path("absent"))
    }

    @Test func sciPyFoldersAndOnlyNewOnes() throws {
      let export = ["export", Self.fixture, "--format", "npz", "--output", path("npz")]
      try run(export)
      #expect(try FileManager.default.contentsOfDirectory(atPath: path("npz")).count == 21)
      try refuse(export, 74, saying: path("npz"), "is there already")
    }

    @Test func inspectReadsHeaders() throws {
      let result = try run(["inspect", Self.fixture])
      #expect(result["kind"] as? String == "checkpoint" && result["model"] as? String == "resnet20")
      let layers = try #require(result["layers"] as? [[String: Any]])
      #expect(layers.count == 20)
      #expect(layers[0]["name"] as? String == "conv1" && layers[0]["inputs"] as? Int == 27)
      #expect(layers.reduce(0) { $0 + ($1["nnz"] as? Int ?? 0) } == result["nnz"] as? Int)
      let plain = try RunProgram.espalier(["inspect", Self.fixture])
      #expect(plain.status == 0 && plain.text.contains("layer3.2.conv2") && plain.error.isEmpty)
    }

    @Test func contradictionsAreUsageErrors() throws {
      let input = try images()
      let predict = ["predict", "--input", input, "--output", path("y.npy")]
      try refuse(predict, 64, saying: "either a checkpoint, or both --model and --init")
      try refuse(predict + ["--init", Self.fixture], 64, saying: "both --model and --init")
      try refuse(predict + [Self.fixture, "--model", "mlp"], 64, saying: "either a checkpoint")
      try refuse(predict + [Self.fixture, "--width", "2"], 64, saying: "width")
      try refuse(predict + [Self.fixture, "--batch-size", "0"], 64, saying: "batch-size")
      try refuse(predict + ["--init", Self.fixture, "--model", "resnet21"], 64, saying: "resnet21")
      try refuse(predict + ["--init", Self.fixture, "--hidden", "8"] + Self.model, 64, saying: "hidden")
      let export = ["export", Self.fixture, "--output", path("e")]
      try refuse(export + ["--format", "onx"], 64, saying: "did you mean 'onnx'?")
      try refuse(export + ["--format", "onnx", "--masked-dense"], 64, saying: "masked-dense")
      try refuse(export + ["--format", "npz", "--sparse-initializers"], 64, saying: "sparse-initializers")
      try refuse(export + ["--format", "npy"], 64, saying: "did you mean 'npz'")
      try refuse(export + ["--format", "npz", "--masked-dense"], 64, saying: "masked-dense")
      let take = ["import", Self.fixture, "--output", path("c")]
      try refuse(take + ["--model", "resnet"], 64, saying: "resnet")
      try refuse(take + ["--classes", "11"] + Self.model, 64, saying: "classes")
      try refuse(take + ["--classes", "0"] + Self.model, 64, saying: "classes")
    }

    @Test func filesThatDoNotFitAreNamed() throws {
      let input = try images()
      let predict = ["predict", "--output", path("y.npy")]
      try refuse(predict + ["--input", "/nonexistent/x.npy", Self.fixture], 65, saying: "/nonexistent/x.npy")
      try refuse(predict + ["--input", input, "/nonexistent/c"], 65, saying: "/nonexistent/c")
      try refuse(predict + ["--input", Self.fixture, Self.fixture], 65, saying: Self.fixture, ".npy")
      let wide = ["--init", Self.fixture, "--model", "resnet20"]
      try refuse(predict + ["--input", input] + wide, 65, saying: Self.fixture, "conv1.weight")
      try refuse(predict + ["--input", input, "--init", Self.fixture, "--model", "mlp"], 65, saying: "layers.4.weight")
      let grey = try place.writeArray([Float](repeating: 0, count: 784), shape: [1, 1, 28, 28], name: "grey.npy")
      try refuse(predict + ["--input", grey, Self.fixture], 65, saying: grey, "[N, 3, 32, 32]")
      try refuse(["import", input, "--output", path("c")] + Self.model, 65, saying: input)
      try refuse(
        ["train", "--init", "/nonexistent/w", "--output", path("r")] + Self.model, 65, saying: "/nonexistent/w")
      try refuse(
        ["train", "--model", "mlp", "--init", Self.fixture, "--output", path("r")], 65, saying: "layers.0.weight")
      try refuse(["inspect", input], 65, saying: input)
      try refuse(["export", input, "--format", "npz", "--output", path("e")], 65, saying: input)
      #expect(!FileManager.default.fileExists(atPath: path("r")))
    }

    @Test(arguments: ["safetensors", "npz", "onnx"])
    func foldersOfExportsAreMade(_ format: String) throws {
      try run(["export", Self.fixture, "--format", format, "--output", path("new/folders/\(format)")])
      #expect(FileManager.default.fileExists(atPath: path("new/folders/\(format)")))
    }

    @Test func placesThatTakeNoFiles() throws {
      let input = try images()
      for output in [place.path, input + "/below", "/proc/below"] {
        try refuse(["predict", Self.fixture, "--input", input, "--output", output], 74, saying: output)
        try refuse(["export", Self.fixture, "--format", "safetensors", "--output", output], 74, saying: output)
        try refuse(["export", Self.fixture, "--format", "npz", "--output", output], 74, saying: output)
        try refuse(["import", Self.fixture, "--output", output] + Self.model, 74, saying: output)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == ["x.npy"])
    }
  }
}

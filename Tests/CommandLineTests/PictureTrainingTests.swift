import EspalierData
import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  /// Training and evaluation on folders of pictures and on NumPy arrays.
  @Suite struct PictureTrainingTests {
    let data: IDXFolder
    let output: IDXFolder

    init() throws {
      data = try IDXFolder()
      output = try IDXFolder()
    }

    /// Two classes, bright and dark; one training and one test picture are damaged.
    private func writePictures(train: Int = 24, val: Int = 9) throws {
      for (part, count) in [("train", train), ("val", val)] {
        for index in 0..<count {
          let isBright = index % 2 == 0
          let pixels = PictureBytes.pixels(seed: index, width: 50, height: 40).map { $0 / 2 + (isBright ? 120 : 0) }
          var bytes = PictureBytes.jpeg(pixels, width: 50, height: 40)
          if index == 5 { bytes = Array(bytes.prefix(bytes.count / 2)) }
          try data.write(bytes, to: "\(part)/\(isBright ? "bright" : "dark")/\(100 + index).jpg")
        }
      }
    }

    private func train(_ arguments: [String]) throws -> TrainedRun {
      try TrainedRun(["--data-dir", data.path] + arguments, output: output.path)
    }

    @Test func trainsOnAFolder() throws {
      try writePictures()
      let arguments = [
        "--dataset", "folder", "--model", "resnet20", "--width", "0.25", "--epochs", "2", "--batch-size", "8",
        "--method", "static",
      ]
      let run = try train(arguments + ["--threads", "2"])
      #expect(run.result["steps"] as? Int == 6)
      #expect(run.hash == (try train(arguments + ["--threads", "1"]).hash))
      #expect(run.hash != (try train(arguments + ["--no-augment"]).hash))
      #expect(run.program.error.contains("2 images cannot be decoded"))
      let log = String(decoding: try run.file("train.log"), as: UTF8.self)
      #expect(log.contains("train/dark/105.jpg: ") && log.contains("val/dark/105.jpg: ") && log.contains("truncated"))
      let evaluated = try RunProgram.espalier(["eval", run.folder, "--data-dir", data.path, "--json"])
      #expect(evaluated.status == 0, "\(evaluated.error)")
      let result = try evaluated.json()
      #expect(result["samples"] as? Int == 8)
      #expect(result["test_accuracy"] as? Double == run.result["test_accuracy"] as? Double)
    }

    /// What training sees of a picture can be chosen; a file's choice is no contradiction to flags beside it.
    @Test func cropsAreChosen() throws {
      try writePictures(train: 12, val: 3)
      let arguments = [
        "--dataset", "folder", "--model", "resnet20", "--width", "0.25", "--batch-size", "4", "--method", "static",
        "--max-steps", "3", "--threads", "1",
      ]
      let window = try train(arguments + ["--crop", "window"])
      #expect(window.hash != (try train(arguments + ["--crop", "resized"]).hash))
      let settings = ["--config", window.folder + "/config.yaml"]
      #expect(window.hash == (try TrainedRun(settings, output: output.path).hash))
      for flags in [["--no-augment"], ["--dataset", "synthetic"]] {
        let program = try RunProgram.espalier(["train", "--dry-run", "--output", output.path] + settings + flags)
        #expect(program.status == 0, "\(flags): \(program.error)")
      }
    }

    /// A dry run plans for the folder's classes, with the connections that the run begins with.
    @Test func plansForAFolder() throws {
      try writePictures(train: 12, val: 3)
      let program = try RunProgram.espalier([
        "train", "--dry-run", "--json", "--dataset", "folder", "--data-dir", data.path, "--model", "resnet20",
        "--width",
        "0.25", "--batch-size", "4", "--max-steps", "8", "--update-every", "2", "--method", "granet",
        "--initial-sparsity", "0.25", "--sparsity", "0.9", "--threads", "1",
      ])
      #expect(program.status == 0, "\(program.error)")
      let plan = try #require(try program.json()["plan"] as? [String: Any])
      #expect((plan["layers"] as? [[String: Any]])?.last?["outputs"] as? Int == 2)
      let weights = try #require(plan["sparsifiable_weights"] as? Int)
      #expect(plan["nnz"] as? Int == Int((0.75 * Double(weights)).rounded()) && plan["sparsity"] as? Double == 0.25)
    }

    @Test func showsAFolder() throws {
      try writePictures(train: 4, val: 3)
      let program = try RunProgram.espalier(["data", "folder", "--data-dir", data.path, "--json"])
      #expect(program.status == 0, "\(program.error)")
      let sets = try #require(try program.json()["datasets"] as? [[String: Any]])
      #expect(sets[0]["classes"] as? Int == 2 && sets[0]["train_images"] as? Int == 4)
      let files = try #require(sets[0]["files"] as? [[String: Any]])
      #expect(files.map { $0["images"] as? Int } == [4, 3])
    }

    /// Three classes in turn; the class is the mean of an image's numbers, about which they are spread evenly, by 2 each way.
    private func writeArrays(part: String, count: Int) throws {
      let labels = (0..<count).map { Int16($0 % 3) }
      var random = LayerRandom(seed: UInt64(count))
      let images = labels.flatMap { label in random.floats(30, in: -2...2).map { $0 + Float(label) } }
      try NumPyFile.write(.int16, shape: [count], to: "\(data.path)/y_\(part).npy") { sink in
        try labels.withUnsafeBytes { try sink($0) }
      }
      try NumPyFile.write(.float32, shape: [count, 1, 6, 5], to: "\(data.path)/x_\(part).npy") { sink in
        try images.withUnsafeBytes { try sink($0) }
      }
    }

    @Test func trainsOnArrays() throws {
      try writeArrays(part: "train", count: 60)
      try writeArrays(part: "test", count: 30)
      let run = try train([
        "--dataset", "npy", "--model", "mlp", "--hidden", "32", "--epochs", "30", "--batch-size", "10", "--sparsity",
        "0.5",
      ])
      #expect((run.result["test_accuracy"] as? Double ?? 0) > 0.6)  // by chance 0.33
    }

    @Test func refusesWhatIsNotThere() throws {
      let program = try RunProgram.espalier(["train", "--dataset", "cifar10", "--data-dir", data.path])
      expectOneLine(program, status: 65, saying: "cifar10", "--data-dir")
      expectOneLine(
        try .espalier(["train", "--dataset", "folder", "--data-dir", data.path]), status: 65, saying: "train/CLASS/")
      #expect(try RunProgram.espalier(["data", "npy", "--data-dir", data.path]).status == 65)
    }
  }
}

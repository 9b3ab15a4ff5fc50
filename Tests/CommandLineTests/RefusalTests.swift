import Foundation
import TestSupport
import Testing

/// A command line that is refused, and what the refusal has to mention.
struct RefusedArguments: Sendable, CustomTestStringConvertible {
  let arguments: [String]
  let fragments: [String]

  init(_ arguments: String, _ fragments: String...) {
    self.arguments = arguments.split(separator: " ").map(String.init)
    self.fragments = fragments
  }

  var testDescription: String { arguments.joined(separator: " ") }
}

extension RefusedArguments {
  /// Usage errors of all kinds.
  static let all = [
    RefusedArguments("train --sparsity 1", "sparsity"), RefusedArguments("train --sparsity 1.5", "sparsity"),
    RefusedArguments("train --sparsity -0.1", "sparsity: -0.1 is out of range"),
    RefusedArguments("train --sparsity=-0.1", "sparsity: -0.1"),
    RefusedArguments("train --sparsity nan", "sparsity"), RefusedArguments("train --sparsity high", "sparsity", "high"),
    RefusedArguments("train --model mlp --hidden 4 --sparsity 0.9999", "sparsity"),
    RefusedArguments("train --model vgg16-smal", "vgg16-smal", "vgg16-small"),
    RefusedArguments("train --model mpl", "mpl", "'mlp'"),
    RefusedArguments("train --model resnet-50", "resnet-50", "'resnet50'"),
    RefusedArguments("train --model resnet50 --width 0.5", "width: 0.5", "resnet50"),
    RefusedArguments("train --model vgg16 --width 2", "width: 2.0", "vgg16"),
    RefusedArguments("train --model resnet20 --width 0.3", "width: 0.3", "4, 9, 19 channels"),
    RefusedArguments("train --method gsee", "gsee", "'gse'"),
    RefusedArguments("train --method statik", "statik", "'static'"),
    RefusedArguments("train --method topkast --backward-sparsity 0.95", "backward-sparsity: 0.95", "0.9"),
    RefusedArguments("train --method topkast --backward-sparsity=-0.1", "backward-sparsity: -0.1"),
    RefusedArguments("train --backward-sparsity 0.5", "backward-sparsity", "topkast", "gse"),
    RefusedArguments("train --method topkast --init weights.safetensors", "init", "topkast"),
    RefusedArguments("train --method topkast --scope global", "scope", "topkast"),
    RefusedArguments("train --method topkast --guide grabo", "guide", "topkast"),
    RefusedArguments("train --dataset fashion-mnits", "fashion-mnits", "'fashion-mnist'"),
    RefusedArguments("train --dataset cifar11", "'cifar10'"), RefusedArguments("train --guide grabbo", "'grabo'"),
    RefusedArguments("train --guide none", "none"),
    RefusedArguments("train --method granet --initial-sparsity 0.95", "initial-sparsity: 0.95"),
    RefusedArguments("train --method set --initial-sparsity 0.5", "initial-sparsity", "granet", "set"),
    RefusedArguments("train --method set --guide grabo", "guide", "gse", "set"),
    RefusedArguments("train --method granet --init weights.safetensors", "init", "granet"),
    RefusedArguments("train --powerprop 0.5", "powerprop: 0.5"), RefusedArguments("train --powerprop nan", "powerprop"),
    RefusedArguments("train --method dense --powerprop 2", "powerprop", "dense"),
    RefusedArguments("train --deephoyer=-1", "deephoyer: -1"), RefusedArguments("train --deephoyer inf", "deephoyer"),
    RefusedArguments("train --method dense --deephoyer 1", "deephoyer", "dense"),
    RefusedArguments("train --audit=-1", "audit: -1"),
    RefusedArguments("train --method rigl --audit 4", "audit", "gse"),
    RefusedArguments("train --extra-batches=-1", "extra-batches: -1"),
    RefusedArguments("train --method rigl --whole-dense-layers", "whole-dense-layers", "gse", "rigl"),
    RefusedArguments("train --crop window", "crop", "fashion-mnist"),
    RefusedArguments("train --crop middle --dataset synthetic", "'middle'", "resized, window"),
    RefusedArguments("train --extra-batches 1000", "extra-batches: 1000 x 128", "60000"),
    RefusedArguments("train --method set --extra-batches 2", "extra-batches", "gse", "set"),
    RefusedArguments("train --distribution small-world --rewire 1.5", "rewire: 1.5"),
    RefusedArguments("train --rewire 0.2", "rewire", "small-world", "erdos-renyi"),
    RefusedArguments("train --method topkast --distribution small-world", "small-world", "topkast"),
    RefusedArguments("train --method dsr --scope global", "scope", "dsr"),
    RefusedArguments("train --method deepr --scope global", "scope", "deepr"),
    RefusedArguments("train --method mest --scope global", "scope", "mest"),
    RefusedArguments("train --method snfs --scope global", "scope", "snfs"),
    RefusedArguments("train --method granet --scope global", "scope", "granet"),
    RefusedArguments("train --method snip --scope global", "scope", "snip"),
    RefusedArguments("train --method synflow --init weights.safetensors", "init", "synflow"),
    RefusedArguments("train --method snfs-dense --init weights.safetensors", "init", "snfs-dense"),
    RefusedArguments("train --method snip --sparsity 0.99999999", "sparsity", "connections"),
    RefusedArguments("train --method set --prune-schedule cosine", "prune-schedule", "gradual", "set"),
    RefusedArguments("train --method gradual --prune-schedule square", "'square'", "cubic, cosine"),
    RefusedArguments("train --method gradual --rounds 3", "rounds", "lottery", "gradual"),
    RefusedArguments("train --method lottery --rounds 0", "rounds: 0"),
    RefusedArguments("train --rewind-step 3", "rewind-step", "lottery"),
    RefusedArguments("train --scope everywhere", "everywhere", "local, global"),
    RefusedArguments("train --update-mode both", "both"), RefusedArguments("train --distribution erdos", "erdos"),
    RefusedArguments("train --optimizer adam", "'adam'", "'adamw'"),
    RefusedArguments("train --schedule cosin", "'cosin'", "'cosine'"),
    RefusedArguments("train --optimizer adamw --momentum 0.9", "momentum", "adamw"),
    RefusedArguments("train --schedule cosine --milestones 1,2", "milestones", "cosine"),
    RefusedArguments("train --clip-norm 0", "clip-norm"), RefusedArguments("train --clip-norm nan", "clip-norm"),
    RefusedArguments("train --accumulate 0", "accumulate"),
    RefusedArguments("train --accumulate 1000", "accumulate", "60000"),
    RefusedArguments("train --validation 1", "validation"), RefusedArguments("train --validation=-0.1", "validation"),
    RefusedArguments("train --validation 1e-9", "validation"),
    RefusedArguments("train --validation 0.9999", "batch-size"),
    RefusedArguments("train --max-time 3", "max-time", "3h50m"), RefusedArguments("train --max-time 5m3h", "max-time"),
    RefusedArguments("train --max-time 0s", "max-time"),
    RefusedArguments("train --checkpoint-every 0", "checkpoint-every"),
    RefusedArguments("train --keep 0", "keep"),
    RefusedArguments("train --hidden 64", "hidden", "mlp"),
    RefusedArguments("train --model mlp --hidden 64,x", "hidden", "64,x"),
    RefusedArguments("train --model mlp --hidden 0", "hidden"),
    RefusedArguments("train --model mlp --hidden 2147483648,2147483648", "hidden"),
    RefusedArguments("train --model mlp --hidden 16777216,16777216", "layers.0", "connections"),
    RefusedArguments("train --model mlp --hidden 2000000,16000000 --sparsity 0.9999", "connections"),
    RefusedArguments("train --width 0", "width"), RefusedArguments("train --width nan", "width"),
    RefusedArguments("train --batch-size 0", "batch-size"), RefusedArguments("train --batch-size 60001", "batch-size"),
    RefusedArguments("train --batch-size 1.5", "batch-size"), RefusedArguments("train --epochs 0", "epochs"),
    RefusedArguments("train --max-steps 0", "max-steps"), RefusedArguments("train --threads 0", "threads"),
    RefusedArguments("train --threads=-1", "threads"), RefusedArguments("train --threads 100000", "threads"),
    RefusedArguments("train --update-until 2", "update-until"),
    RefusedArguments("train --update-every 0", "update-every"),
    RefusedArguments("train --alpha 0", "alpha"), RefusedArguments("train --alpha 2", "alpha"),
    RefusedArguments("train --gamma 0", "gamma"),
    RefusedArguments("train --gamma inf", "gamma"), RefusedArguments("train --gamma 1e300", "gamma"),
    RefusedArguments("train --method static --gamma inf", "gamma"), RefusedArguments("train --lr -1", "lr: -1"),
    RefusedArguments("train --lr=-1", "lr: -1"),
    RefusedArguments("train --lr 0", "lr"), RefusedArguments("train --lr inf", "lr"),
    RefusedArguments("train --momentum 1", "momentum"),
    RefusedArguments("train --weight-decay=-1", "weight-decay"),
    RefusedArguments("train --label-smoothing 1", "label-smoothing"),
    RefusedArguments("train --warmup-epochs=-1", "warmup-epochs"),
    RefusedArguments("train --milestones 80,", "milestones"),
    RefusedArguments("train --milestones 1,nan", "milestones"), RefusedArguments("train --log-every 0", "log-every"),
    RefusedArguments("train --seed=-1", "seed"), RefusedArguments("train --seed -1", "'-1'", "seed"),
    RefusedArguments("train --spasity 0.9", "--spasity", "--sparsity"),
    RefusedArguments("train --sparsity", "sparsity"), RefusedArguments("train surplus", "surplus"),
    RefusedArguments("trian", "trian"),
    RefusedArguments("--verbosity", "--verbosity"), RefusedArguments("eval", "path"), RefusedArguments("eval a b", "b"),
    RefusedArguments("eval . --threads 0", "threads"), RefusedArguments("eval . --batch-size 0", "batch-size"),
    RefusedArguments("data fashion", "fashion"), RefusedArguments("data cifar11", "'cifar10'"),
    RefusedArguments("doctor --threads 0", "threads"),
    RefusedArguments("doctor --jsno", "--jsno"),
    RefusedArguments("bench --kernel conv-forwrd", "conv-forwrd", "'conv-forward'"),
    RefusedArguments("bench --kernel sgemm", "sgemm", "input-gradient"),
    RefusedArguments("bench --threads 0", "threads"), RefusedArguments("bench --threads 1,x", "threads", "1,x"),
    RefusedArguments("bench --budget=-1", "budget"), RefusedArguments("bench --quik", "--quik", "--quick"),
    RefusedArguments("plan --model vgg16-smal", "vgg16-smal", "'vgg16-small'"),
    RefusedArguments("plan --sparsity 1", "sparsity"), RefusedArguments("plan --sparsity=-0.1", "sparsity: -0.1"),
    RefusedArguments("plan --hidden 64", "hidden", "mlp"), RefusedArguments("plan --batch-size 0", "batch-size"),
    RefusedArguments("plan --dataset cifar", "cifar"), RefusedArguments("plan --distribution erdos", "erdos"),
    RefusedArguments("plan --threads 0", "threads"), RefusedArguments("plan --width nan", "width"),
    RefusedArguments("plan --model mlp --hidden 4 --sparsity 0.9999", "sparsity"),
  ]
}

extension CommandLineTests {
  /// What is refused: with the contract's exit code and exactly one line that names the thing.
  @Suite struct Refusals {
    /// A launcher's processes are ranks of one run or none: a program without MPI, or another verb, would do its work once in each.
    @Test(arguments: ["train --max-steps 5", "resume nowhere", "doctor", "eval nowhere"])
    func processesThatCannotReachEachOther(arguments: String) throws {
      let words = arguments.split(separator: " ").map(String.init)
      for variable in ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"] {
        let program = try RunProgram.espalier(words, environment: [variable: "4"])
        expectOneLine(program, status: 64, saying: "mpirun", "4 processes")
      }
    }

    @Test(arguments: RefusedArguments.all)
    func usageErrors(_ refused: RefusedArguments) throws {
      let place = try IDXFolder()
      let program = try RunProgram.espalier(refused.arguments, in: place.path)
      expectOneLine(program, status: 64)
      for fragment in refused.fragments { #expect(program.error.contains(fragment), "\(program.error)") }
      #expect(try FileManager.default.contentsOfDirectory(atPath: place.path).isEmpty, "and leaves nothing")
    }

    // MARK: Data

    private static let trainImages = "train-images-idx3-ubyte"
    private static let trainLabels = "train-labels-idx1-ubyte"
    private static let testImages = "t10k-images-idx3-ubyte"
    private static let testLabels = "t10k-labels-idx1-ubyte"

    /// A folder with links to the real files, all but `name`.
    private func folder(without name: String) throws -> IDXFolder {
      let folder = try IDXFolder()
      for file in [Self.trainImages, Self.trainLabels, Self.testImages, Self.testLabels] where file != name {
        try FileManager.default.createSymbolicLink(
          atPath: "\(folder.path)/\(file).gz", withDestinationPath: "\(fashionMNIST)/\(file).gz")
      }
      return folder
    }

    private func expectRefusal(
      of folder: IDXFolder, naming fragments: String..., sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
      let output = try IDXFolder()
      let program = try RunProgram.espalier(
        ["train", "--model", "mlp", "--max-steps", "1", "--data-dir", folder.path, "--output", output.path])
      expectOneLine(program, status: 65, sourceLocation: sourceLocation)
      for fragment in fragments {
        #expect(program.error.contains(fragment), "\(program.error)", sourceLocation: sourceLocation)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: output.path).isEmpty)
    }

    @Test func absentData() throws {
      let program = try RunProgram.espalier(["train", "--max-steps", "1", "--data-dir", "/nonexistent/place"])
      expectOneLine(program, status: 65, saying: "/nonexistent/place", "fashion-mnist")
      try expectRefusal(of: folder(without: Self.testLabels), naming: Self.testLabels)
      try expectRefusal(of: IDXFolder(), naming: "fashion-mnist")
    }

    @Test func truncatedGzip() throws {
      let folder = try folder(without: Self.trainImages)
      let real = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(fashionMNIST)/\(Self.trainImages).gz")))
      try folder.write(Array(real[..<(real.count / 2)]), to: Self.trainImages + ".gz")
      try expectRefusal(of: folder, naming: Self.trainImages)
    }

    @Test func flippedBitsInGzip() throws {
      let real = [UInt8](try Data(contentsOf: URL(fileURLWithPath: "\(fashionMNIST)/\(Self.testLabels).gz")))
      for position in [0, real.count / 3, real.count / 2, real.count - 6] {
        let folder = try folder(without: Self.testLabels)
        var damaged = real
        damaged[position] ^= 0x10
        try folder.write(damaged, to: Self.testLabels + ".gz")
        try expectRefusal(of: folder, naming: Self.testLabels)
      }
    }

    @Test func wrongMagic() throws {
      let folder = try folder(without: Self.testLabels)
      try folder.write(IDXBytes.file(dimensions: [10_000], data: [], magic: [0, 0, 9, 1]), to: Self.testLabels)
      try expectRefusal(of: folder, naming: Self.testLabels)
      let swapped = try self.folder(without: Self.testLabels)
      try swapped.write(IDXBytes.images(count: 20), to: Self.testLabels)
      try expectRefusal(of: swapped, naming: Self.testLabels)
    }

    @Test func labelsOutOfRange() throws {
      let folder = try folder(without: Self.testLabels)
      try folder.write(IDXBytes.labels(count: 10_000, classes: 11), to: Self.testLabels)
      try expectRefusal(of: folder, naming: Self.testLabels, "10")
    }

    @Test func countsThatDiffer() throws {
      let folder = try folder(without: Self.testLabels)
      try folder.write(IDXBytes.labels(count: 9_999), to: Self.testLabels)
      try expectRefusal(of: folder, naming: Self.testLabels, "9999", "10000")
      let small = try IDXFolder()
      try small.writeDataset(compressed: true)
      try expectRefusal(of: small, naming: "60000")
    }

    // MARK: Writing

    @Test func placesThatTakeNoFiles() throws {
      let place = try IDXFolder()
      let file = try place.write([1], to: "file")
      for output in [file, file + "/below", "/proc", "/proc/below"] {
        let program = try RunProgram.espalier(
          ["train", "--model", "mlp", "--hidden", "8", "--max-steps", "1", "--output", output])
        expectOneLine(program, status: 74, saying: output)
      }
      #expect(try FileManager.default.contentsOfDirectory(atPath: place.path) == ["file"])
    }

    /// A disk that fills up, as far as logs can tell: the file behind the log takes nothing more.
    @Test func aFullDisk() throws {
      let place = try IDXFolder()
      let script = """
        ulimit -f 4; trap '' XFSZ; exec "$0" train --dataset synthetic --model mlp --hidden 64 --max-steps 400 --log-every 1 \
        --batch-size 8 --output "$1"
        """
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let espalier = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("espalier").path
      // Standard error goes through cat, because the limit would cut it short as well.
      let program = try RunProgram.tool(["bash", "-c", "(\(script)) 2> >(cat >&2)", espalier, place.path])
      #expect(program.status == 74, "\(program.error)")
      #expect(program.error.contains(place.path))
    }
  }
}

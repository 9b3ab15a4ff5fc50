import Foundation
import TestSupport
import Testing

extension CommandLineTests {
  @Suite struct OtherVerbs {
    @Test func helpNamesEveryVerb() throws {
      let program = try RunProgram.espalier(["--help"])
      #expect(program.status == 0)
      #expect(program.error.isEmpty)
      for verb in ["train", "eval", "predict", "plan", "bench", "inspect", "import", "export", "data", "doctor"] {
        #expect(program.text.contains(verb))
      }
    }

    @Test(arguments: ["train", "eval", "predict", "plan", "bench", "inspect", "import", "export", "data", "doctor"])
    func everyVerbHasHelp(_ verb: String) throws {
      let program = try RunProgram.espalier([verb, "--help"])
      #expect(program.status == 0)
      #expect(program.error.isEmpty)
      #expect(program.text.contains("--json"))
    }

    @Test func versionNamesCommitAndInstructionSet() throws {
      let program = try RunProgram.espalier(["--version"])
      #expect(program.status == 0)
      let form = #/[0-9]+\.[0-9]+\.[0-9]+ \(commit (?:[0-9a-f]{12}|unknown), [a-z0-9]+\)\n/#
      #expect(program.text.wholeMatch(of: form) != nil, "\(program.text)")
      let scalar = try RunProgram.espalier(["--version"], environment: ["ESPALIER_ISA": "scalar"])
      #expect(scalar.text.hasSuffix(", scalar)\n"))
    }

    @Test func theProgramRunsFromAnyFolder() throws {
      let folder = try IDXFolder()
      let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
      let original = URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("espalier").path
      try FileManager.default.copyItem(atPath: original, toPath: folder.path + "/moved")
      let arguments = "train --dataset synthetic --model mlp --hidden 8 --max-steps 2 --json --output runs"
      let program = try RunProgram(
        folder.path + "/moved", arguments.split(separator: " ").map(String.init), in: folder.path)
      #expect(program.status == 0, "\(program.error)")
    }

    @Test(arguments: ["bash", "zsh", "fish"])
    func completionScriptsKnowEveryVerb(_ shell: String) throws {
      let program = try RunProgram.espalier(["--generate-completion-script", shell])
      #expect(program.status == 0 && program.error.isEmpty, "\(program.error)")
      for word in ["train", "resume", "export", "sparse-initializers"] { #expect(program.text.contains(word)) }
    }

    @Test func dataListsEverySet() throws {
      let program = try RunProgram.espalier(["data"])
      #expect(program.status == 0, "\(program.error)")
      for name in ["fashion-mnist", "mnist", "cifar10", "cifar100", "imagenet", "folder", "npy", "synthetic"] {
        #expect(program.text.contains("\n\(name): ") || program.text.hasPrefix("\(name): "))
      }
      #expect(program.text.contains("fashion-mnist: whole"))
    }

    @Test func dataShowsOneSetAsJSON() throws {
      let program = try RunProgram.espalier(["data", "fashion-mnist", "--json"])
      #expect(program.status == 0, "\(program.error)")
      let sets = try #require(try program.json()["datasets"] as? [[String: Any]])
      #expect(sets.count == 1)
      #expect(sets[0]["name"] as? String == "fashion-mnist")
      #expect(sets[0]["whole"] as? Bool == true)
      let files = try #require(sets[0]["files"] as? [[String: Any]])
      #expect(files.count == 4)
      for file in files {
        let path = try #require(file["path"] as? String)
        let sum = try RunProgram.tool(["sha256sum", path]).text.prefix(64)
        #expect(file["sha256"] as? String == String(sum))
        #expect(file["bytes"] as? Int == (try Data(contentsOf: URL(fileURLWithPath: path))).count)
      }
    }

    @Test func dataThatAreNotWholeAreSaidToBe() throws {
      let folder = try IDXFolder()
      try folder.writeDataset()
      let program = try RunProgram.espalier(["data", "fashion-mnist", "--data-dir", folder.path, "--json"])
      #expect(program.status == 65)
      #expect(program.errorLines.count == 1)
      let sets = try #require(try program.json()["datasets"] as? [[String: Any]])
      #expect(sets[0]["whole"] as? Bool == false)
      #expect((sets[0]["hint"] as? String)?.contains("dataset-fashion-mnist") == true)
    }

    @Test func doctorTellsWhatItFinds() throws {
      let plain = try RunProgram.espalier(["doctor"])
      #expect(plain.status == 0, "\(plain.error)")
      for line in ["instruction set", "threads", "OpenMP", "OpenBLAS", "fashion-mnist: found"] {
        #expect(plain.text.contains(line))
      }
      let program = try RunProgram.espalier(["doctor", "--json", "--threads", "2"])
      #expect(program.status == 0)
      let result = try program.json()
      let environment = try #require(result["environment"] as? [String: Any])
      #expect(environment["threads_granted"] as? Int == 2)
      #expect((environment["instruction_sets"] as? [String])?.contains("scalar") == true)
      #expect(environment["openmp"] as? Int ?? 0 >= 201_107)
      let sets = try #require(result["datasets"] as? [[String: Any]])
      #expect(sets.first { $0["name"] as? String == "fashion-mnist" }?["whole"] as? Bool == true)
    }
  }
}

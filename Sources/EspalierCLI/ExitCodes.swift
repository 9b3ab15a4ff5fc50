import EspalierCore

let espalierVersion = "0.1.0"

/// What `--version` prints: version, commit and the instruction set that the kernels would run on here.
var espalierBuild: String {
  "\(espalierVersion) (commit \(buildCommit), \((try? InstructionSet.selected().name) ?? "no such ESPALIER_ISA"))"
}

extension EspalierError {
  /// The command line's exit code for this kind of error.
  var exitCode: Int32 {
    switch kind {
    case .usage: 64
    case .input: 65
    case .diverged: 70
    case .write: 74
    case .invariant: 1
    }
  }
}

/// A run that ended with an error after its folder was made; everything has been reported but the error's line.
struct StoppedRun: Error {
  let error: EspalierError
}

/// A run that was asked to stop before its end, and whose checkpoint is written; there is none where its connections
/// were still being chosen.
struct InterruptedRun: Error {
  let reason: String
  let step: Int
  let folder: String
  /// Whether all ranks of the run stopped there.
  var isShared = true

  static let exitCode: Int32 = 75
}

import ArgumentParser
import EspalierCore
import Foundation

/// The command `espalier`: one verb a job.
@main
struct EspalierCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "espalier",
    abstract: "Trains neural networks that are sparse from the first step to the last.",
    version: espalierBuild,
    subcommands: [
      TrainCommand.self, ResumeCommand.self, EvalCommand.self, PredictCommand.self, CompareCommand.self,
      PlanCommand.self, BenchCommand.self, InspectCommand.self, ImportCommand.self, ExportCommand.self,
      ReportCommand.self, DataCommand.self, DoctorCommand.self,
    ])

  static func main() {
    // A parent may have had signals ignored, which programs inherit; and a closed pipe is an error like others, not the end.
    for number in [SIGINT, SIGTERM, SIGUSR1] { signal(number, SIG_DFL) }
    signal(SIGPIPE, SIG_IGN)
    let arguments = Array(CommandLine.arguments.dropFirst())
    do {
      var command = try parseAsRoot(try ArgumentExpansion.expand(arguments))
      if !(command is TrainCommand || command is ResumeCommand) {
        try Launch.current.refuse(type(of: command).configuration.commandName ?? "the command")
      }
      try command.run()
    } catch {
      // What fails on all ranks is rank 0's to say, which ends the others.
      if Launch.current.rank > 0, !(error is InterruptedRun) { sleep(5) }
      report(error, of: arguments)
    }
  }

  /// Says why the program ends, and ends it.
  private static func report(_ error: any Error, of arguments: [String]) -> Never {
    switch error {
    case let error as EspalierError:
      Terminal.error(ArgumentExpansion.place(of: error, in: arguments) + error.message)
      Launch.exit(error.exitCode)
    case let stopped as StoppedRun:
      Terminal.error(stopped.error.message)
      Launch.exit(stopped.error.exitCode)
    case let interrupted as InterruptedRun:
      Terminal.note(
        "espalier: stopped at step \(interrupted.step): \(interrupted.reason); go on with: espalier resume \(interrupted.folder)"
      )
      // The other ranks leave it to the first one to say so.
      Launch.exit(Launch.current.rank > 0 ? 0 : InterruptedRun.exitCode)
    case let stopped as ComparisonStopped:
      Terminal.note("espalier: stopped: \(stopped.reason); the same command goes on")
      Launch.exit(75)
    default: leave(error)
    }
  }

  /// Help and version are shown as they are; what the parser refuses is one line, as every other error.
  private static func leave(_ error: any Error) -> Never {
    let code = exitCode(for: error)
    guard code != .success else { exit(withError: error) }
    let line = message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    Terminal.error(code == .validationFailure ? "\(line) (see 'espalier --help')" : line)
    Launch.exit(code == .validationFailure ? 64 : 1)
  }
}

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
      try command.run()
    } catch let error as EspalierError {
      Terminal.error(ArgumentExpansion.place(of: error, in: arguments) + error.message)
      Foundation.exit(error.exitCode)
    } catch let stopped as StoppedRun {
      Terminal.error(stopped.error.message)
      Foundation.exit(stopped.error.exitCode)
    } catch let interrupted as InterruptedRun {
      Terminal.note(
        "espalier: stopped at step \(interrupted.step): \(interrupted.reason); go on with: espalier resume \(interrupted.folder)"
      )
      Foundation.exit(InterruptedRun.exitCode)
    } catch is ComparisonStopped {
      Terminal.note("espalier: stopped; the same command goes on")
      Foundation.exit(75)
    } catch {
      leave(error)
    }
  }

  /// Help and version are shown as they are; what the parser refuses is one line, as every other error.
  private static func leave(_ error: any Error) -> Never {
    let code = exitCode(for: error)
    guard code != .success else { exit(withError: error) }
    let line = message(for: error).split(whereSeparator: \.isNewline).joined(separator: " ")
    Terminal.error(code == .validationFailure ? "\(line) (see 'espalier --help')" : line)
    Foundation.exit(code == .validationFailure ? 64 : 1)
  }
}

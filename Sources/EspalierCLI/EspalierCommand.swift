import ArgumentParser
import EspalierCore
import Foundation

/// The command `espalier`: one verb a job.
@main
struct EspalierCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "espalier",
    abstract: "Trains neural networks that are sparse from the first step to the last.",
    version: espalierVersion,
    subcommands: [
      TrainCommand.self, EvalCommand.self, PlanCommand.self, BenchCommand.self, DataCommand.self, DoctorCommand.self,
      ReportCommand.self,
    ])

  static func main() {
    do {
      var command = try parseAsRoot()
      try command.run()
    } catch let error as EspalierError {
      Terminal.error(error.message)
      Foundation.exit(error.exitCode)
    } catch let stopped as StoppedRun {
      Terminal.error(stopped.error.message)
      Foundation.exit(stopped.error.exitCode)
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

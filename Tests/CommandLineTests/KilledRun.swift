import Foundation
import TestSupport
import Testing

/// Runs of the command that a signal ends.
enum KilledRun {
  /// The command `espalier` of this build.
  static func path() throws -> String {
    let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
    return URL(fileURLWithPath: tests).deletingLastPathComponent().appendingPathComponent("espalier").path
  }

  /// The one run's folder in an output folder, once its configuration is written.
  static func folder(in output: String) -> String? {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: output)) ?? []
    // A hidden folder is one that was not whole yet.
    guard let name = names.first(where: { !$0.hasPrefix(".") }),
      FileManager.default.fileExists(atPath: "\(output)/\(name)/config.yaml")
    else {
      return nil
    }
    return output + "/" + name
  }

  /// Kills the command after some seconds, unless it has ended by then.
  static func espalier(_ arguments: [String], after seconds: Double) throws {
    _ = try RunProgram.tool(["timeout", "-s", "KILL", String(format: "%.3f", max(0.001, seconds)), path()] + arguments)
  }

  static func train(_ arguments: [String], after seconds: Double) throws {
    try espalier(["train"] + arguments, after: seconds)
  }

  /// Runs the commands `whileLoading` as soon as the command, $child, listens to signals, which is before it has written a log into
  /// `folder` or below.
  static func espalier(_ arguments: [String], whileLoading commands: String, in folder: String) throws -> RunProgram {
    let script = """
      "$0" "$@" & child=$!
      caught() { echo $((0x$(grep SigCgt /proc/$child/status | cut -f 2) >> 14 & 1)); }
      while kill -0 $child 2>/dev/null && [ "$(caught)" = 0 ]; do sleep 0.01; done
      if [ -n "$(find "\(folder)" -name train.log 2>/dev/null)" ]; then echo "too late" >&2; kill -9 $child; fi
      \(commands)
      wait $child
      """
    return try RunProgram.tool(["bash", "-c", script, path()] + arguments)
  }

  /// Sends a signal once metrics.jsonl, or the log where `steps` is 0, has some lines.
  @discardableResult
  static func train(_ arguments: [String], signal: Int32, afterSteps steps: Int, twice: Bool = false) throws
    -> RunProgram
  {
    let output = arguments[(arguments.firstIndex(of: "--output") ?? -2) + 1]
    let script = """
      "$0" train "$@" & child=$!
      i=0
      while [ $i -lt 6000 ] && kill -0 $child 2>/dev/null; do
        lines=$(cat "\(output)"/*/\(steps == 0 ? "train.log" : "metrics.jsonl") 2>/dev/null | wc -l)
        [ "$lines" -gt \(steps) ] && break
        sleep 0.01; i=$((i + 1))
      done
      kill -\(signal) $child 2>/dev/null
      \(twice ? "sleep 0.2; kill -\(signal) $child 2>/dev/null" : "")
      wait $child
      """
    return try RunProgram.tool(["bash", "-c", script, path()] + arguments)
  }
}

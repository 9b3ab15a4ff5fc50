import Foundation
import PackagePlugin

/// Tells the program which commit it is built from: a Swift file with `let buildCommit`, made by git while building.
///
/// The file is made anew whenever git's record of the work tree's commits changes; changes that are not committed are not seen. Without
/// git, or outside a repository (a source archive), the commit is "unknown", and nothing fails.
@main
struct BuildCommit: BuildToolPlugin {
  func createBuildCommands(context: PluginContext, target: Target) -> [Command] {
    let package = context.package.directoryURL
    let output = context.pluginWorkDirectoryURL.appending(path: "BuildCommit.swift")
    let script = """
      commit=unknown
      [ ! -e "$1/.git" ] || commit=$(git -C "$1" rev-parse --short=12 HEAD 2>/dev/null) || commit=unknown
      echo "let buildCommit = \\"$commit\\"" > "$2"
      """
    return [
      .buildCommand(
        displayName: "Asking git for the commit", executable: URL(filePath: "/bin/sh"),
        arguments: ["-c", script, "sh", package.path, output.path], inputFiles: records(of: package),
        outputFiles: [output])
    ]
  }

  /// What git writes to at each commit and each change of branch.
  private func records(of package: URL) -> [URL] {
    let place = package.appending(path: ".git")
    var folder = place
    // In a further work tree `.git` is a file that names the folder.
    if let text = try? String(contentsOf: place, encoding: .utf8), text.hasPrefix("gitdir: ") {
      folder = URL(filePath: text.dropFirst(8).trimmingCharacters(in: .whitespacesAndNewlines), relativeTo: package)
    }
    return ["HEAD", "logs/HEAD"].map { folder.appending(path: $0) }.filter {
      FileManager.default.fileExists(atPath: $0.path)
    }
  }
}

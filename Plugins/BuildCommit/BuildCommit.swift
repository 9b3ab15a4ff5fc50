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
    var folder = package.appending(path: ".git")
    // In a further work tree `.git` is a file that names the folder, where `commondir` names the one with the branches.
    if let text = line(of: folder), text.hasPrefix("gitdir: ") {
      folder = place(String(text.dropFirst(8)), in: package)
    }
    let common = line(of: folder.appending(path: "commondir")).map { place($0, in: folder) } ?? folder
    let head = folder.appending(path: "HEAD")
    var records = [head, folder.appending(path: "logs/HEAD"), common.appending(path: "packed-refs")]
    if let text = line(of: head), text.hasPrefix("ref: ") {
      records.append(common.appending(path: String(text.dropFirst(5))))
    }
    return records.filter { FileManager.default.fileExists(atPath: $0.path) }
  }

  /// The text of a file that holds one line; nil where there is no file.
  private func line(of file: URL) -> String? {
    guard let text = try? String(contentsOf: file, encoding: .utf8) else { return nil }
    return text.trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// What `path` means, read in `folder`.
  private func place(_ path: String, in folder: URL) -> URL {
    path.hasPrefix("/") ? URL(filePath: path) : folder.appending(path: path).standardized
  }
}

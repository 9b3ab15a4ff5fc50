import Foundation
import Testing

/// The library prints nothing: what there is to tell goes to the caller's observer or logger.
@Suite struct SilenceTests {
  @Test func noSwiftOfTheLibraryPrints() throws {
    let printing = #/\b(?:print|debugPrint|dump|NSLog|puts|fputs|perror)\(|\.standard(?:Error|Output)\b/#
    try expectNone(of: printing, inFilesOf: "Sources", suffix: ".swift", except: "EspalierCLI/")
  }

  @Test func noKernelPrints() throws {
    let printing = #/\b(?:v?f?printf|f?puts|f?putc|putchar|perror)\(|\bstd(?:out|err)\b/#
    try expectNone(of: printing, inFilesOf: "CKernels", suffix: ".c")
  }

  /// Looks at all lines but comments.
  private func expectNone(
    of printing: Regex<Substring>, inFilesOf folder: String, suffix: String, except excluded: String? = nil
  ) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().appending(path: folder)
    let names = try FileManager.default.subpathsOfDirectory(atPath: root.path).filter { name in
      name.hasSuffix(suffix) && !(excluded.map { name.hasPrefix($0) } ?? false)
    }
    #expect(names.count > 20)
    for name in names {
      let source = try String(contentsOf: root.appending(path: name), encoding: .utf8)
      for line in source.split(separator: "\n") where !line.trimmingPrefix(while: { $0 == " " }).hasPrefix("//") {
        #expect(!line.contains(printing), "\(folder)/\(name): \(line)")
      }
    }
  }
}

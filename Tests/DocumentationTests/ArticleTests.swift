import Foundation
import Testing

/// The code of each article is the code that the tests here run, character for character.
///
/// Code in `NAME.md` stands in `NAME.swift`, in the same order, between `// snippet` and `// end`.
@Suite struct ArticleTests {
  private static let here = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
  private static let catalogue = here.deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Sources/Espalier/Espalier.docc")

  /// The articles that show code.
  private static func articles() throws -> [String] {
    try FileManager.default.contentsOfDirectory(atPath: catalogue.path).filter { $0.hasSuffix(".md") }
      .map { String($0.dropLast(3)) }.sorted().filter { try !codeBlocks(article: $0).isEmpty }
  }

  @Test func everyArticleShowsTheCodeThatRuns() throws {
    let articles = try Self.articles()
    #expect(articles.count >= 8)
    for article in articles {
      let (shown, run) = (try Self.codeBlocks(article: article), try Self.snippets(test: article))
      #expect(shown == run, "\(article): the article and its test differ")
    }
  }

  @Test func everySnippetIsShown() throws {
    let names = try FileManager.default.contentsOfDirectory(atPath: Self.here.path).map { String($0.dropLast(6)) }
    let tested = try names.filter { try !Self.snippets(test: $0).isEmpty }
    #expect(Set(tested) == Set(try Self.articles()))
  }

  /// What stands between ```` ```swift ```` and ```` ``` ```` in an article.
  private static func codeBlocks(article: String) throws -> [String] {
    let text = try String(contentsOf: catalogue.appending(path: article + ".md"), encoding: .utf8)
    return blocks(of: text, from: { $0 == "```swift" }, to: { $0 == "```" })
  }

  /// What stands between the markers of a test file.
  private static func snippets(test: String) throws -> [String] {
    let text = try String(contentsOf: here.appending(path: test + ".swift"), encoding: .utf8)
    return blocks(
      of: text, from: { $0.trimmingPrefix(while: { $0 == " " }) == "// snippet" },
      to: { $0.trimmingPrefix(while: { $0 == " " }) == "// end" })
  }

  /// The blocks between lines of two kinds, without the indentation of all of a block's lines.
  private static func blocks(
    of text: String, from begins: (Substring) -> Bool, to ends: (Substring) -> Bool
  ) -> [String] {
    var (blocks, block): ([String], [Substring]?) = ([], nil)
    for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
      if let lines = block {
        if ends(line) { blocks.append(undented(lines)) }
        block = ends(line) ? nil : lines + [line]
      } else if begins(line) {
        block = []
      }
    }
    return blocks
  }

  private static func undented(_ lines: [Substring]) -> String {
    let indentation = lines.filter { !$0.isEmpty }.map { $0.prefix { $0 == " " }.count }.min() ?? 0
    return lines.map { $0.dropFirst(indentation) }.joined(separator: "\n")
  }
}

import EspalierCore
import Testing

@Suite struct ErrorTests {
  /// Names and values come from files and command lines, and may hold anything.
  @Test func messagesAreOneLine() {
    for (quoted, shown) in [
      ("a\nb", "a b"), ("a\r\n", "a  "), ("\u{2028}x\u{2029}", " x "), ("\u{1B}[2J\0\u{85}", " [2J  "),
      ("é ✓ 語", "é ✓ 語"),
    ] {
      #expect(EspalierError.input("model: '\(quoted)' is unknown").message == "model: '\(shown)' is unknown")
    }
  }
}

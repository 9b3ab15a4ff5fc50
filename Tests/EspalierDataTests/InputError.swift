import EspalierCore
import Testing

/// Runs `body`, which must throw an error of that kind, and returns its message ("" where it did not).
@discardableResult
func message(
  of kind: EspalierError.Kind = .input, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) -> String {
  do {
    try body()
  } catch let error as EspalierError {
    #expect(error.kind == kind, "\(error)", sourceLocation: sourceLocation)
    #expect(!error.message.contains("\n"), sourceLocation: sourceLocation)
    return error.message
  } catch {
    Issue.record("\(error)", sourceLocation: sourceLocation)
    return ""
  }
  Issue.record("nothing was thrown", sourceLocation: sourceLocation)
  return ""
}

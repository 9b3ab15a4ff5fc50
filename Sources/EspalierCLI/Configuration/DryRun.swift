import EspalierCore

/// What a run would be, and what it would cost.
struct DryRun: Encodable {
  let configuration: RunConfiguration
  let plan: PlanResult

  /// - Throws: `EspalierError.usage` where there could be no such run.
  init(_ configuration: RunConfiguration) throws {
    self.configuration = configuration
    plan = try PlanResult(planning: configuration, seconds: 6)
  }

  func print(asJSON json: Bool) throws {
    if json { return try Terminal.json(self) }
    try Terminal.result(try configuration.yaml())
    try Terminal.result(plan.text)
  }
}

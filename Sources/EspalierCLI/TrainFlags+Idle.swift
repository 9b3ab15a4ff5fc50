import Espalier
import EspalierCore
import EspalierTopology

extension TrainFlags {
  /// Refuses a choice that the method could not heed. Defaults pass, and so do the numbers of the schedule that all methods share
  /// (`--gamma`, `--alpha`, `--update-every`, `--update-until`) and `--update-mode`, so that one command line serves every method.
  func refuseIdleFlags(_ run: RunConfiguration) throws {
    let (method, standard) = (run.method, RunConfiguration())
    let given: [(key: RunConfiguration.CodingKeys, isGiven: Bool)] = [
      (.guide, run.guide != standard.guide), (.scope, run.scope != standard.scope),
      (.exactSubset, exactSubset == true), (.wholeDenseLayers, wholeDenseLayers == true),
      (.extraBatches, extraBatches != nil), (.audit, audit != nil),
      (.powerprop, powerprop != nil), (.deepHoyer, deepHoyer != nil),
      (.initialSparsity, initialSparsity != nil), (.backwardSparsity, backwardSparsity != nil),
      (.pruneSchedule, pruneSchedule != nil), (.rounds, rounds != nil), (.rewindStep, rewindStep != nil),
    ]
    for (key, isGiven) in given where isGiven && method.idleKeys.contains(key) {
      let takers = RunConfiguration.Method.allCases.filter { !$0.idleKeys.contains(key) }
      let who = takers.count == 1 ? "only method \(takers[0].rawValue) takes it, the method is" : "not for method"
      throw EspalierError.usage("\(key.rawValue): \(who) \(method.rawValue); leave --\(key.rawValue) out")
    }
    if rewire != nil, run.distribution != .smallWorld {
      throw EspalierError.usage(
        "rewire: only distribution small-world takes it, the distribution is \(run.distribution.rawValue)")
    }
    try refuseSecondStart(run)
  }

  /// Refuses more than one thing that says which connections a run begins with.
  private func refuseSecondStart(_ run: RunConfiguration) throws {
    let method = run.method
    if run.distribution == .smallWorld, method.choosesStart || initialWeights != nil {
      let other = initialWeights != nil ? "--init" : "method " + method.rawValue
      throw EspalierError.usage(
        "distribution: small-world says which connections a run begins with, and so does \(other); choose another distribution"
      )
    }
    guard initialWeights != nil, let reason = method.ownStart else { return }
    throw EspalierError.usage(
      "init: method \(method.rawValue) \(reason); leave --init out, or train with method static")
  }

  /// Clears those of the flags `idle` that only some methods take. Returns which of them had been given.
  @discardableResult
  mutating func clearFlags(_ idle: Set<RunConfiguration.CodingKeys>) -> Set<RunConfiguration.CodingKeys> {
    var cleared: Set<RunConfiguration.CodingKeys> = []
    func clear<T>(_ key: RunConfiguration.CodingKeys, _ flag: inout T?) {
      guard idle.contains(key), flag != nil else { return }
      flag = nil
      cleared.insert(key)
    }
    clear(.guide, &guide)
    clear(.exactSubset, &exactSubset)
    clear(.wholeDenseLayers, &wholeDenseLayers)
    clear(.extraBatches, &extraBatches)
    clear(.audit, &audit)
    clear(.powerprop, &powerprop)
    clear(.deepHoyer, &deepHoyer)
    clear(.scope, &scope)
    clear(.initialSparsity, &initialSparsity)
    clear(.backwardSparsity, &backwardSparsity)
    clear(.pruneSchedule, &pruneSchedule)
    clear(.rounds, &rounds)
    clear(.rewindStep, &rewindStep)
    return cleared
  }
}

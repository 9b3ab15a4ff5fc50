import ArgumentParser
import Espalier
import EspalierBench

/// The flags of `plan` that ask what training takes on several ranks.
struct ScalingFlags: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Numbers of ranks: a list such as 1,2,12; a..b doubles from a to b, e.g. 1..4096.", valueName: "list"))
  var ranks: String?
  @Option(
    help: ArgumentHelp("10^9 bytes that a rank can send a second, e.g. 1.25 for 10 Gbit/s.", valueName: "gb/s"))
  var bandwidth: Double?
  @Option(
    help: ArgumentHelp("From one rank to another, one way, e.g. 20 for Ethernet.", valueName: "microseconds"))
  var latency: Double?
  @Option(help: ArgumentHelp("Write plots over ranks to this HTML file.", valueName: "file")) var plot: String?

  /// What they ask; nil where they do not.
  ///
  /// - Throws: `EspalierError.usage` for values out of range, or flags that lack others.
  func question() throws -> ScalingQuestion? {
    guard let ranks else {
      for (flag, isGiven) in [("bandwidth", bandwidth != nil), ("latency", latency != nil), ("plot", plot != nil)]
      where isGiven {
        throw EspalierError.usage("\(flag): is for several ranks; add --ranks, e.g. --ranks 1..64")
      }
      return nil
    }
    guard let bandwidth, let latency else {
      throw EspalierError.usage(
        "ranks: needs \(bandwidth == nil ? "--bandwidth GB/S" : "--latency MICROSECONDS") of what connects them, e.g. --bandwidth 1.25 --latency 20 for Ethernet of 10 Gbit/s"
      )
    }
    return ScalingQuestion(
      ranks: try RankList.parse(ranks),
      link: try RankLink(gigabytesPerSecond: bandwidth, latencyMicroseconds: latency))
  }
}

/// How many ranks, and what connects them.
struct ScalingQuestion {
  let ranks: [Int]
  let link: RankLink
}

/// Numbers of ranks as the command line has them: numbers and ranges, separated by commas.
enum RankList {
  /// Ranks at most: a batch has no more samples.
  private static let most = 65_536

  /// In rising order, each once. `a..b` is a, 2a, 4a and so on, up to b.
  ///
  /// - Throws: `EspalierError.usage` for what is no such list, or a number that is not 1 to 65536.
  static func parse(_ text: String) throws -> [Int] {
    let numbers = try text.split(separator: ",", omittingEmptySubsequences: false).flatMap { part in
      let ends = part.split(separator: "..", omittingEmptySubsequences: false).map {
        Int($0.trimmingCharacters(in: .whitespaces))
      }
      guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1] else {
        throw EspalierError.usage("ranks: '\(text)' is not a list such as 1,2,12 or a range such as 1..4096")
      }
      for number in [first, last] where !(1...most).contains(number) {
        throw EspalierError.usage("ranks: \(number) is out of range; expected 1 to \(most)")
      }
      guard first <= last else {
        throw EspalierError.usage("ranks: '\(part)' runs backwards; expected the smaller number first")
      }
      return Array(sequence(first: first) { 2 * $0 <= last ? 2 * $0 : nil })
    }
    return Set(numbers).sorted()
  }
}

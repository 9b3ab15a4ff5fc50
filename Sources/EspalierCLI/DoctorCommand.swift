import ArgumentParser
import EspalierCore
import EspalierData

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor", abstract: "Shows what Espalier finds on this machine.")

  @Option(help: "Threads.") var threads: Int?
  @Flag(help: "Print the result as one JSON object.") var json = false

  private struct Result: Encodable {
    struct Dataset: Encodable {
      let name: String
      let whole: Bool
    }
    let environment: RunEnvironment
    let datasets: [Dataset]
  }

  func run() throws {
    let context = try ComputeContext(threads: threads)
    let datasets = try DatasetCatalog.descriptions.map {
      Result.Dataset(name: $0.name, whole: try DatasetCatalog.inspect(name: $0.name, directory: nil).isWhole)
    }
    let result = Result(environment: RunEnvironment(context), datasets: datasets)
    guard !json else { return try Terminal.json(result) }
    let environment = result.environment
    try Terminal.result(
      """
      espalier          \(environment.version)
      processor         \(environment.processor), \(environment.processors) usable
      instruction set   \(environment.instructionSet) (of \(environment.instructionSets.joined(separator: ", ")))
      threads           \(environment.threadsGranted) of \(environment.threads) asked for
      OpenMP            \(environment.openmp)
      OpenBLAS          \(environment.openblas)
      """)
    for dataset in datasets {
      try Terminal.result("data set          \(dataset.name): \(dataset.whole ? "found" : "not found")")
    }
  }
}

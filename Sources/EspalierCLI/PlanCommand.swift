import ArgumentParser
import Espalier
import EspalierBench
import EspalierData
import Foundation

struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan", abstract: "Says what training a model will cost, before any training and without data.")

  @Option(help: "The model: \(ModelCatalog.names.joined(separator: ", ")).") var model: String?
  @Option(help: "Multiplies the model's channels.") var width: Double?
  @Option(help: "mlp only: units of the hidden layers, e.g. 512,512.") var hidden: String?
  @Option(help: "The data set, whose files are not needed; by default imagenet for models made for it.") var dataset:
    String?
  @Option(help: "folder and npy only: the data set's folder, for the sizes of its images.") var dataDir: String?
  @Option(help: "Fraction of weights that do not exist: 0 <= s < 1.") var sparsity: Double?
  @Option(help: "How layers share the connections: erdos-renyi, erk or uniform.") var distribution: String?
  @Option(help: "Samples a step.") var batchSize: Int?
  @Option(help: "Threads.") var threads: Int?
  @OptionGroup(title: "Several ranks") var scaling: ScalingFlags
  @Flag(help: "Print the result as one JSON object.") var json = false
  @Option(help: ArgumentHelp("Seconds for measuring.", visibility: .hidden)) var budget = 6.0

  func run() throws {
    guard budget >= 0, budget <= 600 else {
      throw EspalierError.usage("budget: \(budget) is out of range; expected 0 to 600 seconds")
    }
    let question = try scaling.question()
    let result = try PlanResult(planning: try resolve(), seconds: budget, scaling: question)
    if let plot = scaling.plot, let page = result.page { try ReportCommand.write(page, to: plot, flag: "plot") }
    if json { try Terminal.json(result) } else { try Terminal.result(result.text) }
  }

  /// Names and ranges as `train` takes them.
  private func resolve() throws -> RunConfiguration {
    let isLarge = ModelCatalog.isForImageNet(model ?? "")
    let dataset = dataset ?? (isLarge ? "imagenet" : nil)
    func flag(_ name: String, _ value: Any?) -> [String] { value.map { ["--\(name)=\($0)"] } ?? [] }
    let arguments =
      flag("model", model) + flag("width", width) + flag("hidden", hidden) + flag("dataset", dataset)
      + flag("data-dir", dataDir)
      + flag("sparsity", sparsity) + flag("distribution", distribution) + flag("batch-size", batchSize)
      + flag("threads", threads)
    let flags = try TrainFlags.parse(arguments)
    return try flags.resolve(
      for: try DatasetCatalog.plannable(flags.dataset ?? RunConfiguration().dataset, directory: dataDir))
  }
}

/// What `plan` prints.
struct PlanResult: Encodable {
  let model, dataset, distribution, cpu, isa: String
  let sparsity: Double
  let batchSize, threads: Int
  let parameters, sparsifiableWeights, nnz: Int
  let denseForwardFlops, sparseForwardFlops: Int
  let predictedPeakBytes: Int
  let memory: Memory
  let denseMs, sparseMs: Double
  let crossoverSparsity: RunResult.OrNull<Double>
  let layers: [Layer]
  /// Where ranks were asked for.
  let scaling: ScalingResult?

  /// What `predictedPeakBytes` adds up from.
  struct Memory: Encodable {
    let process, data, weights, activations: Int
  }

  struct Layer: Encodable {
    let name: String
    let inputs, outputs, positions, nnz: Int
    let density, denseMs, sparseMs: Double
    let source: String
  }

  /// Plans what `configuration` describes; measuring takes some `seconds`.
  init(planning configuration: RunConfiguration, seconds: Double, scaling: ScalingQuestion? = nil) throws {
    let process = ProcessMemory.residentBytes
    let description = try DatasetCatalog.plannable(configuration.dataset, directory: configuration.dataDir)
    let context = try ComputeContext(threads: configuration.threads)
    let spec = try ModelCatalog.spec(configuration.modelRequest(for: description))
    let loaderBytes = description.loaderBytes(
      batchSize: configuration.batchSize, height: spec.input.height, width: spec.input.width,
      threads: configuration.threads)
    let request = ModelPlan.Request(
      spec: spec, sparsity: configuration.startSparsity, distribution: configuration.distribution.distribution,
      batchSize: configuration.batchSize, testSamples: description.testCount,
      dataBytes: description.bytesInMemory + loaderBytes, processBytes: process)
    // Layers, sparse steps and dense steps, each their part.
    let plan = try Activity.during("measuring layers") {
      try ModelPlan(request, context: context, seconds: scaling == nil ? seconds : 0.3 * seconds)
    }
    let onRanks = try scaling.map { question in
      try Activity.during("measuring steps") {
        try ScalingPlan(plan, link: question.link, ranks: question.ranks, context: context, seconds: 0.3 * seconds)
      }
    }
    self.init(plan, scaling: onRanks, configuration: configuration, context: context)
  }

  private init(
    _ plan: ModelPlan, scaling: ScalingPlan?, configuration: RunConfiguration, context: ComputeContext
  ) {
    self.scaling = scaling.map(ScalingResult.init)
    let spec = plan.request.spec
    model = configuration.model
    dataset = configuration.dataset
    distribution = configuration.distribution.rawValue
    cpu = RunEnvironment(context).processor
    isa = context.instructionSet.name
    sparsity = configuration.startSparsity
    batchSize = configuration.batchSize
    threads = configuration.threads
    parameters = spec.parameters
    sparsifiableWeights = spec.sparsifiableWeights
    nnz = plan.connections.reduce(0, +)
    denseForwardFlops = spec.denseForwardFlops
    sparseForwardFlops = spec.forwardFlops(connections: plan.connections)
    predictedPeakBytes = plan.memory.peak
    memory = Memory(
      process: plan.memory.process, data: plan.memory.data, weights: plan.memory.weights,
      activations: plan.memory.activations)
    denseMs = plan.denseMilliseconds
    sparseMs = plan.sparseMilliseconds
    crossoverSparsity = RunResult.OrNull(value: plan.crossoverSparsity)
    layers = plan.layers.map {
      Layer(
        name: $0.layer.shape.name, inputs: $0.layer.shape.columns, outputs: $0.layer.shape.rows,
        positions: $0.layer.positions, nnz: $0.connections, density: $0.density, denseMs: $0.denseMilliseconds,
        sparseMs: $0.sparseMilliseconds, source: $0.source.rawValue)
    }
  }

  /// Plots of the ranks' steps; nil where no ranks were asked for.
  var page: String? { scaling?.page(title: "\(model) on several ranks: predicted", note: setting) }

  private var setting: String {
    "\(model) on \(dataset), \(distribution), \(100 * sparsity) % sparse, batch \(batchSize), threads \(threads), \(cpu), \(isa)"
  }

  /// For people.
  var text: String {
    func mebibytes(_ bytes: Int) -> String { String(format: "%.1f MiB", Double(bytes) / 1_048_576) }
    func megaflops(_ flops: Int) -> String { String(format: "%.2f MFLOP", Double(flops) * 1e-6) }
    let crossover =
      crossoverSparsity.value.map { String(format: "from %.0f %% sparsity on", 100 * $0) }
      ?? "at no sparsity up to 99 %"
    let head = """
      \(setting)
      parameters      \(parameters), of which \(sparsifiableWeights) can be sparse
      connections     \(nnz)
      forward         \(megaflops(sparseForwardFlops)) a sample, dense \(megaflops(denseForwardFlops))
      memory          \(mebibytes(predictedPeakBytes)): \(mebibytes(memory.activations)) activations, gradients, workspaces; \(mebibytes(memory.weights)) weights, gradients, momentum; \(mebibytes(memory.data)) data; \(mebibytes(memory.process)) program
      a step          \(String(format: "%.1f ms in the layers below, dense %.1f ms", sparseMs, denseMs)); sparse is faster \(crossover)

      """
    let width = max(20, (layers.map(\.name.count).max() ?? 0) + 1)
    func cell(_ text: String) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
    let heading = cell("layer") + " inputs outputs positions      nnz  density  dense ms sparse ms"
    let lines = layers.map {
      cell($0.name)
        + String(
          format: "%7d%8d%10d%9d%9.4f%10.3f%10.3f", $0.inputs, $0.outputs, $0.positions, $0.nnz, $0.density, $0.denseMs,
          $0.sparseMs) + "  \($0.source)"
    }
    return head + ([heading] + lines + (scaling?.lines ?? [])).joined(separator: "\n")
  }
}

import Foundation
import TestSupport
import Testing

/// Another package can depend on a tagged version of this one, in spite of its C flags, and train on two threads.
@Suite struct PackageImportTests {
  private static let manifest = """
    // swift-tools-version: 6.2
    import PackageDescription

    let package = Package(
      name: "user",
      dependencies: [.package(url: "file://REPOSITORY", from: "0.1.0")],
      targets: [
        .executableTarget(name: "user", dependencies: [.product(name: "Espalier", package: "espalier")])
      ]
    )
    """

  private static let program = """
    import Espalier

    struct Silent: TrainingObserver {}

    let context = try ComputeContext(threads: 2)
    let dataset = try ImageDataset.synthetic(trainCount: 200, testCount: 40, classes: 4, height: 8, width: 8)
    let spec = try ModelCatalog.spec(
      ModelCatalog.Request(
        name: "mlp", hidden: [32], images: FeatureSize(channels: 1, height: 8, width: 8), classes: 4))
    var options = TrainingOptions(epochs: nil, maxSteps: 30)
    options.batchSize = 20
    let timetable = try TrainingTimetable(options, trainingSamples: dataset.train.count)
    let model = try Model(sparse: spec, sparsity: 0.8, random: CounterRandom(seed: options.seed), context: context)
    let updater = try GSE(schedule: timetable.updates(interval: 10, until: 0.75, alpha: 0.2))
    let trainer = try Trainer(
      model: model, dataset: dataset, normalization: Normalization(mean: [0.5], deviation: [0.2]), options: options,
      updater: updater, context: context)
    let result = try trainer.run(observer: Silent())
    print("threads \\(context.threadsGranted) steps \\(result.steps) updates \\(result.updates) nnz \\(model.connections)")
    """

  /// Variables that `swift test` sets for what it runs, and others that would reach into git or OpenMP.
  private var environment: [String: String?] {
    let disturbing = ["SWIFT", "SWT_", "XCT", "LLVM_", "GIT_", "OMP_", "DYLD_", "LD_LIBRARY_PATH"]
    let names = ProcessInfo.processInfo.environment.keys.filter { name in disturbing.contains { name.hasPrefix($0) } }
    return Dictionary(uniqueKeysWithValues: names.map { ($0, nil) })
  }

  @Test(.timeLimit(.minutes(20)))
  func aPackageThatDependsOnAVersionTrains() throws {
    let place = try IDXFolder()
    let settings = try place.write(
      [UInt8](
        "[user]\nname = test\nemail = test@localhost\n[safe]\ndirectory = *\n[init]\ndefaultBranch = main\n".utf8),
      to: "gitconfig")
    var environment = environment
    environment["GIT_CONFIG_GLOBAL"] = settings
    @discardableResult func run(_ arguments: [String], in folder: String? = nil) throws -> RunProgram {
      let program = try RunProgram.tool(arguments, environment: environment, in: folder)
      try #require(program.status == 0, "\(arguments): \(program.text) \(program.error)")
      return program
    }

    let repository = place.path + "/espalier"
    try makeRepository(repository) { try run($0, in: $1) }
    try run(["git", "tag", "--force", "0.1.0"], in: repository)
    let user = try place.makeFolder("user")
    try place.write(
      [UInt8](Self.manifest.replacing("REPOSITORY", with: repository).utf8), to: "user/Package.swift")
    try place.write([UInt8](Self.program.utf8), to: "user/Sources/user/main.swift")
    let scratch = place.path + "/scratch"
    try run(["swift", "build", "--scratch-path", scratch], in: user)
    #expect(try run([scratch + "/debug/user"]).text == "threads 2 steps 30 updates 2 nnz 435\n")
  }

  /// A clone of this package's repository; of a copy, where the package came without one.
  private func makeRepository(_ path: String, run: ([String], String?) throws -> Void) throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path
    let files = FileManager.default
    guard !files.fileExists(atPath: root + "/.git") else {
      return try run(["git", "clone", "--quiet", root, path], nil)
    }
    try files.createDirectory(atPath: path, withIntermediateDirectories: false)
    for name in try files.contentsOfDirectory(atPath: root) where !name.hasPrefix(".build") && name != "runs" {
      try files.copyItem(atPath: "\(root)/\(name)", toPath: "\(path)/\(name)")
    }
    try run(["git", "init", "--quiet"], path)
    try run(["git", "add", "--all"], path)
    try run(["git", "commit", "--quiet", "--message", "Copy"], path)
  }
}

// swift-tools-version: 6.2
import PackageDescription

/// A C target under CKernels/, compiled with OpenMP.
func kernels(_ name: String, _ folder: String, dependencies: [Target.Dependency] = []) -> Target {
  .target(
    name: name,
    dependencies: dependencies,
    path: "CKernels/\(folder)",
    cSettings: [
      .unsafeFlags(["-fopenmp", "-Wall", "-Wextra"]),
      .headerSearchPath("."),
      .define("NDEBUG", .when(configuration: .release)),
    ],
    linkerSettings: [.linkedLibrary("omp5")]
  )
}

let package = Package(
  name: "espalier",
  products: [
    .library(name: "Espalier", targets: ["Espalier"]),
    .library(name: "EspalierBaselines", targets: ["EspalierBaselines"]),
    .library(name: "EspalierBench", targets: ["EspalierBench"]),
    .library(name: "EspalierMPI", targets: ["EspalierMPI"]),
    .executable(name: "espalier", targets: ["EspalierCLI"]),
  ],
  traits: [
    .trait(name: "MPI", description: "Training on several processes or machines, over Open MPI (libopenmpi-dev).")
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
  ],
  targets: [
    // Kernels in C
    kernels("EspRuntime", "Runtime"),
    kernels("EspSparseMatmul", "SparseMatmul", dependencies: ["EspRuntime"]),
    kernels("EspSparseConv", "SparseConv", dependencies: ["EspSparseMatmul"]),
    kernels("EspSampling", "Sampling", dependencies: ["EspSparseConv"]),
    kernels("EspLayers", "Layers", dependencies: ["EspSampling"]),
    kernels("EspImages", "Images", dependencies: ["EspRuntime", "EspLibJPEG", "EspLibPNG"]),
    kernels("EspDense", "Dense", dependencies: ["EspSparseConv", "EspOpenBLAS"]),
    // Empty without the trait, so that a plain build needs no MPI
    .target(
      name: "EspMPI", dependencies: [.target(name: "EspOpenMPI", condition: .when(traits: ["MPI"]))],
      path: "CKernels/MPI", cSettings: [.define("ESP_WITH_MPI", .when(traits: ["MPI"]))]),
    .systemLibrary(
      name: "EspOpenMPI", path: "CKernels/OpenMPI", pkgConfig: "ompi-c", providers: [.apt(["libopenmpi-dev"])]),
    .systemLibrary(
      name: "EspOpenBLAS", path: "CKernels/OpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "EspZlib", path: "CKernels/Zlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .systemLibrary(
      name: "EspLibJPEG", path: "CKernels/LibJPEG", pkgConfig: "libjpeg", providers: [.apt(["libjpeg62-turbo-dev"])]),
    .systemLibrary(name: "EspLibPNG", path: "CKernels/LibPNG", pkgConfig: "libpng", providers: [.apt(["libpng-dev"])]),
    .systemLibrary(
      name: "EspOpenSSL", path: "CKernels/OpenSSL", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),

    // Swift modules, each of which sees only those above it
    .target(
      name: "EspalierCore",
      dependencies: ["EspRuntime", "EspSparseMatmul", "EspSparseConv", "EspSampling", "EspLayers"]),
    .target(name: "EspalierTopology", dependencies: ["EspalierCore"]),
    .target(name: "EspalierData", dependencies: ["EspalierCore", "EspZlib", "EspImages"]),
    .target(
      name: "EspalierProtobuf", dependencies: [.product(name: "SwiftProtobuf", package: "swift-protobuf")],
      exclude: ["protos"]),
    .target(
      name: "Espalier",
      dependencies: [
        "EspalierCore", "EspalierTopology", "EspalierData", "EspalierProtobuf", "EspOpenSSL", "EspZlib",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .target(
      name: "EspalierMPI", dependencies: ["EspalierCore", .target(name: "EspMPI", condition: .when(traits: ["MPI"]))]),
    .target(name: "EspalierBaselines", dependencies: ["Espalier", "EspDense"]),
    .target(name: "EspalierBench", dependencies: ["EspalierBaselines", "EspDense"]),
    .executableTarget(
      name: "EspalierCLI",
      dependencies: [
        "Espalier", "EspalierBaselines", "EspalierBench", "EspalierMPI", "Yams",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ],
      plugins: ["BuildCommit"]),
    .plugin(name: "BuildCommit", capability: .buildTool),

    // Tests
    .target(name: "TestImages", dependencies: ["EspLibJPEG", "EspLibPNG"], path: "Tests/TestImages"),
    .target(name: "TestSupport", dependencies: ["TestImages"], path: "Tests/TestSupport"),
    .testTarget(
      name: "KernelTests",
      dependencies: [
        "EspRuntime", "EspSparseMatmul", "EspSparseConv", "EspSampling", "EspLayers", "EspImages", "EspDense",
        "TestSupport",
      ]),
    .target(name: "EspalierTestRanks", dependencies: ["EspalierCore"], path: "Tests/TestRanks"),
    .testTarget(name: "EspalierCoreTests", dependencies: ["EspalierCore", "EspalierTestRanks", "TestSupport"]),
    .testTarget(name: "EspalierTopologyTests", dependencies: ["EspalierTopology", "TestSupport"]),
    .testTarget(
      name: "EspalierDataTests", dependencies: ["EspalierData", "EspImages", "TestSupport"], exclude: ["Fixtures"]),
    .testTarget(
      name: "EspalierTests",
      dependencies: ["Espalier", "EspalierBaselines", "EspalierProtobuf", "EspalierTestRanks", "TestSupport"]),
    .testTarget(name: "EspalierBenchTests", dependencies: ["EspalierBench", "EspalierTestRanks"]),
    // The code of the documentation, which sees what another package sees.
    .testTarget(
      name: "DocumentationTests",
      dependencies: [
        "Espalier", .product(name: "Logging", package: "swift-log"),
        .product(name: "InMemoryLogging", package: "swift-log"),
      ], packageAccess: false),
    .testTarget(name: "CommandLineTests", dependencies: ["EspalierCLI", "EspalierData", "TestSupport"]),
  ],
  swiftLanguageModes: [.v6],
  cLanguageStandard: .c11
)

// `make sanitize` builds the kernels and their tests alone.
if Context.environment["ESPALIER_KERNELS_ONLY"] != nil {
  package.products = []
  package.dependencies = []
  package.targets.removeAll { target in
    target.name.hasPrefix("Espalier")
      || ["CommandLineTests", "DocumentationTests", "BuildCommit"].contains(target.name)
  }
}

// `make fuzz` builds the fuzzers instead of the products. libFuzzer brings their `main`, so the command becomes a library.
if Context.environment["ESPALIER_FUZZ"] != nil {
  let command = package.targets.filter { $0.name == "EspalierCLI" }
  package.targets.removeAll { $0.name == "EspalierCLI" || $0.type == .test }
  package.targets += command.map { target in
    .target(
      name: target.name, dependencies: target.dependencies,
      swiftSettings: [.unsafeFlags(["-Xfrontend", "-entry-point-function-name", "-Xfrontend", "command_main"])],
      plugins: target.plugins)
  }
  package.targets += [
    .target(name: "FuzzEntries", dependencies: ["EspalierCLI"], path: "Tests/Fuzz/Entries"),
    .executableTarget(name: "Fuzz", dependencies: ["FuzzEntries"], path: "Tests/Fuzz/Main"),
  ]
  package.products = [.executable(name: "fuzz", targets: ["Fuzz"])]
}

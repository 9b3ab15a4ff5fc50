// swift-tools-version: 6.2
import PackageDescription

// A package of its own, so that what it depends on is nobody else's. In this folder:
//   swift package --disable-sandbox benchmark --filter '.*features.3 .*'
let package = Package(
  name: "espalier-benchmarks",
  dependencies: [
    .package(name: "espalier", path: ".."),
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []),
  ],
  targets: [
    .executableTarget(
      name: "Kernels",
      dependencies: [
        .product(name: "Benchmark", package: "benchmark"),
        .product(name: "Espalier", package: "espalier"),
        .product(name: "EspalierBench", package: "espalier"),
      ],
      path: "Kernels",
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
    .executableTarget(
      name: "Loader", dependencies: [.product(name: "Espalier", package: "espalier")], path: "Loader"),
    .executableTarget(
      name: "Scaling", dependencies: [.product(name: "Espalier", package: "espalier")], path: "Scaling"),
  ]
)

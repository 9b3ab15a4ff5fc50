import EspalierCore
import EspalierTopology

/// The numbers of a run that the model does not hold, in one file: the optimizer's state of each parameter, the connections that
/// each sparse layer ever had, which weights of a dense layer live, and what a method with dense weights keeps.
enum TrainingTensors {
  static let fileName = "training.safetensors"

  /// Names as `optimizer.features.0.weight.momentum_buffer`, `topology.features.0.weight.0`, `explored.features.0.crow_indices` (U64), `.col_indices` (U32).
  static func write(_ trainer: Trainer, in folder: String) throws {
    var entries: [SafetensorsWriter.Entry] = []
    for parameter in trainer.model.parameters {
      for (name, state) in zip(trainer.optimizer.stateNames, parameter.optimizerState) {
        entries.append(
          .init(name: "optimizer.\(parameter.name).\(name)", type: .float32, shape: [parameter.count]) {
            try $0(UnsafeRawBufferPointer(state.buffer))
          })
      }
    }
    for parameter in trainer.model.sparseParameters {
      for (number, state) in parameter.topologyState.enumerated() {
        entries.append(
          .init(name: "topology.\(parameter.name).\(number)", type: .float32, shape: [parameter.count]) {
            try $0(UnsafeRawBufferPointer(state.buffer))
          })
      }
    }
    for parameter in trainer.model.denseWeights {
      guard let words = parameter.mask?.words else { continue }
      entries.append(
        .init(name: "mask.\(parameter.name)", type: .uint64, shape: [words.count]) {
          try $0(UnsafeRawBufferPointer(words.buffer))
        })
    }
    for (name, values) in trainer.denseMethod?.tensors ?? [] {
      entries.append(
        .init(name: "method." + name, type: .float32, shape: [values.count]) {
          try $0(UnsafeRawBufferPointer(values.buffer))
        })
    }
    for (parameter, tracker) in zip(trainer.model.sparseParameters, trainer.topology?.exploration ?? []) {
      guard let explored = tracker.explored else { continue }
      let name = "explored." + parameter.layerName
      entries.append(
        .init(name: name + ".crow_indices", type: .uint64, shape: [explored.rows + 1]) {
          try $0(UnsafeRawBufferPointer(explored.rowStarts.buffer))
        })
      entries.append(
        .init(name: name + ".col_indices", type: .uint32, shape: [explored.count]) {
          try $0(
            UnsafeRawBufferPointer(
              UnsafeMutableBufferPointer(rebasing: explored.columnIndices.buffer[..<explored.count])))
        })
    }
    try SafetensorsWriter(entries: entries).write(to: folder + "/" + fileName)
  }

  /// Puts what `write` wrote into a trainer whose model has its weights already.
  ///
  /// - Throws: `EspalierError.input` where something is missing or does not fit.
  static func read(into trainer: Trainer, from folder: String) throws {
    let file = try SafetensorsFile(path: folder + "/" + fileName)
    if trainer.progress.optimizerSteps > 0 {
      for parameter in trainer.model.parameters {
        trainer.optimizer.prepare(parameter)
        for (name, state) in zip(trainer.optimizer.stateNames, parameter.optimizerState) {
          let tensor = "optimizer.\(parameter.name).\(name)"
          try file.expect(tensor, shape: [parameter.count], types: [.float32])
          try file.read(tensor, into: UnsafeMutableRawBufferPointer(state.buffer))
        }
      }
    }
    for parameter in trainer.model.denseWeights {
      guard let words = parameter.mask?.words else { continue }
      try file.expect("mask." + parameter.name, shape: [words.count], types: [.uint64])
      try file.read("mask." + parameter.name, into: UnsafeMutableRawBufferPointer(words.buffer))
    }
    for (name, values) in trainer.denseMethod?.tensors ?? [] {
      try file.expect("method." + name, shape: [values.count], types: [.float32])
      try file.read("method." + name, into: UnsafeMutableRawBufferPointer(values.buffer))
    }
    guard let topology = trainer.topology else { return }
    for parameter in trainer.model.sparseParameters { try readTopologyState(of: parameter, from: file) }
    topology.exploration = try trainer.model.sparseParameters.map { parameter in
      ExplorationTracker(parameter.matrix, explored: try explored(by: parameter.matrix, in: file))
    }
  }

  private static func readTopologyState(of parameter: SparseParameter, from file: SafetensorsFile) throws {
    parameter.topologyState = []
    while case let name = "topology.\(parameter.name).\(parameter.topologyState.count)", file.entry(named: name) != nil
    {
      try file.expect(name, shape: [parameter.count], types: [.float32])
      let state = parameter.makeOptimizerState()
      try file.read(name, into: UnsafeMutableRawBufferPointer(state.buffer))
      parameter.topologyState.append(state)
    }
  }

  /// The connections that a layer ever had; nil where counting them was given up.
  private static func explored(by matrix: SparseMatrix, in file: SafetensorsFile) throws -> SparseStructure? {
    let name = "explored." + matrix.name
    guard let entry = file.entry(named: name + ".col_indices"), entry.shape.count == 1, let count = entry.shape.first
    else { return nil }
    try file.expect(name + ".crow_indices", shape: [matrix.rows + 1], types: [.uint64])
    try file.expect(name + ".col_indices", shape: [count], types: [.uint32])
    let site = matrix.site
    guard count <= site.largestBuffer(gamma: matrix.meter.gamma) else {
      throw EspalierError.input("\(file.path): '\(name)' has \(count) connections, too many for its layer")
    }
    let starts = MeteredBuffer<UInt64>(count: matrix.rows + 1, tag: .structure, site: site, meter: matrix.meter)
    let columns = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: matrix.meter)
    try file.read(name + ".crow_indices", into: UnsafeMutableRawBufferPointer(starts.buffer))
    try file.read(name + ".col_indices", into: UnsafeMutableRawBufferPointer(columns.buffer))
    guard starts[matrix.rows] == UInt64(count) else {
      throw EspalierError.input(
        "\(file.path): '\(name)' has \(count) columns, its row starts end at \(starts[matrix.rows])")
    }
    let structure = SparseStructure(
      rows: matrix.rows, columns: matrix.columns, rowStarts: starts, columnIndices: columns)
    try structure.check(name: "\(file.path): '\(name)'")
    return structure
  }
}

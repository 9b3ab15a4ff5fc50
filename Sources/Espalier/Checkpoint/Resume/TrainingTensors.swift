import EspalierCore
import EspalierTopology
import Foundation

/// The numbers of a run that the model does not hold, in one file: the optimizer's state of each parameter, the connections that
/// each sparse layer ever had, Top-KAST's weights that are not used, which weights of a dense layer live, and what a method with dense
/// weights keeps.
enum TrainingTensors {
  static let fileName = "training.safetensors"

  /// Names as `optimizer.features.0.weight.momentum_buffer`, `topology.features.0.weight.0`, `explored.features.0.crow_indices` (U64), `.col_indices` (U32).
  static func write(_ trainer: Trainer, in folder: String) throws {
    var entries: [SafetensorsWriter.Entry] = []
    let stateNames = trainer.optimizer.stateNames
    for parameter in trainer.model.trained {
      guard trainer.progress.optimizerSteps == 0 || parameter.optimizerState.count == stateNames.count else {
        throw EspalierError.usage(
          "\(type(of: trainer.optimizer)): has \(parameter.optimizerState.count) buffers of \(parameter.name)'s state, and its state names are \(stateNames); expected one each"
        )
      }
      for (name, state) in zip(stateNames, parameter.optimizerState) {
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
      entries += structureEntries(explored, name: "explored." + parameter.layerName)
    }
    for backward in trainer.model.sparseParameters.compactMap(\.backward) { entries += backwardSetEntries(backward) }
    try SafetensorsWriter(entries: entries).write(to: folder + "/" + fileName)
  }

  /// Puts what `write` wrote into a trainer whose model has its weights already.
  ///
  /// - Throws: `EspalierError.input` where something is missing or does not fit.
  static func read(into trainer: Trainer, from folder: String) throws {
    let file = try SafetensorsFile(path: folder + "/" + fileName)
    for parameter in trainer.model.sparseParameters {
      parameter.backward = try backwardSet(of: parameter, in: file, context: trainer.context)
    }
    try checkOptimizer(trainer, against: file)
    if trainer.progress.optimizerSteps > 0 {
      for parameter in trainer.model.trained {
        trainer.optimizer.prepare(parameter)
        for (name, state) in zip(trainer.optimizer.stateNames, parameter.optimizerState) {
          let tensor = "optimizer.\(parameter.name).\(name)"
          try file.expect(tensor, shape: [parameter.count], types: [.float32])
          try file.read(tensor, into: UnsafeMutableRawBufferPointer(state.buffer))
        }
      }
    }
    for parameter in trainer.model.denseWeights {
      if let mask = parameter.mask { try read(mask, of: parameter.name, from: file) }
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

  /// - Throws: `EspalierError.input` where the file holds another optimizer's state than the trainer's.
  private static func checkOptimizer(_ trainer: Trainer, against file: SafetensorsFile) throws {
    guard let parameter = trainer.model.trained.first, trainer.progress.optimizerSteps > 0 else { return }
    let (prefix, backward) = ("optimizer.\(parameter.name).", "optimizer.\(parameter.name).backward.")
    let own = file.names.filter { $0.hasPrefix(prefix) && !$0.hasPrefix(backward) }
    let (stored, expected) = (
      own.map { String($0.dropFirst(prefix.count)) }.sorted(), trainer.optimizer.stateNames.sorted()
    )
    guard stored == expected else {
      throw EspalierError.input(
        "\(file.path): holds the state \(stored) of another optimizer, \(type(of: trainer.optimizer)) has \(expected); go on with the one that the run began with"
      )
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
    try structure("explored." + matrix.name, in: file, site: matrix.site, meter: matrix.meter)
  }
}

// MARK: Masks

extension TrainingTensors {
  private static func read(_ mask: ConnectionMask, of name: String, from file: SafetensorsFile) throws {
    try file.expect("mask." + name, shape: [mask.words.count], types: [.uint64])
    try file.read("mask." + name, into: UnsafeMutableRawBufferPointer(mask.words.buffer))
  }

  /// Gives a model with dense weights the masks that a run's checkpoint has; does nothing where it has none.
  ///
  /// - Throws: `EspalierError.input` where one does not fit.
  static func readMasks(into model: Model, from folder: String, meter: AllocationMeter) throws {
    guard let file = try file(in: folder) else { return }
    for (parameter, layer) in zip(model.denseWeights, model.spec.weightLayers)
    where file.entry(named: "mask." + parameter.name) != nil {
      let (rows, columns) = (layer.shape.rows, layer.shape.columns)
      let mask = ConnectionMask(
        rows: rows, columns: columns, site: layer.site(connections: rows * columns), meter: meter)
      try read(mask, of: parameter.name, from: file)
      parameter.mask = mask
    }
  }

  /// Live weights of each tensor that a run's checkpoint has a mask of, by the tensor's name.
  static func liveWeights(in folder: String) throws -> [String: Int] {
    guard let file = try file(in: folder) else { return [:] }
    var counts: [String: Int] = [:]
    for name in file.names where name.hasPrefix("mask.") {
      guard let entry = file.entry(named: name), entry.type == .uint64 else { continue }
      var words = [UInt64](repeating: 0, count: entry.byteRange.count / 8)
      try words.withUnsafeMutableBytes { try file.read(name, into: $0) }
      counts[String(name.dropFirst(5))] = words.reduce(0) { $0 + $1.nonzeroBitCount }
    }
    return counts
  }

  /// nil where there is none, as beside weights that are no run's.
  private static func file(in folder: String) throws -> SafetensorsFile? {
    let path = folder + "/" + fileName
    return FileManager.default.fileExists(atPath: path) ? try SafetensorsFile(path: path) : nil
  }
}

// MARK: Structures

extension TrainingTensors {
  /// As `name`.crow_indices (U64) and `name`.col_indices (U32).
  private static func structureEntries(_ structure: SparseStructure, name: String) -> [SafetensorsWriter.Entry] {
    [
      .init(name: name + ".crow_indices", type: .uint64, shape: [structure.rows + 1]) {
        try $0(UnsafeRawBufferPointer(structure.rowStarts.buffer))
      },
      .init(name: name + ".col_indices", type: .uint32, shape: [structure.count]) {
        try $0(
          UnsafeRawBufferPointer(
            UnsafeMutableBufferPointer(rebasing: structure.columnIndices.buffer[..<structure.count])))
      },
    ]
  }

  /// Reads and checks a structure of a layer; nil where the file has none of this name.
  private static func structure(
    _ name: String, in file: SafetensorsFile, site: WeightSite, meter: AllocationMeter
  ) throws -> SparseStructure? {
    guard let entry = file.entry(named: name + ".col_indices"), entry.shape.count == 1, let count = entry.shape.first
    else { return nil }
    try file.expect(name + ".crow_indices", shape: [site.rows + 1], types: [.uint64])
    try file.expect(name + ".col_indices", shape: [count], types: [.uint32])
    guard count <= site.largestBuffer(gamma: meter.gamma) else {
      throw EspalierError.input("\(file.path): '\(name)' has \(count) connections, too many for its layer")
    }
    let starts = MeteredBuffer<UInt64>(count: site.rows + 1, tag: .structure, site: site, meter: meter)
    let columns = MeteredBuffer<UInt32>(count: count, tag: .structure, site: site, meter: meter)
    try file.read(name + ".crow_indices", into: UnsafeMutableRawBufferPointer(starts.buffer))
    try file.read(name + ".col_indices", into: UnsafeMutableRawBufferPointer(columns.buffer))
    guard starts[site.rows] == UInt64(count) else {
      throw EspalierError.input(
        "\(file.path): '\(name)' has \(count) columns, its row starts end at \(starts[site.rows])")
    }
    let structure = SparseStructure(
      rows: site.rows, columns: site.columns, rowStarts: starts, columnIndices: columns)
    try structure.check(name: "\(file.path): '\(name)'")
    return structure
  }
}

// MARK: Top-KAST

extension TrainingTensors {
  /// As `backward.features.0` (trained and not used) and `remembered.features.0`, each with .values, and `field.features.0` (U64): seed and frontier.
  private static func backwardSetEntries(_ backward: BackwardSet) -> [SafetensorsWriter.Entry] {
    let lists = [("backward.", backward.weights), ("remembered.", backward.remembered)]
    return lists.flatMap { prefix, list in
      structureEntries(list.structure, name: prefix + backward.layerName) + [
        .init(name: prefix + backward.layerName + ".values", type: .float32, shape: [list.count]) {
          try $0(UnsafeRawBufferPointer(list.values.buffer))
        }
      ]
    } + [
      .init(name: "field." + backward.layerName, type: .uint64, shape: [2]) { sink in
        try [backward.field.seed, UInt64(backward.frontier)].map(\.littleEndian).withUnsafeBytes { try sink($0) }
      }
    ]
  }

  /// nil where the layer explores no more.
  private static func backwardSet(
    of parameter: SparseParameter, in file: SafetensorsFile, context: ComputeContext
  ) throws -> BackwardSet? {
    let matrix = parameter.matrix
    let name = matrix.name
    guard file.entry(named: "field." + name) != nil else { return nil }
    try file.expect("field." + name, shape: [2], types: [.uint64])
    var numbers: [UInt64] = [0, 0]
    try numbers.withUnsafeMutableBytes { try file.read("field." + name, into: $0) }
    guard let frontier = Int(exactly: UInt64(littleEndian: numbers[1])), frontier <= StartingField.levels else {
      throw EspalierError.input("\(file.path): tensor 'field.\(name)' has the level \(numbers[1])")
    }
    let unused = file.entry(named: "backward.\(name).col_indices")?.shape.first ?? 0
    guard unused <= matrix.rows * matrix.columns - matrix.count else {
      throw EspalierError.input("\(file.path): 'backward.\(name)' has \(unused) connections, too many for its layer")
    }
    let site = BackwardSet.site(of: matrix, unused: unused)
    func list(_ name: String) throws -> WeightList {
      guard let structure = try structure(name, in: file, site: site, meter: matrix.meter) else {
        throw EspalierError.input("\(file.path): tensor '\(name).col_indices' is missing")
      }
      try file.expect(name + ".values", shape: [structure.count], types: [.float32])
      let values = MeteredBuffer<Float>(count: structure.count, tag: .values, site: site, meter: matrix.meter)
      try file.read(name + ".values", into: UnsafeMutableRawBufferPointer(values.buffer))
      return WeightList(structure: structure, values: values)
    }
    let field = StartingField(
      rows: matrix.rows, columns: matrix.columns, connections: matrix.count, layer: parameter.index,
      random: CounterRandom(seed: UInt64(littleEndian: numbers[0])), context: context)
    return BackwardSet(
      of: matrix, weights: try list("backward." + name), remembered: try list("remembered." + name), field: field,
      frontier: frontier)
  }
}

/// Something that an optimizer trains: numbers, their gradients, and whatever state the optimizer keeps of them.
public protocol Parameter: AnyObject {
  /// As in PyTorch's state_dict, e.g. `features.0.weight`.
  var name: String { get }
  /// How many numbers there are.
  var count: Int { get }
  /// [count], the gradient of the last backward pass.
  var gradient: MeteredBuffer<Float> { get }
  /// The optimizer's state: some buffers of [count].
  var optimizerState: [MeteredBuffer<Float>] { get set }
  /// How much stronger than others its numbers are drawn to zero by weight decay.
  var weightDecayScale: Double { get }
  /// Changes the numbers in place.
  func withMutableValues<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R
  /// A buffer of zeros for the optimizer's use.
  func makeOptimizerState() -> MeteredBuffer<Float>
}

extension Parameter {
  /// As strongly as others.
  public var weightDecayScale: Double { 1 }
}

/// A bias or norm parameter: a short vector, one number an output. Weights of dense methods, too.
public final class VectorParameter: Parameter {
  public let name: String
  /// The numbers.
  public let values: MeteredBuffer<Float>
  public let gradient: MeteredBuffer<Float>
  public var optimizerState: [MeteredBuffer<Float>] = []
  /// Which of a dense layer's weights live, where a method prunes them: dead ones are zero. nil: all.
  public var mask: ConnectionMask?
  private let tag: AllocationTag
  private let meter: AllocationMeter

  /// `count` copies of `value`.
  public convenience init(name: String, count: Int, value: Float = 0, meter: AllocationMeter) {
    self.init(name: name, count: count, value: value, tag: .vector, meter: meter)
  }

  package init(name: String, count: Int, value: Float, tag: AllocationTag, meter: AllocationMeter) {
    self.name = name
    self.tag = tag
    self.meter = meter
    values = MeteredBuffer(count: count, tag: tag, site: nil, meter: meter)
    values.buffer.update(repeating: value)
    gradient = .zeros(count: count, tag: tag, site: nil, meter: meter)
  }

  public var count: Int { values.count }

  public func withMutableValues<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R {
    try body(values.buffer)
  }

  public func makeOptimizerState() -> MeteredBuffer<Float> {
    .zeros(count: count, tag: tag, site: nil, meter: meter)
  }

  /// Bytes of values, gradient, optimizer state, and of the mask.
  public var bytes: Int { 4 * count * (2 + optimizerState.count) + 8 * (mask?.words.count ?? 0) }
}

/// A sparse layer's weights: matrix, gradient at the active connections, optimizer state; one number a connection each.
public final class SparseParameter: Parameter {
  /// Structure and values.
  public let matrix: SparseMatrix
  /// The layer's number among the model's sparse layers: keys its random streams.
  public let index: Int
  public private(set) var gradient: MeteredBuffer<Float>
  public var optimizerState: [MeteredBuffer<Float>] = []
  /// What a topology updater keeps of each connection between steps (DeepR's signs, say): some buffers of [count]. Grown connections
  /// start with zero.
  public var topologyState: [MeteredBuffer<Float>] = []
  /// Weights that are trained beside the matrix and not used in the forward pass (Top-KAST); nil for none.
  public var backward: BackwardSet?

  /// The weights of the model's sparse layer number `index`, gradient zero.
  public init(matrix: SparseMatrix, index: Int) {
    self.matrix = matrix
    self.index = index
    gradient = .zeros(count: matrix.count, tag: .gradient, site: matrix.site, meter: matrix.meter)
  }

  /// The layer's name, e.g. `features.0`.
  public var layerName: String { matrix.name }
  public var name: String { matrix.name + ".weight" }
  public var count: Int { matrix.count }

  public func withMutableValues<R>(_ body: (UnsafeMutableBufferPointer<Float>) throws -> R) rethrows -> R {
    try matrix.withMutableValues(body)
  }

  public func makeOptimizerState() -> MeteredBuffer<Float> {
    .zeros(count: count, tag: .optimizer, site: matrix.site, meter: matrix.meter)
  }

  /// Applies a change to the matrix and takes gradient, optimizer and topology state along: grown connections start with zero
  /// state, and with the weight, the gradient and the optimizer state that the change brings (zero where it brings none).
  public func apply(_ change: TopologyChange, threads: Int = 1) throws {
    let remap = try matrix.apply(change, threads: threads)
    let site = matrix.site
    gradient = remap(gradient, tag: .gradient, site: site, meter: matrix.meter, threads: threads)
    optimizerState = optimizerState.map {
      remap($0, tag: .optimizer, site: site, meter: matrix.meter, threads: threads)
    }
    topologyState = topologyState.map {
      remap($0, tag: .optimizer, site: site, meter: matrix.meter, threads: threads)
    }
    let grown = remap.grownPositions.buffer
    if let gradients = change.grownGradients {
      for (i, position) in grown.enumerated() { gradient.pointer[Int(position)] = gradients.pointer[i] }
    }
    if let values = change.grownValues {
      withMutableValues { for (i, position) in grown.enumerated() { $0[Int(position)] = values.pointer[i] } }
    }
    for (state, numbers) in zip(optimizerState, change.grownStates) {
      for (i, position) in grown.enumerated() { state.pointer[Int(position)] = numbers.pointer[i] }
    }
    withExtendedLifetime(remap) {}
  }

  /// Puts a checkpoint's or an imported structure and values in place; gradient and optimizer state start anew.
  public func replace(structure: SparseStructure, values: MeteredBuffer<Float>) {
    matrix.replace(structure: structure, values: values)
    gradient = .zeros(count: count, tag: .gradient, site: matrix.site, meter: matrix.meter)
    optimizerState = []
    topologyState = []
  }

  /// Bytes of structure both ways, values, gradient, optimizer and topology state, and of the backward set.
  public var bytes: Int {
    matrix.bytes + 4 * count * (1 + optimizerState.count + topologyState.count) + (backward?.bytes ?? 0)
  }
}

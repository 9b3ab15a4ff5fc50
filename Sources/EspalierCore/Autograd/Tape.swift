import EspLayers

/// A value on a tape.
public struct Variable {
  /// The numbers.
  public let value: Activations
  /// Where the tape recorded it; nil for a constant.
  let node: Int?

  /// A constant: no gradient flows into it.
  public init(_ value: Activations) { self.init(value: value, node: nil) }

  init(value: Activations, node: Int?) {
    self.value = value
    self.node = node
  }

  /// Of `value`.
  public var shape: ActivationShape { value.shape }
  /// Whether a gradient can flow into it.
  public var needsGradient: Bool { node != nil }
}

/// A sparse layer during the backward pass, while its input and the gradient of its output are alive.
public protocol GradientSite {
  /// The layer's weights.
  var parameter: SparseParameter { get }
  /// The loss's gradient at the listed connections, active or not: gradients[k] for connection k of `connections`.
  func computeGradients(at connections: SparseStructure, into gradients: MeteredBuffer<Float>)
  /// The loss's gradient at all connections of some rows, active or not: the first rows.count * columns numbers, row by row.
  func computeGradients(ofRows rows: Range<Int>, into gradients: MeteredBuffer<Float>)
  /// How active inputs and outputs are in this batch. O(inputs + outputs) numbers.
  func activity(_ measure: ActivityMeasure) -> LayerActivity
  /// What `activity` costs a sample, in floating-point operations.
  func activityFlops(_ measure: ActivityMeasure) -> Int
  /// Rows of the batch a sample: output positions, or tokens.
  var positions: Int { get }
}

/// Records operations as they run and runs their derivatives in reverse order.
///
/// An operation's forward and backward stand side by side in `Operations/`. What an operation needs again is kept by its closure
/// and freed as soon as the backward pass is done with it.
public final class Tape {
  /// What a pass is for.
  public enum Mode: Sendable, Hashable {
    /// Batch statistics, dropout, recording; `step` keys dropout's masks.
    case training(step: Int)
    /// Running statistics, no dropout, nothing recorded.
    case evaluation
  }

  /// What the operations run on.
  public let context: ComputeContext
  /// Training or evaluation.
  public let mode: Mode
  /// Is shown each sparse layer during the backward pass: how topology updates see gradients at chosen connections.
  public var gradientSiteVisitor: ((any GradientSite) throws -> Void)?
  /// Is shown what each layer of procedural weights makes its gradient of.
  public var gradientFactorsVisitor: ((ProceduralWeights, GradientFactors) -> Void)?
  /// Whether backward computes the gradients of sparse weights at their active connections.
  public var computesSparseGradients = true
  /// Counts the time of weight gradients and of what the visitor does.
  public var phases: PhaseClock?
  /// Ranks that share the batch, so that batch norms take their statistics over all of it; nil: of these samples alone.
  public var ranks: RankGroup?
  /// Number of the first of these samples in the batch, which other ranks have parts of: with the sample's number it keys dropout's masks.
  public var firstSample = 0

  private struct Node {
    let inputs: [Int?]
    var backward: ((Activations) throws -> [Activations?])?
    /// In place of `backward`: takes what has reached the first input's gradient already, and returns it with its own share added.
    var addingBackward: ((Activations, Activations?) throws -> [Activations?])?
  }
  private var nodes: [Node] = []

  /// An empty tape, for one pass.
  public init(context: ComputeContext, mode: Mode) {
    self.context = context
    self.mode = mode
  }

  /// Whether operations are recorded.
  public var isTraining: Bool { mode != .evaluation }

  /// Puts an operation's result on the tape.
  ///
  /// - Parameters:
  ///   - value: what the operation made of `inputs`.
  ///   - inputs: what gradients may flow to.
  ///   - backward: from the gradient of `value` to the gradients of `inputs`, nil for one that needs none; it stores the gradients of the
  ///     operation's parameters itself. It leaves the gradient that it is given as it is, unless that `isDisposable`.
  public func record(
    _ value: Activations, inputs: [Variable], backward: @escaping (Activations) throws -> [Activations?]
  ) -> Variable {
    guard isTraining else { return Variable(value) }
    nodes.append(Node(inputs: inputs.map(\.node), backward: backward))
    return Variable(value: value, node: nodes.count - 1)
  }

  /// The same for an operation whose backward also adds to what has reached the gradient of its first input already (which it may
  /// overwrite where `isDisposable`): what it returns for that input is the sum.
  func recordAdding(
    _ value: Activations, inputs: [Variable], backward: @escaping (Activations, Activations?) throws -> [Activations?]
  ) -> Variable {
    guard isTraining else { return Variable(value) }
    nodes.append(Node(inputs: inputs.map(\.node), addingBackward: backward))
    return Variable(value: value, node: nodes.count - 1)
  }

  /// A value that gradients flow into, so that `backward` returns its gradient.
  public func input(_ value: Activations) -> Variable {
    record(value, inputs: []) { _ in [] }
  }

  /// Runs the derivatives from `output`, whose gradient is `gradient`, and forgets the tape.
  ///
  /// - Returns: the gradients of `sources`, nil where none reached one.
  @discardableResult
  public func backward(
    from output: Variable, gradient: Activations, sources: [Variable] = []
  ) throws -> [Activations?] {
    guard let last = output.node else { return sources.map { _ in nil } }
    precondition(gradient.shape == output.shape)
    var gradients = [Activations?](repeating: nil, count: nodes.count)
    gradients[last] = gradient
    let kept = Set(sources.compactMap(\.node))
    for index in stride(from: last, through: 0, by: -1) {
      guard var delta = kept.contains(index) ? gradients[index] : gradients[index].take() else { continue }
      delta.isDisposable = isKnownUniquelyReferenced(&delta.storage)
      let node = nodes[index]
      nodes[index] = Node(inputs: [])
      var results: [Activations?] = []
      if let adding = node.addingBackward {
        var present = node.inputs[0].flatMap { gradients[$0].take() }
        if present != nil { present!.isDisposable = isKnownUniquelyReferenced(&present!.storage) }
        results = try adding(delta, present)
      } else {
        results = try node.backward?(delta) ?? []
      }
      for (input, result) in zip(node.inputs, results) {
        if let input, let result { accumulate(result, into: &gradients[input]) }
      }
    }
    nodes.removeAll(keepingCapacity: true)
    return sources.map { source in source.node.flatMap { gradients[$0] } }
  }

  /// Adds where something is there already; in new memory where that is shared.
  private func accumulate(_ gradient: Activations, into slot: inout Activations?) {
    guard var present = slot.take() else {
      slot = gradient
      return
    }
    if isKnownUniquelyReferenced(&present.storage) {
      esp_add(
        context.isa, present.pointer, gradient.pointer, gradient.shape.count, present.pointer, context.threadCount)
      slot = Activations(shape: present.shape, storage: present.storage)
    } else {
      slot = sum(present, gradient)
    }
  }
}

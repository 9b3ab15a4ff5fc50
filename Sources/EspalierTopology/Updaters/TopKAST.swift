import EspalierCore

/// Top-KAST (Jayakumar, Pascanu, Rae, Osindero, Elsen, NeurIPS 2020, arXiv 2106.03517, section 2): every weight of a layer has a value; the forward
/// pass uses the D largest, A, and the gradient moves the D + M largest, B. Every T steps both are chosen anew from the magnitudes, so
/// that a weight that grows in B \ A comes into use with the value it has reached. Weight decay is that of all methods on A and 1 / density times as
/// strong on B \ A (section 2.3; but no step takes away more than there is), none on the rest. After the last choice, at `explorationEnd`, A alone
/// is trained.
///
/// The paper holds all values in a host's memory. Here memory is O(nnz + n): the layer's matrix is A, and a `BackwardSet` holds B \ A with
/// values, gradient and optimizer state; forward and input gradient run on A, the weight gradient on B (2 f_A + f_B operations). A weight
/// that leaves B keeps its value in a list; one that was never in B has its starting value, which `StartingField` makes again from
/// the connection's number. While B's smallest weight is above all of these no one looks at them; when it falls below, the field is
/// searched for the next 2 |B| (rows * columns random words, no memory), which last until B has fallen below those, too.
///
/// - What bounds the list: it holds 4 |B| weights at most. Of more, the smallest are forgotten for good; they are below all of B and far from
///   coming back. So long as nothing is forgotten, A and B are those of the dense rule, exactly; of equal magnitudes a weight in A comes first, then one in B, then one that
///   is remembered, then one that was never seen, each in order of (row, column).
/// - A weight that comes into B from outside starts with an optimizer state of zero, in the paper's code with what it had.
/// - Starting values are normal; the paper's are whatever the model's initialisation makes.
public struct TopKAST: TopologyUpdater {
  /// Nothing moves in updates; the interval is that of choices.
  public let schedule: UpdateSchedule
  /// The number of steps after which A is chosen for the last time; 0: A is never chosen again.
  public let explorationEnd: Int

  /// - Parameter schedule: chooses every `interval` steps while no more than `end` are done.
  public init(schedule: UpdateSchedule) {
    self.schedule = UpdateSchedule(interval: schedule.interval, end: 0, fraction: 0)
    explorationEnd = schedule.end / schedule.interval * schedule.interval
  }

  public func candidates(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerCandidates {
    .none(in: layer.weights)
  }

  public func changes(for layers: [LayerCandidates], step: Int, random: CounterRandom) -> [TopologyChange] {
    layers.map { $0.weights.exchange(pruned: $0.weights.smallestWeights(0), growing: 0, step: step, random: random) }
  }

  public func changes(
    afterStep step: Int, of layers: [SparseParameter], learningRate: Double, random: CounterRandom
  ) throws -> [TopologyChange]? {
    let done = step + 1
    defer { if done >= explorationEnd { for layer in layers { layer.backward = nil } } }
    guard done <= explorationEnd, done % schedule.interval == 0, layers.contains(where: { $0.backward != nil }) else {
      return nil
    }
    return layers.map { layer in
      guard let backward = layer.backward else {
        return layer.exchange(pruned: layer.smallestWeights(0), growing: 0, step: step, random: random)
      }
      var choice = Choice(layer, backward)
      return choice()
    }
  }
}

extension TopKAST {
  /// How many weights the list of a layer may hold for each of B.
  static let mostRemembered = 4
  /// How many connections of the field are looked up at a time for each of B.
  static let lookAhead = 2

  /// A layer at the start: the largest of all starting weights.
  ///
  /// - Parameters:
  ///   - layer: name and sizes.
  ///   - index: the layer's number among the model's.
  ///   - forward: how many weights are used.
  ///   - backward: how many are trained.
  ///   - random: draws the starting weights.
  ///   - context: what computes, and whose meter counts the memory.
  /// - Returns: the forward set, and what goes into its parameter's `backward`.
  public static func start(
    _ layer: SparseLayerShape, index: Int, forward: Int, backward: Int, random: CounterRandom, context: ComputeContext
  ) -> (forward: WeightList, backward: (SparseMatrix) -> BackwardSet) {
    let field = StartingField(
      rows: layer.rows, columns: layer.columns, connections: forward, layer: index, random: random, context: context)
    let meter = context.meter
    let site = WeightSite(layer: layer.name, rows: layer.rows, columns: layer.columns, connections: backward)
    // Of a layer's connections that are not trained at first, at most half are looked up.
    let ahead = min(lookAhead * backward, max(1, (layer.rows * layer.columns - backward) / 2))
    var frontier = StartingField.levels
    var seen: WeightList
    repeat {
      frontier = field.level(below: frontier, holding: backward + ahead)
      seen = field.connections(levels: frontier..<StartingField.levels, site: site, meter: meter)
    } while seen.count < backward
    let scores = [SelectionScores(seen.values.prefix(seen.count), site: site)]
    let (a, b) = withExtendedLifetime(seen) {
      let selection = MagnitudeSelection(meter: meter)
      return (
        selection.select(forward, .largest, of: scores)[0], selection.select(backward, .largest, of: scores)[0]
      )
    }
    func part(_ picked: Selected) -> WeightList {
      let union = ConnectionUnion(of: [seen.structure], picked: [picked], site: site, meter: meter)
      return WeightList(structure: union.structure, values: union.gathered([seen.values], tag: .values))
    }
    let unused = part(b.subtracting(a, site: site, meter: meter))
    let rest = part(Selected.all(seen.count, site: site, meter: meter).subtracting(b, site: site, meter: meter))
    return (
      part(a), { BackwardSet(of: $0, weights: unused, remembered: rest, field: field, frontier: frontier) }
    )
  }
}

/// One layer's new A, B and list.
private struct Choice {
  private let layer: SparseParameter
  private let backward: BackwardSet
  private let site: WeightSite
  private let meter: AllocationMeter
  private let selection: MagnitudeSelection
  /// A, B \ A, what is remembered, what has just been looked up.
  private var pool: [WeightList]
  private var examined: Int

  init(_ layer: SparseParameter, _ backward: BackwardSet) {
    self.layer = layer
    self.backward = backward
    let matrix = layer.matrix
    site = backward.site
    meter = matrix.meter
    selection = MagnitudeSelection(meter: meter)
    pool = [
      WeightList(structure: matrix.structure, values: matrix.values), backward.weights, backward.remembered,
    ]
    examined = backward.count + backward.remembered.count
  }

  private func largest(_ count: Int) -> [Selected] {
    withExtendedLifetime(pool) {
      selection.select(count, .largest, of: pool.map { SelectionScores($0.values.prefix($0.count), site: site) })
    }
  }

  /// The smallest magnitude among those selected.
  private func smallest(of selected: [Selected]) -> Float {
    zip(pool, selected).reduce(.infinity) { least, part in
      part.1.buffer.reduce(least) { min($0, abs(part.0.values.pointer[Int($1)])) }
    }
  }

  /// Sets B \ A and the list, and returns what happens to A.
  mutating func callAsFunction() -> TopologyChange {
    let (forward, total) = (layer.count, layer.count + backward.count)
    var trained = largest(total)
    while backward.frontier > 0, smallest(of: trained) < backward.field.magnitude(ofLevel: backward.frontier - 1) {
      lookUpMore(total)
      trained = largest(total)
    }
    let used = largest(forward)
    let everything = pool.map { Selected.all($0.count, site: site, meter: meter) }
    func part(_ picked: [Selected]) -> ConnectionUnion {
      ConnectionUnion(of: pool.map(\.structure), picked: picked, site: site, meter: meter)
    }
    func difference(_ a: [Selected], _ b: [Selected]) -> [Selected] {
      zip(a, b).map { $0.subtracting($1, site: site, meter: meter) }
    }
    let values: [MeteredBuffer<Float>?] = pool.map(\.values)
    let grown = part([Selected(indices: used[0].indices, count: 0)] + used.dropFirst())
    let unused = part(difference(trained, used))
    let pruned = difference(everything, used)[0]
    let change = TopologyChange(
      pruned: pruned.indices, prunedCount: pruned.count, grown: grown.structure,
      grownValues: grown.gathered(values, tag: .selection), grownStates: states(of: grown), examined: examined)
    let unusedStates = states(of: unused)
    remember(part(difference(everything, trained)), values)
    backward.replace(
      weights: WeightList(structure: unused.structure, values: unused.gathered(values, tag: .values)),
      optimizerState: unusedStates)
    return change
  }

  /// The optimizer state of connections of the pool: only A and B \ A have any.
  private func states(of union: ConnectionUnion) -> [MeteredBuffer<Float>] {
    zip(layer.optimizerState, backward.optimizerState).map { active, unused in
      union.gathered([active, unused] + pool.dropFirst(2).map { _ in nil }, tag: .optimizer)
    }
  }

  /// Adds the next connections of the field, below the frontier.
  private mutating func lookUpMore(_ total: Int) {
    let field = backward.field
    let next = field.level(below: backward.frontier, holding: TopKAST.lookAhead * total)
    pool.append(field.connections(levels: next..<backward.frontier, site: site, meter: meter))
    backward.frontier = next
    examined = field.rows * field.columns - layer.count
  }

  /// Keeps the largest of what is in neither set.
  private func remember(_ rest: ConnectionUnion, _ values: [MeteredBuffer<Float>?]) {
    let list = WeightList(structure: rest.structure, values: rest.gathered(values, tag: .values))
    let room = TopKAST.mostRemembered * (layer.count + backward.count)
    guard list.count > room else {
      backward.remembered = list
      return
    }
    let kept = withExtendedLifetime(list) {
      selection.select(room, .largest, of: [SelectionScores(list.values.prefix(list.count), site: site)])
    }
    let union = ConnectionUnion(of: [list.structure], picked: kept, site: site, meter: meter)
    backward.remembered = WeightList(
      structure: union.structure, values: union.gathered([list.values], tag: .values))
  }
}

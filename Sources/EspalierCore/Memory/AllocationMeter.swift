import Synchronization

/// What a weight-side buffer belongs to: a layer of `rows` outputs and `columns` inputs with `connections` active ones.
///
/// The rule that keeps training always sparse: a buffer of such a layer has at most 4 * (nnz + gamma * nnz + r + c) elements, and
/// fewer than r * c unless the layer's own density is above 1/2 or r * c <= 16,384. (r + c are always allowed: a layer of one row
/// or column needs them.)
public struct WeightSite: Sendable, Hashable {
  /// The layer's name, e.g. `features.0`.
  public let layer: String
  /// Outputs, or output channels (r).
  public let rows: Int
  /// Inputs: channels * kernel height * width (c).
  public let columns: Int
  /// Number of active connections.
  public let connections: Int

  /// A layer of this size with so many active connections.
  public init(layer: String, rows: Int, columns: Int, connections: Int) {
    self.layer = layer
    self.rows = rows
    self.columns = columns
    self.connections = connections
  }

  /// The same layer with another number of connections.
  public func with(connections: Int) -> WeightSite {
    WeightSite(layer: layer, rows: rows, columns: columns, connections: connections)
  }

  /// Largest number of elements of one buffer that the rule allows, with `gamma` candidates a connection.
  public func largestBuffer(gamma: Double) -> Int {
    let linear = 4 * (Double(connections) * (1 + gamma) + Double(rows) + Double(columns))
    let size = Double(rows) * Double(columns)
    let mayBeDense = 2 * Double(connections) > size || size <= 16_384
    return Int(mayBeDense ? linear : min(linear, max(size - 1, Double(rows) + Double(columns))))
  }
}

/// What a counted buffer is for.
public enum AllocationTag: String, Sendable, CaseIterable {
  /// Row starts, column indices and the permutation that transposes them.
  case structure
  /// Weights, and those in transposed order.
  case values
  /// The gradient at active connections.
  case gradient
  /// What an optimizer or an updater keeps of each connection.
  case optimizer
  /// Connections that an update examines, their gradients, and what they were drawn from.
  case candidates
  /// What chooses among connections, and moves them.
  case selection
  /// On the way from or to a file.
  case transfer
  /// Biases and norm parameters: one number an output.
  case vector
  /// Weights of the methods that are dense by nature; the rule does not hold for them.
  case dense
  /// One bit for each weight of a layer (`ConnectionMask`).
  case mask
  /// Activations and workspace: not weight-side.
  case activation
}

/// Counts every buffer of a run and checks the weight-side ones against the rule of `WeightSite`.
public final class AllocationMeter: Sendable {
  /// A weight-side buffer that broke the rule.
  public struct Violation: Sendable, Hashable, CustomStringConvertible {
    /// What the buffer is for.
    public let tag: AllocationTag
    /// The layer that it belongs to.
    public let site: WeightSite
    /// Its number of elements.
    public let elements: Int
    /// How many the rule allows.
    public let allowed: Int

    public var description: String {
      "\(tag.rawValue) buffer of layer \(site.layer) (\(site.rows) x \(site.columns), \(site.connections) connections) has \(elements) elements, the always-sparse rule allows \(allowed)"
    }
  }

  /// A moment's counts. Sizes in bytes.
  public struct Reading: Sendable {
    /// What weight-side buffers take now.
    public internal(set) var weightBytes = 0
    /// The most that they took at any moment.
    public internal(set) var peakWeightBytes = 0
    /// Since `takePeakWeightBytes` was last called.
    fileprivate(set) var recentPeakWeightBytes = 0
    /// The largest of them so far.
    public internal(set) var largestWeightBuffer = 0
    /// What activations and workspaces take now, those kept for reuse among them.
    public internal(set) var activationBytes = 0
    /// The most that they took at any moment.
    public internal(set) var peakActivationBytes = 0
    /// Number of buffers asked of the system so far.
    public internal(set) var allocations = 0
    /// Weight-side buffers that broke the rule.
    public internal(set) var violations: [Violation] = []
  }

  /// Candidates a connection that the rule allows for (GSE's gamma).
  public let gamma: Double
  private let state = Mutex(Reading())

  /// A meter that has counted nothing.
  public init(gamma: Double = 1) { self.gamma = gamma }

  /// The counts as they are now.
  public var reading: Reading { state.withLock { $0 } }

  /// Throws what broke the rule, if anything did.
  public func check() throws {
    if let violation = reading.violations.first { throw EspalierError.invariant("never dense: \(violation)") }
  }

  func allocated(bytes: Int, elements: Int, tag: AllocationTag, site: WeightSite?) {
    state.withLock { reading in
      reading.allocations += 1
      guard tag != .activation else {
        reading.activationBytes += bytes
        reading.peakActivationBytes = max(reading.peakActivationBytes, reading.activationBytes)
        return
      }
      reading.weightBytes += bytes
      reading.peakWeightBytes = max(reading.peakWeightBytes, reading.weightBytes)
      reading.recentPeakWeightBytes = max(reading.recentPeakWeightBytes, reading.weightBytes)
      reading.largestWeightBuffer = max(reading.largestWeightBuffer, bytes)
      guard let site, tag != .dense, tag != .vector else { return }
      let allowed = tag == .mask ? site.rows * ((site.columns + 63) / 64) : site.largestBuffer(gamma: gamma)
      if elements > allowed {
        reading.violations.append(Violation(tag: tag, site: site, elements: elements, allowed: allowed))
      }
    }
  }

  /// The most weight bytes since this was last called.
  func takePeakWeightBytes() -> Int {
    state.withLock { reading in
      defer { reading.recentPeakWeightBytes = reading.weightBytes }
      return reading.recentPeakWeightBytes
    }
  }

  func freed(bytes: Int, tag: AllocationTag) {
    state.withLock { reading in
      if tag == .activation { reading.activationBytes -= bytes } else { reading.weightBytes -= bytes }
    }
  }
}

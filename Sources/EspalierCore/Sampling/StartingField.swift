import EspSampling
import Glibc

/// The starting weight of every connection that a layer could have, active or not; none of them is stored.
///
/// theta0(o, i) = sign * deviation * z with a normal z: a pure function of the stream and of (o, i). A connection's *level*, one of 2^31, says where |z|
/// stands among all: level l is the quantile (l + 1/2) / 2^31 of the half-normal distribution. So magnitudes are compared, and the largest
/// found, without computing one.
public struct StartingField: Sendable {
  /// Outputs, or output channels.
  public let rows: Int
  /// Inputs: channels * kernel height * width.
  public let columns: Int
  /// The run's seed.
  public let seed: UInt64
  private let deviation: Double
  private let stream: CounterRandom.Stream
  private let instructionSet: InstructionSet
  private let threads: Int

  /// How many levels there are.
  public static let levels = Int(1 << 31)

  /// The field of a layer [rows, columns], the model's weight layer number `layer`, of which the `connections` largest are active.
  ///
  /// The deviation is such that the squares of a row's active weights add up to one in the mean, as with `FanInInitialization`.
  public init(
    rows: Int, columns: Int, connections: Int, layer: Int, random: CounterRandom, context: ComputeContext
  ) {
    self.rows = rows
    self.columns = columns
    seed = random.seed
    stream = random.stream(.startingField, layer: layer)
    instructionSet = context.instructionSet
    threads = context.threads
    let density = Double(connections) / (Double(rows) * Double(columns))
    let cut = Self.quantile(tail: density)
    // E[z^2 | |z| > a] = 1 + a * phi(a) / P(z > a)
    let meanSquare = 1 + 2 * cut * exp(-cut * cut / 2) / (2 * Double.pi).squareRoot() / density
    deviation = (1 / (max(1, Double(connections) / Double(rows)) * meanSquare)).squareRoot()
  }

  /// The lowest level down to which, from `frontier` (exclusive), some `count` connections are expected; 0 where so many are not left.
  public func level(below frontier: Int, holding count: Int) -> Int {
    max(0, frontier - Int((Double(count) / (Double(rows) * Double(columns)) * Double(Self.levels)).rounded(.up)))
  }

  /// The magnitude of a connection of a level.
  public func magnitude(ofLevel level: Int) -> Float {
    Float(deviation * Self.quantile(tail: (Double(Self.levels - level) - 0.5) / Double(Self.levels)))
  }

  /// The starting weight of one connection. O(1).
  public func value(row: Int, column: Int) -> Float {
    let number = UInt64(row) * UInt64(columns) + UInt64(column)
    var counter = (
      UInt32(truncatingIfNeeded: number / 4), UInt32(truncatingIfNeeded: number >> 34), stream.key.step,
      stream.key.stream
    )
    var key = (UInt32(truncatingIfNeeded: stream.key.seed), UInt32(truncatingIfNeeded: stream.key.seed >> 32))
    var words = (UInt32(0), UInt32(0), UInt32(0), UInt32(0))
    withUnsafeBytes(of: &counter) { counter in
      withUnsafeBytes(of: &key) { key in
        withUnsafeMutableBytes(of: &words) { words in
          esp_philox4x32(
            counter.assumingMemoryBound(to: UInt32.self).baseAddress,
            key.assumingMemoryBound(to: UInt32.self).baseAddress,
            words.assumingMemoryBound(to: UInt32.self).baseAddress)
        }
      }
    }
    return value(word: [words.0, words.1, words.2, words.3][Int(number % 4)])
  }

  private func value(word: UInt32) -> Float {
    let magnitude = magnitude(ofLevel: Int(word >> 1))
    return word & 1 == 0 ? magnitude : -magnitude
  }

  /// The connections whose levels lie in `levels`, and their starting weights.
  ///
  /// - Complexity: rows * columns random words; memory O(connections found + rows).
  public func connections(levels: Range<Int>, site: WeightSite, meter: AllocationMeter) -> WeightList {
    var tileRows = (rows + 31) / 32
    let expected = Double(tileRows * columns) * Double(levels.count) / Double(Self.levels)
    // Far beyond what a binomial number of this mean comes to; where it is not, there is a second time.
    var room = min(tileRows * columns, Int(expected + 6 * expected.squareRoot() + 8))
    if (rows + tileRows - 1) / tileRows * room > site.largestBuffer(gamma: meter.gamma) {
      // No slack: count first, then collect in one piece.
      (tileRows, room) = (rows, 0)
    }
    let starts = MeteredBuffer<UInt64>(count: rows + 1, tag: .candidates, site: site, meter: meter)
    while true {
      let tiles = (rows + tileRows - 1) / tileRows
      let columns = MeteredBuffer<UInt32>(count: tiles * room, tag: .candidates, site: site, meter: meter)
      let words = MeteredBuffer<UInt32>(count: tiles * room, tag: .candidates, site: site, meter: meter)
      esp_field_collect(
        instructionSet.isa, stream.key, rows, self.columns, UInt32(levels.lowerBound), UInt32(levels.upperBound),
        tileRows, room, starts.pointer, columns.pointer, words.pointer, Int32(threads))
      let counts = (0..<tiles).map { tile in
        (tile * tileRows..<min(rows, (tile + 1) * tileRows)).reduce(0) { $0 + Int(starts.pointer[$1]) }
      }
      if let most = counts.max(), most > room {
        room = most
        continue
      }
      return list(counts: counts, room: room, starts, columns, words, site: site, meter: meter)
    }
  }

  /// Closes the gaps between tiles. `starts` has the rows' counts.
  private func list(
    counts: [Int], room: Int, _ starts: MeteredBuffer<UInt64>, _ columns: MeteredBuffer<UInt32>,
    _ words: MeteredBuffer<UInt32>, site: WeightSite, meter: AllocationMeter
  ) -> WeightList {
    let total = counts.reduce(0, +)
    let indices = MeteredBuffer<UInt32>(count: total, tag: .candidates, site: site, meter: meter)
    let values = MeteredBuffer<Float>(count: total, tag: .candidates, site: site, meter: meter)
    var next = 0
    for (tile, count) in counts.enumerated() {
      for place in tile * room..<tile * room + count {
        indices.pointer[next] = columns.pointer[place]
        values.pointer[next] = value(word: words.pointer[place])
        next += 1
      }
    }
    var sum: UInt64 = 0
    for row in 0...rows {
      let count = row < rows ? starts.pointer[row] : 0
      starts.pointer[row] = sum
      sum += count
    }
    let structure = SparseStructure(rows: rows, columns: self.columns, rowStarts: starts, columnIndices: indices)
    return WeightList(structure: structure, values: values)
  }

  /// The z >= 0 beyond which |z| lies with probability `tail`: erfc(z / sqrt 2) = tail.
  ///
  /// By Newton's method on the logarithm, which is concave: from above it comes down to the root and never passes it.
  static func quantile(tail: Double) -> Double {
    guard tail < 1 else { return 0 }
    let goal = log(tail)
    var z = (-2 * goal).squareRoot()
    for _ in 0..<64 {
      let probability = erfc(z * 0.5.squareRoot())
      let slope = -(2 / Double.pi).squareRoot() * exp(-z * z / 2) / probability
      let next = z - (log(probability) - goal) / slope
      guard next < z, next >= 0 else { break }
      z = next
    }
    return z
  }
}

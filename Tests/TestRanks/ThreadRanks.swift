import EspalierCore
import Foundation

/// Ranks that are threads of one process, in place of MPI's.
public enum ThreadRanks {
  /// Runs `body` once for each rank, all at the same time; returns what each returned.
  ///
  /// - Throws: what rank 0 throws. A rank that throws while others wait for it ends the process.
  public static func run<R: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (RankGroup, ThreadCommunicator) throws -> R
  ) throws -> [R] {
    let place = MeetingPlace(count: count)
    let outcomes = Outcomes<R>(count: count)
    for rank in 0..<count {
      let thread = Thread {
        let communicator = ThreadCommunicator(rank: rank, place: place)
        let outcome = Result { try body(RankGroup(communicator), communicator) }
        outcomes.set(rank, outcome)
        place.leave(rank)
      }
      thread.stackSize = 8 << 20
      thread.start()
    }
    return try outcomes.wait().map { try $0.get() }
  }
}

/// Connects threads.
public final class ThreadCommunicator: Communicator {
  public let rank: Int
  public var size: Int { place.count }
  /// Bytes that this rank gave to others.
  public private(set) var bytesSent = 0
  private let place: MeetingPlace

  fileprivate init(rank: Int, place: MeetingPlace) {
    self.rank = rank
    self.place = place
  }

  public func exchange(
    _ source: UnsafeRawPointer, sends: [Range<Int>], into target: UnsafeMutableRawPointer, receives: [Range<Int>]
  ) {
    precondition(sends.count == size && receives.count == size)
    bytesSent += sends.indices.reduce(0) { $0 + ($1 == rank ? 0 : sends[$1].count) }
    place.meet(rank, offering: (source, sends)) { offers in
      for (other, offer) in offers.enumerated() {
        let part = offer.parts[rank]
        precondition(part.count == receives[other].count, "ranks disagree on how much is sent")
        (target + receives[other].lowerBound).copyMemory(from: offer.source + part.lowerBound, byteCount: part.count)
      }
    }
  }

  public func gather(_ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer) {
    precondition(parts.count == size)
    bytesSent += parts[rank].count * (size - 1)
    place.meet(rank, offering: (UnsafeRawPointer(buffer), parts)) { offers in
      for (other, offer) in offers.enumerated() where other != rank {
        precondition(offer.parts == parts, "ranks disagree on what is gathered")
        (buffer + parts[other].lowerBound).copyMemory(
          from: offer.source + parts[other].lowerBound, byteCount: parts[other].count)
      }
    }
  }
}

/// Where threads wait for each other, and show each other what they send.
private final class MeetingPlace: @unchecked Sendable {
  // Unchecked: offers are written before a barrier and read after it.

  typealias Offer = (source: UnsafeRawPointer, parts: [Range<Int>])

  let count: Int
  private var offers: [Offer?]
  private let condition = NSCondition()
  private var (waiting, round, gone) = (0, 0, 0)

  init(count: Int) {
    self.count = count
    offers = [Offer?](repeating: nil, count: count)
  }

  /// Runs `body` once all threads have shown what they offer; returns once all have run theirs.
  func meet(_ rank: Int, offering offer: Offer, _ body: ([Offer]) -> Void) {
    condition.withLock { offers[rank] = offer }
    wait()
    body(condition.withLock { offers.compactMap { $0 } })
    wait()
  }

  func leave(_ rank: Int) {
    condition.withLock {
      gone += 1
      condition.broadcast()
    }
  }

  private func wait() {
    condition.withLock {
      precondition(gone == 0, "a rank left while this one waits for it")
      waiting += 1
      let present = round
      if waiting == count {
        (waiting, round) = (0, round + 1)
        condition.broadcast()
      }
      while round == present {
        precondition(gone == 0, "a rank left while others wait for it")
        condition.wait()
      }
    }
  }
}

/// What each thread came to.
private final class Outcomes<R: Sendable>: @unchecked Sendable {
  // Unchecked: touched under the lock.

  private let condition = NSCondition()
  private var results: [Result<R, any Error>?]

  init(count: Int) { results = Array(repeating: nil, count: count) }

  func set(_ rank: Int, _ result: Result<R, any Error>) {
    condition.withLock {
      results[rank] = result
      condition.broadcast()
    }
  }

  func wait() -> [Result<R, any Error>] {
    condition.withLock {
      while results.contains(where: { $0 == nil }) { condition.wait() }
      return results.compactMap { $0 }
    }
  }
}

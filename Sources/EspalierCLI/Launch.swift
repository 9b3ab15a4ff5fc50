import Espalier
import EspalierCore
import Foundation

#if MPI
  import EspalierMPI
#endif

/// Whether a launcher such as mpirun started this process as one of several, and which.
struct Launch {
  /// This process's number.
  let rank: Int
  /// Number of processes.
  let size: Int
  /// Number of processes on this machine, where the launcher says so.
  private let localSize: Int?

  /// Of this process.
  static let current = Launch(ProcessInfo.processInfo.environment)

  /// Of a process with these variables: Open MPI's mpirun sets the first ones, MPICH's and Slurm's launchers the others.
  init(_ environment: [String: String]) {
    func number(_ name: String) -> Int? { environment[name].flatMap { Int($0) } }
    let names = [
      ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"), ("PMI_SIZE", "PMI_RANK"),
      ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
    ]
    let found = names.lazy.compactMap { names in number(names.0).map { (size: $0, rank: number(names.1) ?? 0) } }.first
    (size, rank) = (found?.size ?? 1, found?.rank ?? 0)
    localSize = number("OMPI_COMM_WORLD_LOCAL_SIZE")
  }

  /// Threads that each process gets where nothing else is asked for: its share of this machine's processors, or those that the launcher
  /// has bound it to.
  var threads: Int {
    let all = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    return min(ComputeContext.processors, max(1, all / (localSize ?? size)))
  }

  /// Runs `body` with the ranks that this process was started among; it returns, or is asked to stop, on all of them.
  ///
  /// - Throws: `EspalierError.usage` where there are several and this program cannot reach them; what `body` throws.
  func withRanks(_ body: (RankGroup) throws -> Void) throws {
    guard size > 1 else { return try body(RankGroup()) }
    #if MPI
      let communicator = try MPICommunicator()
      guard communicator.size == size else {
        throw EspalierError.usage(
          "mpirun: started \(size) processes, of which Open MPI sees \(communicator.size); use the mpirun of the Open MPI that this program was built with"
        )
      }
      do {
        try body(RankGroup(communicator))
      } catch  where Self.endsAlike(error, rank: rank) {
        communicator.finish()
        throw error
      }
      communicator.finish()
    #else
      throw EspalierError.usage(
        "mpirun: started \(size) processes, but this program was built without MPI and would train \(size) runs beside each other; build it with 'swift build -c release --traits MPI', or leave mpirun out"
      )
    #endif
  }

  /// Whether all ranks end with this error, and it is rank 0's to report it. That one ends the others where the run diverged.
  private static func endsAlike(_ error: any Error, rank: Int) -> Bool {
    if let interrupted = error as? InterruptedRun { return interrupted.isShared }
    return rank > 0 && (error as? EspalierError)?.kind == .diverged
  }

  /// - Throws: `EspalierError.usage` where several processes would do the same.
  func refuse(_ verb: String) throws {
    guard size > 1 else { return }
    throw EspalierError.usage(
      "mpirun: started \(size) processes, and \(verb) would do the same in each; only train and resume run as several")
  }

  /// Ends this process, and with it those that it trains with.
  static func exit(_ code: Int32) -> Never {
    #if MPI
      if MPICommunicator.isJoined { MPICommunicator.abort(code) }
    #endif
    Foundation.exit(code)
  }
}

#if MPI
  import EspMPI
  import EspalierCore

  /// The processes that `mpirun`, or another launcher of Open MPI, has started.
  public final class MPICommunicator: Communicator {
    public let rank: Int
    public let size: Int

    /// Whether this process has joined others and not left them.
    public static var isJoined: Bool { esp_mpi_is_running() != 0 }

    /// Joins the other processes, once in a process's life: before anything else here is called, and by one thread at a time from then on.
    ///
    /// - Throws: `EspalierError.invariant` where MPI refuses.
    public init() throws {
      guard esp_mpi_start() != 0 else {
        throw EspalierError.invariant("mpi: MPI_Init_thread failed; is this Open MPI the one whose mpirun was called?")
      }
      rank = Int(esp_mpi_rank())
      size = Int(esp_mpi_size())
    }

    public func exchange(
      _ source: UnsafeRawPointer, sends: [Range<Int>], into target: UnsafeMutableRawPointer, receives: [Range<Int>]
    ) {
      esp_mpi_exchange(
        source, sends.counts, sends.starts, target, receives.counts, receives.starts)
    }

    public func gather(_ parts: [Range<Int>], in buffer: UnsafeMutableRawPointer) {
      esp_mpi_gather(buffer, parts.counts, parts.starts)
    }

    /// Leaves the other processes, once all of them do; nothing may be called after.
    public func finish() { esp_mpi_finish() }

    /// Ends all processes, for an error of this one; `code` is the job's exit code.
    public static func abort(_ code: Int32) { esp_mpi_abort(code) }
  }

  extension [Range<Int>] {
    fileprivate var counts: [Int32] { map { Int32($0.count) } }
    fileprivate var starts: [Int32] { map { Int32($0.lowerBound) } }
  }
#endif

import EspRuntime

/// What a computation runs on: an instruction set, a number of threads, and counted memory.
///
/// Results do not depend on `threads`.
public final class ComputeContext {
  /// Whose kernel variants run.
  public let instructionSet: InstructionSet
  /// Threads that share each operation.
  public let threads: Int
  /// Counts every buffer.
  public let meter: AllocationMeter
  /// Lends memory for activations.
  public let pool: ActivationPool

  /// - Parameters:
  ///   - threads: at least 1; by default one for each processor that this process may use.
  ///   - instructionSet: whose kernels run; nil: `InstructionSet.selected(environment:)`.
  ///   - gamma: candidates a connection that the allocation rule allows for.
  /// - Throws: `EspalierError.usage` for a bad number of threads, gamma or ESPALIER_ISA.
  public init(threads: Int? = nil, instructionSet: InstructionSet? = nil, gamma: Double = 1) throws {
    let threads = threads ?? Self.processors
    guard (1...4096).contains(threads) else {
      throw EspalierError.usage("threads: \(threads) is out of range; expected 1 to 4096")
    }
    guard gamma >= 0, gamma <= 1000 else {
      throw EspalierError.usage("gamma: \(gamma) is out of range; expected 0 to 1000")
    }
    self.threads = threads
    self.instructionSet = try instructionSet ?? .selected()
    meter = AllocationMeter(gamma: gamma)
    pool = ActivationPool(meter: meter)
  }

  /// Processors that this process may use.
  public static var processors: Int { Int(esp_processor_count()) }

  /// Threads that OpenMP really starts when asked for `threads`.
  public var threadsGranted: Int { Int(esp_threads_granted(threadCount)) }

  /// OpenMP's version (a date, yyyymm) that the kernels were compiled with.
  public static var openMPVersion: Int { Int(esp_openmp_version()) }

  package var isa: esp_isa { instructionSet.isa }
  package var threadCount: Int32 { Int32(threads) }
}

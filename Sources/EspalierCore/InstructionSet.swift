import EspRuntime
import Foundation

/// The instruction set whose kernel variants run.
public struct InstructionSet: Sendable, Hashable, CustomStringConvertible {
  package let isa: esp_isa

  /// `scalar`, `avx2`, `avx512`, `neon`: the names that ESPALIER_ISA takes.
  public var name: String { String(cString: esp_isa_name(isa)) }
  public var description: String { name }

  /// All that this processor runs, worst first.
  public static var available: [InstructionSet] {
    (0..<ESP_ISA_COUNT.rawValue).map { esp_isa($0) }.filter { esp_isa_available($0) != 0 }.map(InstructionSet.init)
  }

  /// The processor's best, or the one that the environment variable ESPALIER_ISA forces.
  ///
  /// - Throws: `EspalierError.usage` where the variable names none that this processor runs.
  public static func selected(
    environment: [String: String] = ProcessInfo.processInfo.environment
  ) throws -> InstructionSet {
    guard let wanted = environment["ESPALIER_ISA"], !wanted.isEmpty else { return InstructionSet(isa: esp_isa_best()) }
    guard let found = available.first(where: { $0.name == wanted }) else {
      let names = available.map(\.name).joined(separator: ", ")
      throw EspalierError.usage(
        "ESPALIER_ISA: '\(wanted)' is not an instruction set of this processor; use one of \(names)")
    }
    return found
  }
}

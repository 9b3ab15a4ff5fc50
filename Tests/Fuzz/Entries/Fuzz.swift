import EspalierCore
import Foundation

@testable import EspalierData

/// What reads a format. Whatever the input is, it must return or throw an `EspalierError` of the kinds that users are told of.
typealias FuzzEntry = @Sendable (_ path: String, _ bytes: UnsafeRawBufferPointer) throws -> Void

private let entries: [String: FuzzEntry] = [
  "idx": fuzzIDX, "cifar": fuzzCIFAR, "npy": fuzzNumPy, "safetensors": fuzzSafetensors, "config": fuzzConfiguration,
  "picture": fuzzPicture,
]

/// Reads one input as `format`; it lies in memory and in the file `path`.
@_cdecl("espalier_fuzz")
public func fuzz(
  _ format: UnsafePointer<CChar>, _ path: UnsafePointer<CChar>, _ bytes: UnsafePointer<UInt8>?, _ count: Int
) {
  let name = String(cString: format)
  guard let entry = entries[name] else {
    print("fuzz: there is no format '\(name)'; expected one of \(entries.keys.sorted().joined(separator: ", "))")
    exit(1)
  }
  attempt { try entry(String(cString: path), UnsafeRawBufferPointer(start: bytes, count: count)) }
}

/// Runs one reader; more than one may look at the same input.
///
/// An error of another type, or one that blames the library itself, is a finding.
func attempt(_ body: () throws -> Void) {
  do {
    try body()
  } catch let error as EspalierError {
    precondition(error.kind != .invariant, error.message)
    precondition(!error.message.utf8.contains(UInt8(ascii: "\n")), "an error of more than one line")
  } catch is PictureDamage {
  } catch {
    preconditionFailure("\(type(of: error)): \(error)")
  }
}

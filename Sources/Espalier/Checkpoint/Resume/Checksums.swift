import EspalierCore
import Foundation
import Glibc

/// The list of a folder's files with their SHA-256, in the form that `sha256sum -c` takes: proof that they are whole.
package enum Checksums {
  static let fileName = "SHA256SUMS"

  /// Reads the files back and writes the list; returns when it is on disk.
  ///
  /// - Throws: `EspalierError.write`.
  package static func write(of names: [String], in folder: String) throws {
    let lines = try names.map { name in
      do {
        return "\(try digest(of: folder + "/" + name))  \(name)\n"
      } catch let error as EspalierError {
        throw EspalierError.write(error.message)
      }
    }
    try DurableFile.write(Data(lines.joined().utf8), to: folder + "/" + fileName)
  }

  /// - Throws: `EspalierError.input` unless the list names exactly `names`, in order, and each file is as it says.
  static func verify(_ names: [String], in folder: String) throws {
    let path = folder + "/" + fileName
    guard let data = FileManager.default.contents(atPath: path) else {
      throw EspalierError.input("\(path): cannot be read; the checkpoint is incomplete")
    }
    let expected = try names.map { "\(try digest(of: folder + "/" + $0))  \($0)\n" }
    guard data == Data(expected.joined().utf8) else {
      let text = String(decoding: data, as: UTF8.self)
      let wrong = zip(names, expected).first { !text.contains($0.1) }?.0 ?? fileName
      throw EspalierError.input("\(folder)/\(wrong): is not as \(fileName) says; the file is damaged")
    }
  }

  /// - Throws: `EspalierError.input` for a file that is absent or cannot be read.
  static func digest(of path: String) throws -> String {
    guard let handle = FileHandle(forReadingAtPath: path) else {
      throw EspalierError.input("\(path): cannot be read; the checkpoint is incomplete")
    }
    defer { try? handle.close() }
    var hash = SHA256Stream()
    do {
      while let piece = try handle.read(upToCount: 1 << 20), !piece.isEmpty {
        piece.withUnsafeBytes { hash.update($0) }
      }
    } catch {
      throw EspalierError.input("\(path): cannot be read: \(FolderSync.reason(error))")
    }
    return hash.finish()
  }
}

/// Small files that are on disk when their writer returns.
package enum DurableFile {
  /// - Throws: `EspalierError.write`.
  package static func write(_ data: Data, to path: String) throws {
    func failure() -> EspalierError { .write("\(path): cannot be written: \(FolderSync.lastReason)") }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
    guard descriptor >= 0 else { throw failure() }
    defer { close(descriptor) }
    var rest = [UInt8](data)[...]
    while !rest.isEmpty {
      let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
      if count < 0 {
        guard errno == EINTR else { throw failure() }
      } else {
        rest = rest.dropFirst(count)
      }
    }
    guard fsync(descriptor) == 0 else { throw failure() }
  }
}

import Foundation

/// A temporary folder for the files of a test; removed with this object.
public final class IDXFolder {
  public let path: String

  public init() throws {
    let url = FileManager.default.temporaryDirectory.appendingPathComponent("espalier-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    path = url.path
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// Writes a file, and the folders that it lies in, and returns its path.
  @discardableResult
  public func write(_ bytes: [UInt8], to name: String) throws -> String {
    let url = URL(fileURLWithPath: path).appendingPathComponent(name)
    try FileManager.default.createDirectory(at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
    try Data(bytes).write(to: url)
    return url.path
  }

  /// Writes an array of float32 in NumPy's format, and returns its path.
  public func writeArray(_ numbers: [Float], shape: [Int], name: String = "x.npy") throws -> String {
    let sizes = shape.map(String.init).joined(separator: ", ")
    let text = "{'descr': '<f4', 'fortran_order': False, 'shape': (\(sizes)), }\n"
    let head: [UInt8] = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, UInt8(text.utf8.count), 0]
    return try write(head + Array(text.utf8) + numbers.withUnsafeBytes { Array($0) }, to: name)
  }

  /// Makes a folder and returns its path.
  public func makeFolder(_ name: String) throws -> String {
    let url = URL(fileURLWithPath: path).appendingPathComponent(name)
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    return url.path
  }

  /// The bytes as the program gzip compresses them.
  public func gzip(_ bytes: [UInt8]) throws -> [UInt8] {
    let plain = try write(bytes, to: "compress-\(UUID().uuidString)")
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["gzip", "-9", "-n", plain]
    try process.run()
    process.waitUntilExit()
    return [UInt8](try Data(contentsOf: URL(fileURLWithPath: plain + ".gz")))
  }

  /// Writes the four files of an MNIST-like data set below `folder`.
  public func writeDataset(in folder: String = "", train: Int = 30, test: Int = 10, compressed: Bool = false) throws {
    let files = [
      ("train-images-idx3-ubyte", IDXBytes.images(count: train)),
      ("train-labels-idx1-ubyte", IDXBytes.labels(count: train)),
      ("t10k-images-idx3-ubyte", IDXBytes.images(count: test)),
      ("t10k-labels-idx1-ubyte", IDXBytes.labels(count: test)),
    ]
    for (name, bytes) in files {
      let file = folder.isEmpty ? name : folder + "/" + name
      try write(compressed ? gzip(bytes) : bytes, to: compressed ? file + ".gz" : file)
    }
  }
}

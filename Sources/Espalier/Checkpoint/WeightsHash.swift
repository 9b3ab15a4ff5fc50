import EspOpenSSL
import EspalierCore

/// SHA-256, by OpenSSL.
public struct SHA256Stream: ~Copyable {
  private let context = EVP_MD_CTX_new()

  /// A digest of no bytes yet.
  public init() {
    EVP_DigestInit_ex(context, EVP_sha256(), nil)
  }

  deinit { EVP_MD_CTX_free(context) }

  /// Adds bytes to what is digested.
  public mutating func update(_ bytes: UnsafeRawBufferPointer) {
    EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
  }

  fileprivate mutating func update<T>(_ numbers: UnsafeMutablePointer<T>, count: Int) {
    update(UnsafeRawBufferPointer(start: numbers, count: count * MemoryLayout<T>.stride))
  }

  /// The digest in hexadecimal digits.
  public consuming func finish() -> String {
    var digest = [UInt8](repeating: 0, count: 32)
    EVP_DigestFinal_ex(context, &digest, nil)
    let digits = Array("0123456789abcdef")
    return String(digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }
}

extension Model {
  /// SHA-256 over all state in order of names: row starts (64 bits), columns (32 bits) and values of sparse layers; biases, norms and
  /// running statistics; little-endian.
  public var weightsSHA256: String {
    var hash = SHA256Stream()
    for tensor in state {
      switch tensor {
      case .sparse(let parameter):
        let structure = parameter.matrix.structure
        hash.update(structure.rowStarts.pointer, count: structure.rows + 1)
        hash.update(structure.columnIndices.pointer, count: structure.count)
        hash.update(parameter.matrix.values.pointer, count: structure.count)
      case .dense(_, _, let values):
        hash.update(values.pointer, count: values.count)
      }
    }
    return hash.finish()
  }
}

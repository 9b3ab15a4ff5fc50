import EspalierCore
import EspalierData

extension ImageDataset {
  /// SHA-256 over sizes, labels and images of both splits: a resumed run must find the data that it began with.
  ///
  /// - Complexity: O(bytes of the data).
  public var fingerprint: String {
    var hash = SHA256Stream()
    for split in [train, test] {
      let sizes = [split.count, classes, channels, height, width].map { UInt64($0) }
      sizes.withUnsafeBytes { hash.update($0) }
      split.labels.withUnsafeBytes { hash.update($0) }
      split.images.withUnsafeBufferPointer { hash.update(UnsafeRawBufferPointer($0)) }
    }
    return hash.finish()
  }
}

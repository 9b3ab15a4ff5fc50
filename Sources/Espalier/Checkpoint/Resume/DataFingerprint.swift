import EspalierCore
import EspalierData

extension ImageDataset {
  /// SHA-256 over sizes, labels and images of both splits: a resumed run must find the data that it began with.
  ///
  /// Of pictures in files all names count, and size and first bytes of a thousand of them a split; all bytes would take as long to
  /// read as an epoch.
  /// - Complexity: O(bytes of the data in memory).
  public var fingerprint: String {
    var hash = SHA256Stream()
    for split in [train, test] {
      let sizes = [split.count, classes, channels, height, width].map { UInt64($0) }
      sizes.withUnsafeBytes { hash.update($0) }
      split.labels.withUnsafeBytes { hash.update($0) }
      split.forEachIdentifyingPiece { hash.update($0) }
    }
    return hash.finish()
  }
}

import EspalierCore

/// Reads CIFAR's binary files: records of label bytes, then the red, green and blue plane, row-major.
///
/// CIFAR-10 has one label byte, CIFAR-100 a coarse label (0 ... 19) and the fine one. Source: the data sets' page (Krizhevsky).
struct RecordFiles {
  /// Coarse classes of CIFAR-100.
  private static let coarseClasses = 20

  let description: DatasetDescription
  let labelBytes: Int
  /// Whether a file may hold fewer or more records than were published.
  let allowsSubsets: Bool

  init(_ description: DatasetDescription, labelBytes: Int, allowsSubsets: Bool) {
    self.description = description
    self.labelBytes = labelBytes
    self.allowsSubsets = allowsSubsets
  }

  private var pixels: Int { description.channels * description.height * description.width }
  private var recordBytes: Int { labelBytes + pixels }

  /// Records of a file as published.
  private func publishedCount(isTraining: Bool) -> Int {
    let files = description.files.count { $0.isTraining == isTraining }
    return (isTraining ? description.trainCount : description.testCount) / files
  }

  /// Reads the files one after the other into one allocation.
  ///
  /// - Throws: `EspalierError.input` if a file is absent, of another length, or has a label out of range.
  func read(_ paths: [String], isTraining: Bool) throws -> ImageSplit {
    let files = try paths.map { path in
      let file = try InputFile(path: path)
      return (file: file, count: try count(of: file, isTraining: isTraining))
    }
    var labels: [UInt32] = []
    let images = try PixelBuffer(count: files.reduce(0) { $0 + $1.count } * pixels) { buffer in
      for (file, count) in files {
        try readRecords(of: file, count: count, labels: &labels, into: buffer)
        try file.requireEnd()
      }
    }
    return ImageSplit(images: images, labels: labels)
  }

  /// The number of records, by the file's length.
  private func count(of file: InputFile, isTraining: Bool) throws -> Int {
    let expected = publishedCount(isTraining: isTraining)
    guard allowsSubsets, !file.isCompressed else {
      guard file.isCompressed || file.size == expected * recordBytes else {
        throw file.failure(
          "expected \(expected) records of \(recordBytes) bytes (\(expected * recordBytes)), found \(file.size) bytes; "
            + description.hint)
      }
      try file.requireLength(expected * recordBytes)
      return expected
    }
    guard file.size % recordBytes == 0 else {
      throw file.failure("expected records of \(recordBytes) bytes, found \(file.size) bytes; get it again")
    }
    return file.size / recordBytes
  }

  private func readRecords(
    of file: InputFile, count: Int, labels: inout [UInt32], into buffer: UnsafeMutableBufferPointer<UInt8>
  ) throws {
    var record = [UInt8](repeating: 0, count: recordBytes)
    for index in 0..<count {
      try record.withUnsafeMutableBytes { try file.read(into: $0) }
      let label = record[labelBytes - 1]
      guard Int(label) < description.classes, labelBytes == 1 || Int(record[0]) < Self.coarseClasses else {
        let found = record[..<labelBytes].map(String.init).joined(separator: ", ")
        let expected =
          labelBytes == 1 ? "below \(description.classes)" : "below \(Self.coarseClasses) and \(description.classes)"
        throw file.failure("label of record \(index) is \(found), expected \(expected); get it again")
      }
      let start = labels.count * pixels
      labels.append(UInt32(label))
      _ = record.withUnsafeBufferPointer { source in
        UnsafeMutableBufferPointer(rebasing: buffer[start..<start + pixels])
          .update(fromContentsOf: UnsafeBufferPointer(rebasing: source[labelBytes...]))
      }
    }
  }
}

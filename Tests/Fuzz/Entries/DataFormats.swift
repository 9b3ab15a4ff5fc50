import EspalierCore

@testable import EspalierData

func fuzzIDX(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  attempt { _ = try IDXFile.readImages(path: path) }
  attempt { _ = try IDXFile.readLabels(path: path, classes: 10) }
}

func fuzzCIFAR(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  for (description, labelBytes) in [(DatasetDescription.cifar10, 1), (.cifar100, 2)] {
    for allowsSubsets in [true, false] {
      attempt {
        let reader = RecordFiles(description, labelBytes: labelBytes, allowsSubsets: allowsSubsets)
        _ = try reader.read([path, path], isTraining: false)
      }
    }
  }
}

func fuzzNumPy(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  attempt { _ = try ArrayFiles.readImages(path) }
  attempt { _ = try ArrayFiles.labels(path) }
  attempt { _ = try NumPyFile(path: path).integers() }
}

/// The picture as evaluation and as training see it.
func fuzzPicture(_ path: String, _ bytes: UnsafeRawBufferPointer) throws {
  let size = PictureSize(height: 16, width: 24)
  var reader = PictureReader(size: size, instructionSet: try .selected())
  var out = [UInt8](repeating: 0, count: size.bytes)
  let stream = RandomResizedCrop.stream(epoch: 1, random: CounterRandom(seed: 1))
  for crop in [
    { CentreCrop.crop(width: $0, height: $1, size: size) },
    { RandomResizedCrop().crop(width: $0, height: $1, size: size, picture: 3, stream) },
  ] as [(Int, Int) -> PictureCrop] {
    try out.withUnsafeMutableBufferPointer { buffer in
      guard let base = buffer.baseAddress else { return }
      try reader.decode(bytes, into: base, crop: crop)
    }
  }
}

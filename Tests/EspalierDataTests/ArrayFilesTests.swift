import EspalierCore
import EspalierData
import TestSupport
import Testing

@Suite struct ArrayFilesTests {
  let folder: IDXFolder

  init() throws { folder = try IDXFolder() }

  /// A .npy file, made by hand.
  private func npy(_ type: String, _ shape: [Int], _ data: [UInt8]) -> [UInt8] {
    let dimensions = shape.map { "\($0), " }.joined()
    var header = "{'descr': '\(type)', 'fortran_order': False, 'shape': (\(dimensions)), }"
    header += String(repeating: " ", count: 64 - (11 + header.utf8.count) % 64) + "\n"
    let length = header.utf8.count
    var bytes: [UInt8] = [0x93]
    bytes += Array("NUMPY".utf8)
    bytes += [1, 0, UInt8(length & 255), UInt8(length >> 8)]
    bytes += Array(header.utf8)
    return bytes + data
  }

  private func bytes<T>(_ values: [T]) -> [UInt8] { values.withUnsafeBytes { [UInt8]($0) } }

  private func write(
    train: [UInt8]? = nil, test: [UInt8]? = nil, trainLabels: [UInt8]? = nil, testLabels: [UInt8]? = nil
  ) throws {
    let floats: [Float] = (0..<120).map { Float($0) * 0.25 - 7 }
    try folder.write(train ?? npy("<f4", [3, 2, 4, 5], bytes(floats)), to: "x_train.npy")
    try folder.write(test ?? npy("<f4", [1, 2, 4, 5], bytes(Array(floats[..<40]))), to: "x_test.npy")
    try folder.write(trainLabels ?? npy("<i8", [3], bytes([Int64(2), 0, 3])), to: "y_train.npy")
    try folder.write(testLabels ?? npy("|u1", [1], [1]), to: "y_test.npy")
  }

  private func load() throws -> ImageDataset { try DatasetCatalog.load(name: "npy", directory: folder.path) }

  @Test func floatsAreTakenAsTheyAre() throws {
    try write()
    let data = try load()
    #expect((data.channels, data.height, data.width, data.classes) == (2, 4, 5, 4))
    #expect(data.train.labels == [2, 0, 3] && data.test.labels == [1])
    guard case .floats(let values) = data.train.storage else { return #expect(Bool(false)) }
    let expected: [Float] = (0..<120).map { Float($0) * 0.25 - 7 }
    #expect(values.withUnsafeFloats { Array($0) } == expected)
    let description = try DatasetCatalog.description(of: "npy", directory: folder.path)
    #expect(description.classes == 4 && description.trainCount == 3 && !description.augmentsByDefault)
  }

  @Test func bytesAreDividedBy255() throws {
    let pixels: [UInt8] = (0..<126).map { UInt8($0) }
    try write(
      train: npy("|u1", [3, 7, 6], pixels), test: npy("|u1", [1, 7, 6], Array(pixels[..<42])),
      trainLabels: npy("|b1", [3], [0, 1, 0]))
    let data = try load()
    #expect((data.channels, data.height, data.width, data.classes) == (1, 7, 6, 2))
    #expect(data.train.images.elementsEqual(pixels))
    #expect(try DatasetCatalog.description(of: "npy", directory: folder.path).normalization == .none)
  }

  @Test func labelsMayBeOfAnyIntegerType() throws {
    for (type, width) in [("|i1", 1), ("<u2", 2), ("<i2", 2), ("<u4", 4), ("<i4", 4), ("<u8", 8), ("<i8", 8)] {
      let data: [UInt8] = ([2, 0, 3] as [UInt8]).flatMap { [$0] + [UInt8](repeating: 0, count: width - 1) }
      try write(trainLabels: npy(type, [3], data))
      #expect(try load().train.labels == [2, 0, 3], "\(type)")
    }
  }

  @Test func refusesWhatDoesNotFit() throws {
    func refusal(_ expected: String, _ write: () throws -> Void) throws {
      try write()
      let text = message { _ = try load() }
      #expect(text.contains(expected), "\(text)")
      #expect(!(try DatasetCatalog.inspect(name: "npy", directory: folder.path).isWhole))
    }
    let numbers: [Float] = (0..<120).map { Float($0) }
    let floats = bytes(numbers)
    try refusal("x_train.npy: expected float32") { try write(train: npy("<f8", [3, 2, 4, 5], floats + floats)) }
    try refusal("expected N x C x H x W") { try write(train: npy("<f4", [3, 40], floats)) }
    try refusal("expected N x C x H x W") { try write(train: npy("<f4", [0, 2, 4, 5], [])) }
    try refusal("x_test.npy: expected float32 images of [2, 4, 5]") {
      try write(test: npy("<f4", [1, 2, 5, 4], Array(floats[..<160])))
    }
    try refusal("y_train.npy: expected shape [3]") { try write(trainLabels: npy("|u1", [2], [0, 1])) }
    try refusal("label 1 is -1") { try write(trainLabels: npy("|i1", [3], [0, 255, 1])) }
    try refusal("label 2 is 9223372036854775807") {
      try write(trainLabels: npy("<i8", [3], bytes([Int64(0), 1, Int64.max])))
    }
    try refusal("y_test.npy: expected whole numbers") { try write(testLabels: npy("<f4", [1], [0, 0, 0, 0])) }
    try refusal("number 57, of image 1, is infinite or NaN") {
      var values = numbers
      values[57] = .nan
      try write(train: npy("<f4", [3, 2, 4, 5], bytes(values)))
    }
  }

  @Test func truncatedFilesAreRefusedAnywhere() throws {
    try write()
    let numbers: [Float] = (0..<120).map { Float($0) }
    let whole = npy("<f4", [3, 2, 4, 5], bytes(numbers))
    for count in stride(from: 0, to: whole.count, by: 7) {
      try folder.write(Array(whole[..<count]), to: "x_train.npy")
      #expect(message { _ = try load() }.contains("x_train.npy"))
    }
    try folder.write(npy("<f4", [1 << 40, 3, 32, 32], [1, 2, 3]), to: "x_train.npy")
    #expect(message { _ = try load() }.contains("x_train.npy"))
  }
}

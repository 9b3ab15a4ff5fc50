import EspLayers
import TestSupport
import Testing

/// A data set of random bytes and the plane that its images go into.
struct PackingCase: Sendable, CustomTestStringConvertible {
  let name: String
  let sourceChannels, sourceHeight, sourceWidth: Int
  let channels, height, width: Int
  let moves: Bool
  static let imageCount = 40

  static let all = [
    PackingCase(name: "as it is", 3, 5, 7, into: 3, 5, 7, moves: false),
    PackingCase(name: "moved and flipped", 3, 6, 5, into: 3, 6, 5, moves: true),
    PackingCase(name: "28 centred in 32", 1, 28, 28, into: 1, 32, 32, moves: true),
    PackingCase(name: "odd margins", 2, 4, 5, into: 2, 7, 8, moves: true),
    PackingCase(name: "one channel repeated", 1, 4, 6, into: 3, 6, 6, moves: true),
    PackingCase(name: "one pixel", 1, 1, 1, into: 1, 1, 1, moves: false),
  ]

  var testDescription: String { name }

  init(name: String, _ sc: Int, _ sh: Int, _ sw: Int, into c: Int, _ h: Int, _ w: Int, moves: Bool) {
    self.name = name
    (sourceChannels, sourceHeight, sourceWidth) = (sc, sh, sw)
    (channels, height, width) = (c, h, w)
    self.moves = moves
  }

  var images: [UInt8] {
    var random = LayerRandom(seed: 12)
    return (0..<Self.imageCount * sourceChannels * sourceHeight * sourceWidth).map { _ in
      UInt8.random(in: 0...255, using: &random)
    }
  }

  /// Shifts that reach beyond the whole plane, too.
  func placements(_ samples: Int) -> [esp_placement] {
    var random = LayerRandom(seed: 13)
    let reach = Int16(max(height, width) + 1)
    return (0..<samples).map { sample in
      let far = sample % 5 == 0 ? reach : 3
      return esp_placement(
        shift_y: .random(in: -far...far, using: &random), shift_x: .random(in: -far...far, using: &random),
        flip: UInt8(sample % 2))
    }
  }

  /// Where (i, j) of an image's plane lies in the source; nil outside.
  func index(image: Int, channel: Int, _ i: Int, _ j: Int) -> Int? {
    let row = i - (height - sourceHeight) / 2
    let column = j - (width - sourceWidth) / 2
    guard (0..<sourceHeight).contains(row) && (0..<sourceWidth).contains(column) else { return nil }
    let source = sourceChannels == 1 ? 0 : channel
    return ((image * sourceChannels + source) * sourceHeight + row) * sourceWidth + column
  }

  /// The byte at (i, j) of an image's plane; zero outside.
  func byte(_ images: [UInt8], image: Int, channel: Int, _ i: Int, _ j: Int) -> UInt8 {
    index(image: image, channel: channel, i, j).map { images[$0] } ?? 0
  }

  var positions: [(Int, Int, Int)] {
    (0..<channels).flatMap { c in (0..<height).flatMap { i in (0..<width).map { (c, i, $0) } } }
  }
}

@Suite struct PackingTests {
  @Test(arguments: PackingCase.all, LayerShape.allLanes)
  func matchesPixelByPixel(_ test: PackingCase, lanes: Int) {
    let mean: [Float] = [0.49, 0.1, 0.9]
    let deviation: [Float] = [0.25, 2, 0.6]
    let images = test.images
    for samples in [1, 31, 33] {
      let shape = LayerShape(
        channels: test.channels, positions: test.height * test.width, samples: samples, lanes: lanes)
      let indices = (0..<samples).map { UInt32(($0 * 17 + 3) % PackingCase.imageCount) }
      let placements = test.placements(samples)
      var expected = [Double](repeating: 0, count: shape.count)
      var bound = expected
      for n in 0..<samples {
        let move = test.moves ? placements[n] : esp_placement(shift_y: 0, shift_x: 0, flip: 0)
        for c in 0..<test.channels {
          for i in 0..<test.height {
            for j in 0..<test.width {
              let column = (move.flip == 1 ? test.width - 1 - j : j) + Int(move.shift_x)
              let byte = test.byte(images, image: Int(indices[n]), channel: c, i + Int(move.shift_y), column)
              let e = shape.index(n, c, i * test.width + j)
              expected[e] = (Double(byte) / 255 - Double(mean[c])) / Double(deviation[c])
              bound[e] = 4 * LayerHarness.u * (1 + Double(mean[c])) / Double(deviation[c])
            }
          }
        }
      }
      let values = LayerHarness.outputs { isa, threads in
        var y = LayerHarness.nans(shape.count)
        placements.withUnsafeBufferPointer { buffer in
          esp_pack_images(
            isa, images, indices, test.moves ? buffer.baseAddress : nil, test.sourceChannels, test.sourceHeight,
            test.sourceWidth, test.channels, test.height, test.width, mean, deviation, samples, lanes, &y, threads)
        }
        return y
      }
      for y in values {
        LayerHarness.expectClose(y, expected) { bound[$0] }
        for e in 0..<shape.count where shape.isPadding(e) { #expect(y[e].bitPattern == 0) }
      }
    }
  }

  /// Floats come through bit for bit, zeros around them.
  @Test(arguments: PackingCase.all, LayerShape.allLanes)
  func floatsStayAsTheyAre(_ test: PackingCase, lanes: Int) {
    let images = test.images
    let floats = images.map { Float($0) * 1.7 - 100 }
    for samples in [1, 33] {
      let shape = LayerShape(
        channels: test.channels, positions: test.height * test.width, samples: samples, lanes: lanes)
      let indices = (0..<samples).map { UInt32(($0 * 17 + 3) % PackingCase.imageCount) }
      let placements = test.placements(samples)
      let values = LayerHarness.outputs { isa, threads in
        var y = LayerHarness.nans(shape.count)
        placements.withUnsafeBufferPointer { buffer in
          esp_pack_floats(
            isa, floats, indices, test.moves ? buffer.baseAddress : nil, test.sourceChannels, test.sourceHeight,
            test.sourceWidth, test.channels, test.height, test.width, samples, lanes, &y, threads)
        }
        return y
      }
      for y in values {
        for e in 0..<shape.count where shape.isPadding(e) { #expect(y[e].bitPattern == 0) }
        for n in 0..<samples {
          let move = test.moves ? placements[n] : esp_placement(shift_y: 0, shift_x: 0, flip: 0)
          for (c, i, j) in test.positions {
            let column = (move.flip == 1 ? test.width - 1 - j : j) + Int(move.shift_x)
            let found = test.index(image: Int(indices[n]), channel: c, i + Int(move.shift_y), column)
            #expect(y[shape.index(n, c, i * test.width + j)] == found.map { floats[$0] } ?? 0)
          }
        }
      }
    }
  }
}

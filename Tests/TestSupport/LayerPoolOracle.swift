/// Pooling of one plane of one sample, by its definition.
public struct LayerPoolOracle: Sendable, CustomStringConvertible {
  public let height, width, kernel, stride, padding: Int

  public init(_ height: Int, _ width: Int, kernel: Int, stride: Int, padding: Int = 0) {
    self.height = height
    self.width = width
    self.kernel = kernel
    self.stride = stride
    self.padding = padding
  }

  public var outHeight: Int { (height + 2 * padding - kernel) / stride + 1 }
  public var outWidth: Int { (width + 2 * padding - kernel) / stride + 1 }
  public var description: String { "\(height)x\(width), kernel \(kernel), stride \(stride), padding \(padding)" }

  /// Positions that output (i, j) sees, in row order.
  public func window(_ i: Int, _ j: Int) -> [Int] {
    var positions: [Int] = []
    for ki in 0..<kernel {
      for kj in 0..<kernel {
        let row = i * stride + ki - padding
        let column = j * stride + kj - padding
        if row >= 0 && row < height && column >= 0 && column < width { positions.append(row * width + column) }
      }
    }
    return positions
  }

  /// The position that wins output (i, j): the first NaN, else the first of the largest.
  public func winner(_ x: [Float], _ i: Int, _ j: Int) -> Int {
    let seen = window(i, j)
    if let nan = seen.first(where: { x[$0].isNaN }) { return nan }
    let largest = seen.map { x[$0] }.max()!
    return seen.first { x[$0] == largest }!
  }
}

/// Where names stand so that none lies on another.
package enum NamePlacement {
  /// Places as near to the wanted ones as `gap` between neighbours and the range allow, in the same order: least squares.
  ///
  /// With i gaps taken off the i-th, no two may change their order: an isotonic regression, found by pooling neighbours that do.
  ///
  /// - Parameter wanted: in rising order.
  package static func spread(_ wanted: [Double], gap: Double, in range: ClosedRange<Double>) -> [Double] {
    var pools: [(sum: Double, count: Int)] = []
    for (i, place) in wanted.enumerated() {
      pools.append((place - Double(i) * gap, 1))
      while pools.count > 1, let last = pools.last {
        let before = pools[pools.count - 2]
        guard before.sum / Double(before.count) > last.sum / Double(last.count) else { break }
        pools.removeLast(2)
        pools.append((before.sum + last.sum, before.count + last.count))
      }
    }
    let top = max(range.lowerBound, range.upperBound - Double(wanted.count - 1) * gap)
    let places = pools.flatMap { pool in
      [Double](repeating: min(max(pool.sum / Double(pool.count), range.lowerBound), top), count: pool.count)
    }
    return places.enumerated().map { $1 + Double($0) * gap }
  }

  struct Box {
    var left, right, top, bottom: Double

    func overlaps(_ other: Box) -> Bool {
      left < other.right && other.left < right && top < other.bottom && other.top < bottom
    }
  }

  /// Boxes beside points, near them, that lie on no other box and on no obstacle; where there is no such place, on some.
  ///
  /// - Parameters:
  ///   - names: points and the width of what stands beside each.
  ///   - frame: what all boxes lie in.
  static func beside(
    _ names: [(x: Double, y: Double, width: Double)], height: Double, obstacles: [Box], frame: Box
  ) -> [(box: Box, isNear: Bool)] {
    let directions = [(1.0, 0.0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)]
    let distances = [0.0, 10, 20, 32, 46, 62, 80, 100, 125, 150, 180, 210]
    var taken = obstacles
    return names.map { name in
      func box(_ direction: (Double, Double), _ distance: Double) -> Box {
        let x = name.x + direction.0 * (name.width / 2 + 8 + distance)
        let y = name.y + direction.1 * (height / 2 + 6 + distance)
        return Box(
          left: x - name.width / 2, right: x + name.width / 2, top: y - height / 2, bottom: y + height / 2)
      }
      for distance in distances {
        for direction in directions {
          let box = box(direction, distance)
          guard box.left >= frame.left, box.right <= frame.right, box.top >= frame.top, box.bottom <= frame.bottom,
            !taken.contains(where: box.overlaps)
          else { continue }
          taken.append(box)
          return (box, distance == 0)
        }
      }
      return (box(directions[name.x + name.width + 8 > frame.right ? 1 : 0], 0), true)
    }
  }
}

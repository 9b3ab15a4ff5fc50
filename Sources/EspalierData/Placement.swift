/// How one image is moved and mirrored within its plane: out[i, j] = in[i + shiftY, j' + shiftX], zero outside, with
/// j' = width - 1 - j where `flip`, else j.
public struct Placement: Sendable, Hashable {
  public var shiftY: Int16
  public var shiftX: Int16
  public var flip: Bool

  public init(shiftY: Int16 = 0, shiftX: Int16 = 0, flip: Bool = false) {
    self.shiftY = shiftY
    self.shiftX = shiftX
    self.flip = flip
  }
}

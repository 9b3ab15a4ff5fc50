import EspLayers

extension Tape {
  /// Every `stride`-th pixel both ways, with as many channels of zeros before as after: the shortcut without weights (option A of
  /// He et al. 2016).
  public func paddedShortcut(_ x: Variable, outChannels: Int, stride: Int) throws -> Variable {
    let inputShape = x.shape
    try inputShape.requireOneToken("shortcut")
    let padding = outChannels - inputShape.channels
    guard stride > 0, padding >= 0, padding % 2 == 0 else {
      throw EspalierError.usage(
        "shortcut: stride \(stride) from \(inputShape.channels) to \(outChannels) channels; expected a positive stride and as many new channels on either side"
      )
    }
    let context = context
    let shape = esp_shortcut_shape(
      in_channels: inputShape.channels, in_height: inputShape.height, in_width: inputShape.width, stride: stride,
      front: padding / 2, back: padding / 2)
    let output = context.pool.activations(
      inputShape.with(
        channels: outChannels, height: (inputShape.height - 1) / stride + 1, width: (inputShape.width - 1) / stride + 1)
    )
    let (blocks, lanes) = (inputShape.blocks, inputShape.lanes)
    withUnsafePointer(to: shape) {
      esp_shortcut_forward(x.value.pointer, $0, blocks, lanes, output.pointer, context.threadCount)
    }
    return record(output, inputs: [x]) { delta in
      let gradient = context.pool.activations(inputShape)
      withUnsafePointer(to: shape) {
        esp_shortcut_backward(delta.pointer, $0, blocks, lanes, gradient.pointer, context.threadCount)
      }
      return [gradient]
    }
  }
}

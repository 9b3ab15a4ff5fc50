import EspalierCore

/// Means of gradients over the batches of a step, one number a parameter's number.
final class GradientAccumulator {
  private let parts: Int
  private var sums: [MeteredBuffer<Float>] = []

  /// - Parameter parts: batches a step; with one there is nothing to keep.
  init(parts: Int) { self.parts = parts }

  /// Takes the gradients of batch number `part` of a step; after the last one the parameters' gradients are the means.
  ///
  /// Sums in the batches' order.
  func add(part: Int, of parameters: [any Parameter], context: ComputeContext) {
    guard parts > 1 else { return }
    if part == 0 { prepare(parameters) }
    for (parameter, sum) in zip(parameters, sums) {
      if part == 0 {
        _ = sum.buffer.update(fromContentsOf: parameter.gradient.buffer)
      } else if part < parts - 1 {
        context.add(parameter.gradient, to: sum)
      } else {
        context.add(sum, to: parameter.gradient)
        context.scale(parameter.gradient, by: 1 / Float(parts))
      }
    }
  }

  /// Makes room where a change of the topology has made a layer larger or smaller.
  private func prepare(_ parameters: [any Parameter]) {
    if sums.count != parameters.count { sums = parameters.map { $0.makeOptimizerState() } }
    for (index, parameter) in parameters.enumerated() where sums[index].count != parameter.count {
      sums[index] = parameter.makeOptimizerState()
    }
  }
}

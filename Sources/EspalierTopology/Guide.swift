import EspalierCore

/// How GSE draws the candidates of a layer: the product of a distribution of its inputs and one of its outputs (Heddes et al., arXiv
/// 2401.06898, supplement).
///
/// GraBo and GraEst take their sums inside the layer's backward pass, over all samples, tokens and patches. Time O((n + m) rows of the
/// batch); memory O(n + m).
public enum Guide: String, Sendable, CaseIterable, Codable {
  /// All connections alike.
  case uniform
  /// In proportion to a bound of the gradient's magnitude: sum |h_i| and sum |delta_o|.
  case grabo
  /// In proportion to an estimate of the gradient: |sum sigma h_i| and |sum sigma delta_o| with one fresh random sign a row of the batch.
  ///
  /// The authors' code takes only one row's delta for convolutions and repeats signs between batches; here all rows are summed, and
  /// signs depend on (seed, layer, step, row).
  case graest

  /// What the two ends of a layer's candidates are drawn by; nil where all are alike.
  func activity(in layer: some LayerProbe, step: Int, random: CounterRandom) -> LayerActivity? {
    switch self {
    case .uniform: nil
    case .grabo: layer.activity(.magnitudes)
    case .graest: layer.activity(.signed(random.stream(.signs, layer: layer.weights.index, step: step)))
    }
  }

  /// Where the two ends of a layer's candidates come from.
  func distribution(in layer: some LayerProbe, step: Int, random: CounterRandom) -> ConnectionDistribution {
    guard let activity = activity(in: layer, step: step, random: random) else { return .uniform }
    let (site, meter) = (layer.weights.matrix.site, layer.weights.matrix.meter)
    return ConnectionDistribution(
      outputs: AliasTable(weights: activity.outputs, site: site, meter: meter),
      inputs: AliasTable(weights: activity.inputs, site: site, meter: meter))
  }
}

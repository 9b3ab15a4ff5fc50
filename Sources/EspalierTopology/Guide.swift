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

  /// Where the two ends of a layer's candidates come from.
  func distribution(in layer: some LayerProbe, step: Int, random: CounterRandom) -> ConnectionDistribution {
    let weights = layer.weights
    let measure: ActivityMeasure
    switch self {
    case .uniform: return .uniform
    case .grabo: measure = .magnitudes
    case .graest: measure = .signed(random.stream(.signs, layer: weights.index, step: step))
    }
    let activity = layer.activity(measure)
    let (site, meter) = (weights.matrix.site, weights.matrix.meter)
    return ConnectionDistribution(
      outputs: AliasTable(weights: activity.outputs, site: site, meter: meter),
      inputs: AliasTable(weights: activity.inputs, site: site, meter: meter))
  }
}

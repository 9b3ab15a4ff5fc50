import EspLayers

/// What a batch's loss came to.
public struct LossResult: Sendable {
  /// Sum of the samples' losses.
  public let total: Double
  /// Samples whose largest logit is the label's.
  public let correct: Int
  /// Number of samples.
  public let samples: Int
  /// Samples whose label is among the five largest logits, where that was counted.
  public let correctInTopFive: Int?

  /// Sums over a batch, or over several.
  public init(total: Double, correct: Int, samples: Int, correctInTopFive: Int? = nil) {
    self.total = total
    self.correct = correct
    self.samples = samples
    self.correctInTopFive = correctInTopFive
  }

  /// Mean of the samples' losses.
  public var mean: Double { total / Double(samples) }
  /// The mean loss in words: a number that is none has no sign.
  package var words: String { mean.isNaN ? "nan" : "\(mean)" }
  /// Top-1, as a fraction.
  public var accuracy: Double { Double(correct) / Double(samples) }
  /// Top-5, as a fraction, where it was counted.
  public var topFiveAccuracy: Double? { correctInTopFive.map { Double($0) / Double(samples) } }
}

extension ComputeContext {
  /// Softmax cross-entropy with label smoothing e: the target is (1 - e) * onehot + e / classes (Szegedy et al. 2016).
  ///
  /// - Parameters:
  ///   - logits: [samples, classes]
  ///   - labels: [samples], each below the number of classes
  ///   - labelSmoothing: e, 0 ..< 1.
  ///   - gradient: receives the gradient of the mean loss, if given.
  ///   - batch: samples that the mean is over, where these are a part of them; nil: these.
  public func softmaxCrossEntropy(
    _ logits: Activations, labels: UnsafeBufferPointer<UInt32>, labelSmoothing: Float = 0, gradient: Activations? = nil,
    batch: Int? = nil
  ) -> LossResult {
    let shape = logits.shape
    precondition(labels.count == shape.samples && shape.blocks == shape.sampleBlocks && shape.positions == 1)
    var correct = 0
    let total = esp_softmax_cross_entropy(
      isa, logits.pointer, labels.baseAddress, labelSmoothing, 1 / Float(batch ?? shape.samples), shape.channels,
      shape.samples, shape.lanes, gradient?.pointer, &correct)
    return LossResult(total: total, correct: correct, samples: shape.samples)
  }

  /// Samples whose label is among the k largest logits; of equal logits those of lower classes come first.
  ///
  /// - Parameters:
  ///   - k: above 0.
  ///   - logits: [samples, classes]
  ///   - labels: [samples], each below the number of classes
  public func countCorrect(amongLargest k: Int, _ logits: Activations, labels: UnsafeBufferPointer<UInt32>) -> Int {
    let shape = logits.shape
    precondition(labels.count == shape.samples && shape.blocks == shape.sampleBlocks && shape.positions == 1 && k > 0)
    return esp_top_k_correct(isa, logits.pointer, labels.baseAddress, k, shape.channels, shape.samples, shape.lanes)
  }
}

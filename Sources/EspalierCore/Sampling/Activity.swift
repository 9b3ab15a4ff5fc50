import EspSampling
import EspSparseConv

/// What guides exploration: how a layer's inputs h and the gradients delta of its outputs are summed over a batch.
///
/// A convolution's patches and a transformer's tokens are rows of the batch like samples.
public enum ActivityMeasure: Sendable {
  /// Sum of |h| and of |delta| (GraBo).
  case magnitudes
  /// Sum of sigma h and of sigma delta with the same random sign sigma for each row, so that the product of an input's and an
  /// output's sum is the gradient in expectation (GraEst, before absolute values). A row's sign depends on its sample's number in the
  /// batch, `firstSample` being that of the first one at hand.
  case signed(CounterRandom.Stream, firstSample: Int = 0)
}

/// A layer's activity in one batch.
public struct LayerActivity {
  /// [columns]
  public let inputs: MeteredBuffer<Double>
  /// [rows]
  public let outputs: MeteredBuffer<Double>

  /// Sums that were taken elsewhere.
  public init(inputs: MeteredBuffer<Double>, outputs: MeteredBuffer<Double>) {
    self.inputs = inputs
    self.outputs = outputs
  }

  /// Undefined sums for a layer.
  init(of matrix: SparseMatrix) {
    inputs = MeteredBuffer(count: matrix.columns, tag: .candidates, site: matrix.site, meter: matrix.meter)
    outputs = MeteredBuffer(count: matrix.rows, tag: .candidates, site: matrix.site, meter: matrix.meter)
  }
}

extension ActivationShape {
  var activityShape: esp_activity_shape {
    esp_activity_shape(samples: samples, tokens: tokens, channels: channels, positions: positions, lanes: lanes)
  }

  /// Numbers of a batch of this shape with one channel: rows of the batch, padding included.
  fileprivate var rowsOfBatch: Int { blocks * positions * lanes }
}

extension ComputeContext {
  /// Runs `body` with the sign of each row of a batch of `shape`; nil where the measure has none.
  func withSigns<R>(
    _ measure: ActivityMeasure, of shape: ActivationShape, _ body: (UnsafePointer<Float>?) -> R
  ) -> R {
    guard case .signed(let stream, let firstSample) = measure else { return body(nil) }
    return pool.withWorkspace(count: shape.rowsOfBatch) { signs in
      withUnsafePointer(to: shape.activityShape) {
        esp_activity_signs(stream.key, firstSample, $0, signs, threadCount)
      }
      return body(signs)
    }
  }

  /// sums[c] := the sum over a batch's rows of channel c's magnitudes, or of its numbers times `signs`.
  func sumActivity(of x: Activations, signs: UnsafePointer<Float>?, into sums: MeteredBuffer<Double>) {
    precondition(sums.count == x.shape.channels)
    withUnsafePointer(to: x.shape.activityShape) {
      esp_activity_sums($0, x.pointer, signs, sums.pointer, threadCount)
    }
  }

  /// sums[c, ky, kx] := the sum over all patches of the magnitudes of a convolution's inputs.
  func sumWindows(of x: Activations, shape: esp_conv_shape, into sums: MeteredBuffer<Double>) {
    withUnsafePointer(to: shape) { shape in
      pool.withDoubles(count: esp_activity_windows_workspace(shape, threadCount)) {
        esp_activity_windows(shape, x.shape.samples, x.shape.lanes, x.pointer, sums.pointer, $0, threadCount)
      }
    }
  }

  /// sums[c, ky, kx] := the sum over all patches of a convolution's inputs times `signs`: the weight gradient of one output channel
  /// whose gradient are the signs.
  func sumSignedWindows(
    of x: Activations, shape: esp_conv_shape, signs: UnsafePointer<Float>, of matrix: SparseMatrix,
    into sums: MeteredBuffer<Double>
  ) {
    var shape = shape
    shape.out_channels = 1
    let (columns, site) = (matrix.columns, matrix.site)
    let starts = MeteredBuffer<UInt64>(count: 2, tag: .candidates, site: site, meter: meter)
    let indices = MeteredBuffer<UInt32>(count: columns, tag: .candidates, site: site, meter: meter)
    let gradient = MeteredBuffer<Float>(count: columns, tag: .candidates, site: site, meter: meter)
    starts[0] = 0
    starts[1] = UInt64(columns)
    for column in 0..<columns { indices.pointer[column] = UInt32(column) }
    let row = SparseStructure(rows: 1, columns: columns, rowStarts: starts, columnIndices: indices)
    weightGradient(at: row, shape: shape, input: x, delta: signs, into: gradient)
    for column in 0..<columns { sums.pointer[column] = Double(gradient.pointer[column]) }
  }

  /// The gradient of a convolution's weights at `connections`.
  func weightGradient(
    at connections: SparseStructure, shape: esp_conv_shape, input: Activations, delta: UnsafePointer<Float>,
    into gradients: MeteredBuffer<Float>
  ) {
    withUnsafePointer(to: connections.csr) { csr in
      withUnsafePointer(to: shape) { shape in
        let (blocks, lanes) = (input.shape.blocks, input.shape.lanes)
        let floats = esp_sparse_conv_sddmm_workspace(shape, connections.count, blocks, lanes, threadCount)
        pool.withWorkspace(count: floats) { workspace in
          esp_sparse_conv_sddmm_f32(
            isa, csr, shape, blocks, lanes, input.pointer, delta, gradients.pointer, workspace, threadCount)
        }
      }
    }
  }
}

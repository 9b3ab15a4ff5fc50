import Espalier
import Foundation

/// Decodes a folder's training pictures once for each number of workers and prints how fast that went.
///
///     swift run -c release Loader FOLDER [SIDE] [WORKERS,WORKERS...]
///
/// FOLDER is made by pictures.py, or any data set of the form train/CLASS/*.jpg, val/CLASS/*.jpg. SIDE, 224 by default, is that of the
/// model's input.
func measure(_ split: ImageSplit, side: Int, workers: Int) throws -> Double {
  let random = CounterRandom(seed: 1)
  let order = SampleOrder(count: split.count, epoch: 0, random: random)
  let request = PictureRequest(
    split: split, batches: order.batches(size: 32, dropLast: true), first: 0,
    transform: .random(.resized, flips: true, epoch: 0, random),
    size: PictureSize(height: side, width: side), damage: .replace)
  let started = ContinuousClock.now
  let batches = try PictureBatches(request, workers: workers, instructionSet: .selected())
  var pictures = 0
  while let count = try batches.withNext({ $0.samples.count }) { pictures += count }
  return Double(pictures) / ((ContinuousClock.now - started) / .seconds(1))
}

let arguments = CommandLine.arguments.dropFirst()
guard let folder = arguments.first else {
  print("usage: Loader FOLDER [SIDE] [WORKERS,WORKERS...]")
  exit(64)
}
let side = arguments.dropFirst().first.flatMap { Int($0) } ?? 224
let workers = (arguments.dropFirst(2).first ?? "1,2").split(separator: ",").compactMap { Int($0) }
let split = try DatasetCatalog.load(name: "folder", directory: folder).train
_ = try measure(split, side: side, workers: 1)  // the files are in memory from here on
for count in workers {
  let rates = try (0..<3).map { _ in try measure(split, side: side, workers: max(1, count)) }
  print(String(format: "%d workers, %d x %d: %.0f images/s (best of 3)", count, side, side, rates.max() ?? 0))
}

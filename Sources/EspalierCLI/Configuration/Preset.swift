import EspalierCore

/// The recipes of Heddes et al. (arXiv 2401.06898, section 4 and appendix), under names such as `cifar10-resnet56-98`: data set, model, sparsity in percent.
enum Preset {
  private static let small = ["resnet56": "resnet56", "vgg16": "vgg16-small", "vit": "simple-vit-tiny"]
  private static let sets = ["cifar10", "cifar100"]
  private static let sparsities = [90, 95, 98]

  /// All names, in order.
  static let names =
    sets.flatMap { set in small.keys.sorted().flatMap { model in sparsities.map { "\(set)-\(model)-\($0)" } } }
    + [80, 90].map { "imagenet-resnet50-\($0)" } + ["fashion-mnist-vgg16-98"]

  /// The flags that a preset stands for.
  ///
  /// - Throws: `EspalierError.usage` with the nearest name that is known.
  static func arguments(name: String) throws -> [String] {
    guard names.contains(name), let percent = name.split(separator: "-").last else {
      let hint =
        EspalierError.nearest(to: name, among: names).map { "did you mean '\($0)'?" }
        ?? "known are \(names.joined(separator: ", "))"
      throw EspalierError.usage("preset: '\(name)' is unknown; \(hint)")
    }
    let sparsity = "--sparsity=0.\(percent)"
    if name.hasPrefix("imagenet") { return imageNet + [sparsity] }
    if name.hasPrefix("fashion") { return fashion + [sparsity] }
    let parts = name.split(separator: "-").map(String.init)
    let model = small[parts[1]] ?? parts[1]
    return ["--dataset=\(parts[0])", "--model=\(model)", sparsity, "--lr=\(parts[1] == "vit" ? 0.01 : 0.1)"] + cifar
  }

  /// 200 epochs, updates every 1,000 steps until epoch 120.
  private static let cifar = [
    "--method=gse", "--guide=uniform", "--epochs=200", "--batch-size=128", "--warmup-epochs=5", "--milestones=80,120",
    "--update-every=1000", "--update-until=0.6", "--alpha=0.2", "--gamma=1", "--momentum=0.9", "--weight-decay=0.0001",
  ]

  /// 100 epochs with label smoothing and gamma 2; drops and last update in the same proportions as for CIFAR, since neither paper nor code gives them.
  private static let imageNet = [
    "--dataset=imagenet", "--model=resnet50", "--method=gse", "--guide=uniform", "--epochs=100", "--batch-size=128",
    "--lr=0.1", "--warmup-epochs=5", "--milestones=40,60", "--update-every=1000", "--update-until=0.6", "--alpha=0.2",
    "--gamma=2", "--momentum=0.9", "--weight-decay=0.0001", "--label-smoothing=0.1",
  ]

  /// Not the paper's: the README's job of a few minutes.
  private static let fashion = [
    "--dataset=fashion-mnist", "--model=vgg16-small", "--method=gse", "--guide=uniform", "--update-mode=add",
    "--epochs=4", "--batch-size=128", "--lr=0.1", "--warmup-epochs=0.5", "--milestones=2,3", "--update-every=100",
    "--update-until=0.75",
  ]
}

#!/usr/bin/env python3
"""Trains an mlp whose layers are too wide for any dense form, width by width: seconds, resident memory, and a picture of both.

    python3 wide_training.py ESPALIER OUTPUT [--widths 16384,...,1048576] [--connections 7] [--steps 24] [--threads 2]
                                             [--epoch 1048576]

Two hidden layers of each width on Fashion-MNIST, Erdos-Renyi with `--connections` connections a unit in all, batches of 128, GSE, an
update every fifth of the `--steps` steps (24: every four). The dense weights of the middle layer of 1,048,576 units would take 4.4 TB.
`--epoch WIDTH` trains that width for a whole epoch instead, with an update every hundred steps. OUTPUT gets wide-training.json and,
where Matplotlib is installed, wide-training.svg. Exits with 1 where memory more than doubled, or time grew more than 2.5 times, from one width to twice that width;
times count once activations are larger than the caches (from `--cached` units on).

The learning rate falls with the width, as an output's logit moves by rate x fan-in: 32 / width.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

PIXELS, CLASSES = 784, 10


def train(arguments, width, flags):
    # nnz = (1 - s) * (784 + width + 10) * width
    sparsity = 1 - arguments.connections / (width + PIXELS + CLASSES)
    with tempfile.TemporaryDirectory() as folder:
        command = [arguments.espalier, "train", "--model", "mlp", "--hidden", f"{width},{width}", "--dataset", "fashion-mnist"]
        command += ["--method", "gse", "--sparsity", repr(sparsity), "--batch-size", "128", "--lr", repr(32 / width)]
        command += ["--threads", str(arguments.threads), "--json", "--output", folder, *flags]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}")
    keys = "nnz steps updates step_ms_median update_ms_median peak_rss_bytes weight_state_bytes train_seconds test_accuracy".split()
    return {"width": width, **{key: json.loads(done.stdout)[key] for key in keys}}


def picture(rows, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2))
    widths = [row["width"] for row in rows]
    axes[0].loglog(widths, [row["peak_rss_bytes"] / 1e9 for row in rows], "o-", base=2, label="resident, all of it")
    axes[0].loglog(widths, [row["weight_state_bytes"] / 1e9 for row in rows], "o-", base=2, label="weights, gradients, momentum, structure")
    axes[0].loglog(widths, [4 * width * width / 1e9 for width in widths], "--", base=2, label="dense weights alone")
    axes[0].set(ylabel="gigabytes", title="memory")
    axes[1].loglog(widths, [row["step_ms_median"] / 1e3 for row in rows], "o-", base=2, label="step")
    axes[1].loglog(widths, [row["update_ms_median"] / 1e3 for row in rows], "o-", base=2, label="step with a GSE update")
    axes[1].set(ylabel="seconds", title="time, batch 128")
    for one in axes:
        one.set(xlabel="units of a hidden layer")
        one.grid(alpha=0.3)
        one.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("espalier")
    parser.add_argument("output")
    parser.add_argument("--widths", default=",".join(str(1 << k) for k in range(14, 21)))
    parser.add_argument("--connections", type=float, default=7)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cached", type=int, default=65536, help="widths below this may still profit from caches")
    parser.add_argument("--epoch", type=int, help="train this width for an epoch instead")
    arguments = parser.parse_args()
    os.makedirs(arguments.output, exist_ok=True)
    if arguments.epoch:
        flags = ["--epochs", "1", "--warmup-epochs", "0.1", "--milestones", "0.7", "--update-every", "100", "--update-until", "0.75"]
        print(json.dumps(train(arguments, arguments.epoch, flags)))
        return
    rows, failed = [], []
    every = str(max(1, arguments.steps // 5))
    flags = ["--max-steps", str(arguments.steps), "--update-every", every, "--update-until", "1", "--warmup-epochs", "0.1"]
    print("| width | connections | step, ms | step with update, ms | resident, MB | memory, times that of the width before | time, times |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for width in map(int, arguments.widths.split(",")):
        row = train(arguments, width, flags)
        memory = time = None
        if rows:
            memory = row["peak_rss_bytes"] / rows[-1]["peak_rss_bytes"]
            time = row["step_ms_median"] / rows[-1]["step_ms_median"]
            if memory > 2 or (time > 2.5 and rows[-1]["width"] >= arguments.cached):
                failed.append(width)
        rows.append(row)
        ratios = " | ".join("" if ratio is None else f"{ratio:.2f}" for ratio in (memory, time))
        cells = f"{width} | {row['nnz']} | {row['step_ms_median']:.1f} | {row['update_ms_median']:.1f} | {row['peak_rss_bytes'] / 1e6:.0f}"
        print(f"| {cells} | {ratios} |", flush=True)
    base = os.path.join(arguments.output, "wide-training")
    with open(base + ".json", "w") as file:
        json.dump(rows, file, indent=1)
    try:
        picture(rows, base + ".svg")
    except ImportError as error:
        print(f"no picture: {error}; pip install matplotlib", file=sys.stderr)
    if failed:
        sys.exit(f"memory or time grew too much up to {failed}")


main()

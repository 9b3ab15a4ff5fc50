"""A training step of Espalier at 98 % sparsity beside PyTorch's dense step, in turns on the same machine.

usage: steps.py ESPALIER [--avx2] [--threads 2] [--rounds 5] [--models vgg16-small,resnet56,simple-vit-tiny]

Each round runs PyTorch and then Espalier, each in a process of its own, on batches of 128 random images in memory; a round's
number is the median of its steps after the first three. Printed: the median of the rounds, their range, the ratio of the medians,
and both processes' peak resident memory. --avx2 keeps both from AVX-512.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

STEPS = {"vgg16-small": (12, 40), "resnet56": (7, 15), "simple-vit-tiny": (7, 15)}  # PyTorch's, Espalier's


def torch_round(model, threads, steps):
    """Runs in a process of its own: one round of dense PyTorch."""
    import torch
    import torch.nn.functional as F

    from models import MODELS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = MODELS[model]()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
    images, labels = torch.randn(128, 3, 32, 32), torch.randint(0, 10, (128,))
    times = []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        F.cross_entropy(network(images), labels).backward()
        optimizer.step()
        times.append(1e3 * (time.perf_counter() - start))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"step_ms_median": statistics.median(times[3:]), "peak_rss_bytes": peak}))


AVX2 = {"ESPALIER_ISA": "avx2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}\n{done.stderr}")
    return json.loads(done.stdout)


def espalier_round(binary, model, threads, steps):
    with tempfile.TemporaryDirectory() as runs:
        return run([binary, "train", "--model", model, "--dataset", "synthetic", "--sparsity", "0.98", "--batch-size", "128",
                    "--max-steps", str(steps), "--threads", str(threads), "--output", runs, "--json"])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("espalier")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--avx2", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--models", default=",".join(STEPS))
    parser.add_argument("--torch-round", metavar="MODEL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.torch_round:
        return torch_round(options.torch_round, options.threads, STEPS[options.torch_round][0])

    if options.avx2:
        os.environ.update(AVX2)
    print(f"Batch 128, {options.threads} threads{', AVX2' if options.avx2 else ''}, {options.rounds} rounds in turns: median (range) of the rounds' medians.\n")
    print("| model | PyTorch dense, ms a step | Espalier 98 %, ms a step | ratio | PyTorch, MiB | Espalier, MiB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for model in options.models.split(","):
        rounds = []
        for _ in range(options.rounds):
            dense = run([sys.executable, __file__, options.espalier, "--torch-round", model, "--threads", str(options.threads)])
            rounds.append((dense, espalier_round(options.espalier, model, options.threads, STEPS[model][1])))
        cells = []
        for side in (0, 1):
            times = [pair[side]["step_ms_median"] for pair in rounds]
            cells.append((statistics.median(times), f"{statistics.median(times):.1f} ({min(times):.1f}-{max(times):.1f})"))
        memory = [max(pair[side]["peak_rss_bytes"] for pair in rounds) / 2**20 for side in (0, 1)]
        print(f"| {model} | {cells[0][1]} | {cells[1][1]} | {cells[0][0] / cells[1][0]:.1f} | {memory[0]:.0f} | {memory[1]:.0f} |",
              flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Shows that training does not grow: the resident set of a run over thousands of steps, model by model.

    python3 steady_memory.py ESPALIER [--steps 2000] [--batch-size 16] [--models resnet20,vgg16-small] [--data synthetic]

Each model trains with GSE at 98 % sparsity and an update every 100 steps, checkpoints and all. The resident set (VmRSS) is read
five times a second; the table gives its highest value early in the run (its second and third tenth, when everything has been
allocated that a step needs) and in its last tenth, in MiB. Exits with 1 where a model grew by more than 1 %.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

SMALL = (
    "mlp resnet20 resnet32 resnet44 resnet56 resnet110 vgg11-small vgg13-small vgg16-small vgg19-small simple-vit-tiny"
).split()


def resident(process):
    with open(f"/proc/{process}/status") as status:
        for line in status:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0.0


def last_step(folder):
    """The newest step in the run's metrics, 0 before the first."""
    for run in os.listdir(folder):
        path = os.path.join(folder, run, "metrics.jsonl")
        if os.path.exists(path):
            lines = [line for line in open(path) if line.endswith("\n")]
            if lines:
                return json.loads(lines[-1]).get("step") or 0
    return 0


def watch(espalier, model, arguments):
    """Trains `model` and returns pairs of step and resident MiB."""
    with tempfile.TemporaryDirectory() as folder:
        command = [espalier, "train", "--model", model, "--dataset", arguments.data, "--sparsity", "0.98"]
        command += ["--update-every", "100", "--log-every", "10", "--lr", "0.001", "--output", folder]
        command += ["--max-steps", str(arguments.steps), "--batch-size", str(arguments.batch_size)]
        command += ["--checkpoint-every", "500"]
        with tempfile.TemporaryFile() as log:
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
            readings = []
            while run.poll() is None:
                time.sleep(0.2)
                try:
                    readings.append((last_step(folder), resident(run.pid)))
                except (FileNotFoundError, ProcessLookupError):
                    pass
            if run.returncode != 0:
                log.seek(0)
                sys.exit(f"{model}: exit {run.returncode}: {log.read().decode()[-500:]}")
        return readings


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("espalier")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--models", default=",".join(SMALL))
    parser.add_argument("--data", default="synthetic")
    arguments = parser.parse_args()
    grew = []
    print(f"{'model':16s} {'early MiB':>10s} {'late MiB':>10s} {'growth':>8s} {'readings':>9s}")
    for model in arguments.models.split(","):
        readings = watch(arguments.espalier, model, arguments)
        tenth = arguments.steps / 10
        early = [size for step, size in readings if tenth <= step < 3 * tenth and size]
        late = [size for step, size in readings if step >= 9 * tenth and size]
        if not early or not late:
            sys.exit(f"{model}: too short to be watched; give more --steps")
        growth = max(late) / max(early) - 1
        print(f"{model:16s} {max(early):10.1f} {max(late):10.1f} {100 * growth:7.2f}% {len(readings):9d}", flush=True)
        if growth > 0.01:
            grew.append(model)
    sys.exit(f"grew: {', '.join(grew)}" if grew else 0)


main()

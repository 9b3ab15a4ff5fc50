#!/usr/bin/env python3
"""Shows what each method holds while it trains and updates a layer that could not exist dense: 65,536 x 65,536.

    python3 wide_memory.py ESPALIER [--width 65536] [--steps 4] [--threads 1] [--methods gse,rigl] [--output TABLE.json]

An mlp of two hidden layers on Fashion-MNIST, uniformly 99.99 % sparse, batches of 32, an update every 2 steps. The dense weights of
the layer between them alone would take 17.2 GB. gse/grabo is gse with that guide; granet begins with twice its final density.
Methods that look at every possible connection at updates (rigl, granet) take up to a minute, those scored at the start some (magnitude, snip)
or a quarter to half an hour of a thread (grasp, synflow: not among the default methods). Exits with 1 where a method held more than 3 GB.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time

METHODS = (
    "gse/uniform gse/grabo gse/graest static set dsr deepr mest itop snfs topkast "
    "rigl itop-rigl granet magnitude snip"
).split()
SPARSITY = 0.9999
LIMIT = 3e9


def train(espalier, method, arguments):
    """The result of a run, and the seconds that the whole process took."""
    name, _, guide = method.partition("/")
    with tempfile.TemporaryDirectory() as folder:
        command = [espalier, "train", "--model", "mlp", "--hidden", f"{arguments.width},{arguments.width}", "--method", name]
        command += ["--dataset", "fashion-mnist", "--distribution", "uniform", "--sparsity", str(SPARSITY), "--batch-size", "32"]
        command += ["--max-steps", str(arguments.steps), "--update-every", "2", "--update-until", "1"]
        command += ["--threads", str(arguments.threads), "--json", "--output", folder]
        command += ["--guide", guide] if guide else []
        command += ["--initial-sparsity", str(1 - 2 * (1 - SPARSITY))] if name == "granet" else []
        start = time.monotonic()
        done = subprocess.run(command, capture_output=True, text=True)
        seconds = time.monotonic() - start
        if done.returncode != 0:
            sys.exit(f"{method}: exit {done.returncode}: {done.stderr[-500:]}")
        return json.loads(done.stdout), seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("espalier")
    parser.add_argument("--width", type=int, default=65536)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--output", help="a JSON file for the rows")
    arguments = parser.parse_args()
    rows, over = [], []
    print("| method | resident, MB | largest weight buffer, MB | updates | update, ms | step, ms | whole run, s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for method in arguments.methods.split(","):
        result, seconds = train(arguments.espalier, method, arguments)
        row = {key: result.get(key) for key in ("nnz", "updates", "update_ms_median", "step_ms_median", "peak_rss_bytes")}
        row |= {"method": method, "seconds": seconds, "largest_weight_buffer_bytes": result["largest_weight_buffer_bytes"]}
        rows.append(row)
        update = f"{row['update_ms_median']:.0f}" if row["update_ms_median"] else ""
        print(
            f"| `{method}` | {row['peak_rss_bytes'] / 1e6:.0f} | {row['largest_weight_buffer_bytes'] / 1e6:.1f} | {row['updates']} | "
            f"{update} | {row['step_ms_median']:.0f} | {seconds:.0f} |",
            flush=True,
        )
        if row["peak_rss_bytes"] > LIMIT:
            over.append(method)
        if arguments.output:
            with open(arguments.output, "w") as file:
                json.dump(rows, file, indent=1)
    sys.exit(f"more than {LIMIT / 1e9:.0f} GB: {', '.join(over)}" if over else 0)


main()

#!/usr/bin/env python3
"""Compares what `espalier plan --ranks` predicts with runs of one and two ranks on this machine, one thread a rank.

    python3 rank_scaling.py ESPALIER --bandwidth GB/S --latency MICROSECONDS [--plan ESPALIER] [--steps 30] [--models a,b] [--output FILE.json]

ESPALIER is a program that was built with the trait MPI (`swift build -c release --traits MPI`); `--plan` names another one for the
predictions. Bandwidth and latency are those between two processes of this machine: a ping-pong program, such as osu_latency and osu_bw,
measures them.

Each model trains for `--steps` steps on synthetic data with method static (no update of the topology), and with method dense where it is
said so: on one rank with a batch of 128, on two with the same batch (strong scaling) and with twice that (weak scaling). Printed is
`step_ms_median` beside the prediction, and the part of it in calls that send and receive (all of training's, divided by steps: it has the
first ones, and waiting for the other rank, in it). Two ranks want two idle processors: beside other work each message waits until the
other rank has a processor.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

MODELS = {
    "mlp": (["--model", "mlp", "--hidden", "1024,1024", "--sparsity", "0.9"], ("static", "dense")),
    "wide-mlp": (["--model", "mlp", "--hidden", "65536,65536", "--sparsity", "0.9999"], ("static",)),
    "vgg16-small": (["--model", "vgg16-small", "--sparsity", "0.98"], ("static", "dense")),
    "resnet20": (["--model", "resnet20", "--sparsity", "0.95"], ("static", "dense")),
}
BATCH = 128
ENVIRONMENT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "OMPI_MCA_rmaps_base_oversubscribe": "1"}


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, env={**ENVIRONMENT, **os.environ})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def predicted(arguments, flags):
    return run(
        [arguments.plan or arguments.program, "plan", "--json", "--dataset", "synthetic", "--threads", "1"]
        + ["--batch-size", str(BATCH), "--ranks", "1,2"]
        + ["--bandwidth", str(arguments.bandwidth), "--latency", str(arguments.latency)] + flags
    )["scaling"]


def measured(arguments, flags, method, ranks, batch):
    flags = flags if method != "dense" else flags[: flags.index("--sparsity")]
    with tempfile.TemporaryDirectory() as place:
        result = run(
            ["mpirun", "-n", str(ranks), arguments.program, "train", "--json", "--dataset", "synthetic", "--threads", "1"]
            + ["--method", method, "--batch-size", str(batch), "--max-steps", str(arguments.steps), "--lr", "0.001"]
            + ["--output", place] + flags
        )
    parallel = result.get("parallel")
    messages = 1000 * parallel["seconds"] / result["steps"] if parallel else 0.0
    return result["step_ms_median"], messages


def rows(arguments, name):
    flags, methods = MODELS[name]
    plan = predicted(arguments, flags)
    for method in methods:
        kind = "dense" if method == "dense" else "sparse"
        for ranks, batch, scaling in ((1, BATCH, "strong"), (2, BATCH, "strong"), (2, 2 * BATCH, "weak")):
            row = plan[scaling][ranks - 1]
            step, messages = measured(arguments, flags, method, ranks, batch)
            guess = row[f"{kind}_gradients_ms"] + row["statistics_ms"]
            yield {
                "model": name, "kind": kind, "ranks": ranks, "batch": batch, "predicted_ms": row[f"{kind}_ms"],
                "step_ms_median": step, "ratio": row[f"{kind}_ms"] / step, "predicted_messages_ms": guess,
                "messages_ms_mean": messages,
            }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--plan")
    parser.add_argument("--bandwidth", type=float, required=True)
    parser.add_argument("--latency", type=float, required=True)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--output")
    arguments = parser.parse_args()
    columns = ["model", "kind", "ranks", "batch", "predicted ms", "measured ms", "ratio", "messages predicted", "messages measured"]
    print(f"load average before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
    result = []
    for name in arguments.models.split(","):
        for row in rows(arguments, name):
            result.append(row)
            cells = [f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()]
            print("| " + " | ".join(cells) + " |", flush=True)
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump({"load_average": os.getloadavg()[0], "rows": result}, file, indent=1)


if __name__ == "__main__":
    main()

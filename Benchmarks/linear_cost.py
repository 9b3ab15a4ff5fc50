#!/usr/bin/env python3
"""Shows what a training step and an update cost as layers grow wider: operations and memory references counted, bytes held, time.

    python3 linear_cost.py SCALING OUTPUT [--quick] [--counted 65536]   (needs valgrind, binutils; Matplotlib for the picture)

SCALING is the program of this package (`swift build -c release --product Scaling`). OUTPUT gets linear-cost.json, linear-cost.md and
linear-cost.svg. An mlp with two hidden layers of 4,096 to 1,048,576 units and 8 connections a unit, batches of 32, one thread.
Layers are timed up to 1,048,576 units and counted up to `--counted` (some minutes; 1048576 takes hours under the emulator).

Counting: cachegrind runs the program with 4 and 6 steps; the difference over 2 is a step, whatever was done before it. The same with
updates every 2 steps, less the steps, is an update (GSE's; streamed RigL's beside it, on narrower layers, since it looks at every
possible connection). Vector instructions count once; cachegrind has no AVX-512, so ESPALIER_ISA is avx2 there. Times are medians of
the program alone, with the processor's own instruction set.
"""

import argparse
import functools
import json
import math
import os
import subprocess
import sys
import tempfile

WIDTHS = {
    False: {"gse": [4096 << (2 * k) for k in range(5)], "rigl": [1024, 4096, 16384]},
    True: {"gse": [1024, 4096, 16384], "rigl": [1024, 4096]},
}
TIMED = {False: {"gse": [4096 << k for k in range(9)], "rigl": [1024, 4096, 16384]}, True: WIDTHS[True]}

SCRATCH = tempfile.TemporaryDirectory()


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr[-500:]}")
    return done


@functools.cache
def stripped(program):
    """A copy without debug information, whose form valgrind may not know."""
    path = os.path.join(SCRATCH.name, "scaling")
    subprocess.run(["strip", "-o", path, program], check=True)
    return path


def counted(program, width, method, steps, interval):
    """Instructions and memory references of a whole run, and its updates."""
    with tempfile.NamedTemporaryFile() as file:
        command = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", f"--cachegrind-out-file={file.name}"]
        command += [stripped(program), str(width), method, str(steps), str(interval)]
        done = run(command, {"ESPALIER_ISA": "avx2", "SCALING_PROBE": "0"})
        lines = open(file.name).read().splitlines()
    names = next(line for line in lines if line.startswith("events:")).split()[1:]
    sums = next(line for line in lines if line.startswith("summary:")).split()[1:]
    events = dict(zip(names, map(int, sums)))
    return {
        "instructions": events["Ir"],
        "references": events["Dr"] + events["Dw"],
        "updates": json.loads(done.stdout)["updates"],
    }


def per_step_and_update(program, width, methods):
    """Counts a step, and an update beside it for each method."""
    plain = {steps: counted(program, width, "static", steps, 2) for steps in (4, 6)}
    row = {"width": width}
    for event in ("instructions", "references"):
        row[f"step_{event}"] = (plain[6][event] - plain[4][event]) / 2
    for method in methods:
        moved = {steps: counted(program, width, method, steps, 2) for steps in (4, 6)}
        updates = moved[6]["updates"] - moved[4]["updates"]
        for event in ("instructions", "references"):
            extra = moved[6][event] - moved[4][event] - (plain[6][event] - plain[4][event])
            row[f"{method}_{event}"] = extra / updates
    return row


def slope(rows, key):
    """Of log(key) over log(width): least squares, and the steepest between neighbours."""
    points = [(math.log(row["width"]), math.log(row[key])) for row in rows if row.get(key)]
    if len(points) < 2:
        return None
    mean_x, mean_y = (sum(p[i] for p in points) / len(points) for i in (0, 1))
    fit = sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points)
    steepest = max((b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(points, points[1:]))
    return {"fit": round(fit, 3), "steepest": round(steepest, 3)}


def table(rows, columns):
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(f"{row[c]:.4g}" if isinstance(row.get(c), float) else str(row.get(c, "")) for c in columns) + " |")
    return "\n".join(lines)


def picture(result, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2))
    for key, label in (
        ("step_instructions", "step"), ("gse_instructions", "GSE update"), ("rigl_instructions", "streamed RigL update"),
    ):
        rows = [row for row in result["counted"] if row.get(key)]
        fit = result["slopes"][key]["fit"]
        left.loglog([r["width"] for r in rows], [r[key] for r in rows], "o-", label=f"{label}: slope {fit}")
    left.set(xlabel="units of a hidden layer", ylabel="instructions", title="counted")
    for key, label, style in (
        ("step_ms", "step", "o-"), ("gse_ms", "GSE update", "o-"), ("rigl_ms", "streamed RigL update", "o-"),
        ("probe_ms", "as many random reads of 32 samples", "--"),
    ):
        rows = [row for row in result["timed"] if row.get(key)]
        right.loglog([r["width"] for r in rows], [r[key] for r in rows], style, label=label)
    right.set(xlabel="units of a hidden layer", ylabel="milliseconds", title="timed, one thread")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.tight_layout()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scaling")
    parser.add_argument("output")
    parser.add_argument("--quick", action="store_true", help="three small widths")
    parser.add_argument("--counted", type=int, default=65536, help="units of the widest layers that are counted")
    arguments = parser.parse_args()
    program, widths, timed = arguments.scaling, WIDTHS[arguments.quick], TIMED[arguments.quick]
    os.makedirs(arguments.output, exist_ok=True)
    times = {}
    for method in ("gse", "rigl"):
        for width in timed[method]:
            out = json.loads(run([program, str(width), method, "12", "3"]).stdout)
            row = times.setdefault(width, {"width": width})
            row[f"{method}_ms"] = out["update_ms"]
            if method == "gse":
                row.update(step_ms=out["step_ms"], connections=out["connections"], candidates=out["candidates"])
                row.update(weight_bytes=float(out["weight_bytes"]), activation_bytes=float(out["activation_bytes"]))
                row["probe_ms"] = out["probe_ns"] * out["connections"] * 1e-6
            print(json.dumps(row), flush=True)
    counts = []
    for width in sorted(width for width in set(widths["gse"]) | set(widths["rigl"]) if width <= arguments.counted):
        methods = [method for method in ("gse", "rigl") if width in widths[method]]
        counts.append(per_step_and_update(program, width, methods))
        print(json.dumps(counts[-1]), flush=True)
    keys = ["step_instructions", "step_references", "gse_instructions", "gse_references", "rigl_instructions", "rigl_references"]
    result = {"counted": counts, "timed": sorted(times.values(), key=lambda row: row["width"])}
    linear = [row for row in counts if row["width"] in widths["gse"]]
    result["slopes"] = {key: slope(counts if key.startswith("rigl") else linear, key) for key in keys}
    for key in ("weight_bytes", "activation_bytes", "step_ms", "gse_ms", "rigl_ms", "probe_ms"):
        result["slopes"][key] = slope(result["timed"], key)
    base = os.path.join(arguments.output, "linear-cost")
    with open(base + ".json", "w") as file:
        json.dump(result, file, indent=1)
    with open(base + ".md", "w") as file:
        file.write("Counted, a step and an update beside it:\n\n" + table(counts, ["width"] + keys) + "\n\nTimed, and bytes held:\n\n")
        columns = "width connections candidates weight_bytes activation_bytes step_ms gse_ms rigl_ms probe_ms".split()
        file.write(table(result["timed"], columns) + "\n\nSlopes on log-log axes (least squares, steepest between neighbours):\n\n")
        file.write(table([{"of": key, **value} for key, value in result["slopes"].items() if value], ["of", "fit", "steepest"]) + "\n")
    try:
        picture(result, base + ".svg")
    except ImportError as error:
        sys.exit(f"no picture: {error}; pip install matplotlib")


if __name__ == "__main__":
    main()

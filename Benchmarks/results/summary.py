"""The table of Benchmarks/RESULTS.md from the JSON of `espalier bench`: summary.py BENCH.json"""

import json
import statistics
import sys

report = json.load(open(sys.argv[1]))
sgemm = report["sgemm_gflops"]
print(f"{report['cpu']}, {report['isa']}; sgemm 2048 x 2048 x 128: {sgemm:.0f} GFLOP/s on one thread\n")


def ratio(row):
    """Useful GFLOP/s over those of the dense product of the same row (linear), or over sgemm's (convolution)."""
    if row["height"] * row["width"] > 1 or row["kernel"].startswith("conv"):
        return row["gflops"] / sgemm
    products = 2 if row["kernel"] == "backward" else 1
    dense = products * 2e-6 * row["inputs"] * row["outputs"] * row["batch"] / row["dense_ms"]
    return row["gflops"] / dense


def show(title, rows):
    if not rows:
        return
    ratios = sorted(map(ratio, rows))
    print(f"| {title} | {statistics.median(ratios):.2f} ({ratios[0]:.2f}) | {statistics.median(r['gflops'] for r in rows):.0f} |")


every = report["rows"] + report.get("backward", [])
one = [row for row in every if row["threads"] == 1]
two = {(row["name"], row["kernel"], row["sparsity"]): row for row in every if row["threads"] == 2}
print("| kernels, one thread | over sgemm, median (worst) | GFLOP/s, median |\n| --- | --- | --- |")
for kernel in ("forward", "input-gradient", "weight-gradient", "backward"):
    show(f"{kernel}, 1024-4096 units, 90-99 %", [r for r in one if r["kernel"] == kernel and r["sparsity"] >= 0.9])
for kernel in ("conv-forward", "conv-input-gradient", "conv-weight-gradient", "conv-backward"):
    rows = [r for r in one if r["kernel"] == kernel]
    show(f"{kernel}, vgg16-small", [r for r in rows if r["name"].startswith("vgg")])
    show(f"{kernel}, resnet56", [r for r in rows if r["name"].startswith("resnet")])
    show(f"{kernel}, both", [r for r in rows if r["batch"] == 128])
    show(f"{kernel}, large", [r for r in rows if r["batch"] == 32])
print("\nSpeed-up over sgemm, 2048 units, 90 / 95 / 98 / 99 %:")
for kernel in ("forward", "input-gradient", "weight-gradient", "backward"):
    rows = [r for r in one if r["kernel"] == kernel and r["inputs"] == 2048 and r["sparsity"] >= 0.9]
    rows.sort(key=lambda r: r["sparsity"])
    print(f"- {kernel}: " + " / ".join(f"{r['speedup']:.1f}" for r in rows))
print("\nDense and sparse take equally long, forward + backward, at (threads x units: sparsity):")
print(", ".join(f"{c['threads']} x {c['units']}: {100 * c['sparsity']:.0f} %" for c in report["crossovers"]))
if report["wide"]:
    print("\nNanoseconds a connection, batch 32, 8 connections a unit (threads x units):")
    print(", ".join(f"{r['threads']} x {r['units']}: {r['nanoseconds_per_connection']:.1f}" for r in report["wide"]))
if two:
    print()
    for title, convolutions in (("linear layers", False), ("convolutions", True)):
        rows = [r for r in one if r["kernel"].startswith("conv") == convolutions and r["sparsity"] >= 0.85]
        gains = sorted(r["ms"] / two[r["name"], r["kernel"], r["sparsity"]]["ms"] for r in rows)
        print(f"Two threads over one, {title}: {statistics.median(gains):.2f} (median; {gains[0]:.2f}-{gains[-1]:.2f})")

"""What a connection costs in the linear kernels, counted: instructions, reads, and misses of a first- and a second-level cache.

usage: profile.py [--kernels reads,spmm,...] [--units 1024,2048,4096] [--densities .1,.02,.01] [--batch 128]
                  [--d1 32768,8,64] [--l2 1048576,8,64] [--timed-only]

Builds the kernels and driver.c into a temporary folder and runs them under cachegrind, AVX2 variants beside OpenBLAS's Haswell sgemm,
one thread: twice as often and once, so that the difference is a repetition in its steady state. The caches are simulated:
set-associative, least recently used out first, without prefetching. Numbers are for 32 multiply-adds, which are a connection and a
block of 32 samples (`backward`, both gradients: 64); nanoseconds are of runs without cachegrind, the fastest of 30. `reads` only loads
what spmm reads at random, which no product by rows can do without. With `--timed-only` nothing is counted: for layers too wide to
emulate. Needs valgrind (to count), clang and OpenBLAS.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

AVX2 = "1"
LINEAR_KERNELS = ["reads", "spmm", "sddmm", "backward", "permute", "sgemm"]
HERE = pathlib.Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "CKernels"


def build(folder):
    clang = pathlib.Path(shutil.which("swift")).resolve().parent / "clang"
    sources = [*(KERNELS / "Runtime").glob("*.c"), *(KERNELS / "SparseMatmul").rglob("*.c"), HERE / "driver.c"]
    includes = [f"-I{KERNELS / name}" for name in ("Runtime/include", "SparseMatmul/include", "SparseMatmul")]
    program = pathlib.Path(folder) / "driver"
    flags = ["-O2", "-DNDEBUG", "-std=gnu11", "-Xclang", "-fopenmp"]
    subprocess.run([clang, *flags, *includes, *sources, "-o", program, "-lopenblas", "-l:libomp.so.5", "-lm"], check=True)
    return program


def run(arguments, before=()):
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Haswell"}
    return subprocess.run([*before, *map(str, arguments)], check=True, capture_output=True, text=True, env=environment)


def counts(arguments, repetitions, caches, folder):
    """Instructions, reads, D1 read misses and L2 read misses of one repetition."""
    file = pathlib.Path(folder) / "counts"
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=yes", f"--cachegrind-out-file={file}", "--I1=32768,8,64",
                f"--D1={caches[0]}", f"--LL={caches[1]}"]
    totals = []
    for times in (repetitions, 2 * repetitions):
        run([*arguments, times], valgrind)
        text = file.read_text()
        events = re.search(r"^events: (.*)$", text, re.M)[1].split()
        summary = re.search(r"^summary: (.*)$", text, re.M)[1].split()
        totals.append(dict(zip(events, map(int, summary))))
    return [(totals[1][e] - totals[0][e]) / repetitions for e in ("Ir", "Dr", "D1mr", "DLmr")]


def cases(options):
    """Kernel, units, density: sgemm once for each width."""
    for units in options.units.split(","):
        for density in options.densities.split(","):
            yield from ((k, units, density) for k in options.kernels.split(",") if k != "sgemm")
        if "sgemm" in options.kernels.split(","):
            yield "sgemm", units, "0"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kernels", default=",".join(LINEAR_KERNELS))
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--timed-only", action="store_true")
    parser.add_argument("--units", default="1024,2048,4096")
    parser.add_argument("--densities", default=".1,.02,.01")
    parser.add_argument("--d1", default="32768,8,64")
    parser.add_argument("--l2", default="1048576,8,64")
    options = parser.parse_args()
    unknown = set(options.kernels.split(",")) - set(LINEAR_KERNELS)
    if unknown:
        parser.error(f"--kernels: expected some of {','.join(LINEAR_KERNELS)}, found {','.join(sorted(unknown))}")
    if options.batch < 32 or options.batch % 32:
        parser.error(f"--batch: expected a multiple of 32, found {options.batch}")
    counted = [] if options.timed_only else ["instructions", "reads", "first-level misses", "second-level misses"]
    header = ["kernel", "units", "density", *counted, "ns"]
    print(f"| {' | '.join(header)} |\n|{' --- |' * len(header)}")
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        for kernel, units, density in cases(options):
            arguments = [program, kernel, AVX2, units, density, options.batch]
            nnz, seconds = run([*arguments, 30]).stdout.split()
            connections = int(units) ** 2 if kernel == "sgemm" else int(nnz)
            products = connections * (1 if kernel == "permute" else options.batch // 32)
            numbers = counts(arguments, 1, (options.d1, options.l2), folder) if counted else []
            numbers = [*(n / products for n in numbers), float(seconds) / products * 1e9]
            print(f"| {kernel} | {units} | {density} | {' | '.join(f'{n:.2f}' for n in numbers)} |", flush=True)


if __name__ == "__main__":
    main()

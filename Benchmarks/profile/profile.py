"""What a connection costs in the linear kernels, counted: instructions, reads, and misses of a first- and a second-level cache.

usage: profile.py [--units 1024,2048,4096] [--densities .1,.02,.01] [--d1 32768,8,64] [--l2 1048576,8,64]

Builds the kernels and driver.c into a temporary folder and runs them under cachegrind, AVX2 variants beside OpenBLAS's Haswell sgemm,
batch 128, one thread: twice as often and once, so that the difference is a repetition in its steady state. The caches are simulated:
set-associative, least recently used out first, without prefetching. Numbers are for 32 multiply-adds, which are a connection and a
block of 32 samples; nanoseconds are of runs without cachegrind, the fastest of 30. Needs valgrind, clang and OpenBLAS.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

BATCH, AVX2 = 128, "1"
HERE = pathlib.Path(__file__).resolve().parent
KERNELS = HERE.parent.parent / "CKernels"


def build(folder):
    clang = pathlib.Path(shutil.which("swift")).resolve().parent / "clang"
    sources = [*(KERNELS / "Runtime").glob("*.c"), *(KERNELS / "SparseMatmul").rglob("*.c"), HERE / "driver.c"]
    includes = [f"-I{KERNELS / name}" for name in ("Runtime/include", "SparseMatmul/include", "SparseMatmul")]
    program = pathlib.Path(folder) / "driver"
    flags = ["-O2", "-DNDEBUG", "-std=gnu11", "-Xclang", "-fopenmp"]
    subprocess.run([clang, *flags, *includes, *sources, "-o", program, "-lopenblas", "-l:libomp.so.5"], check=True)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", default="1024,2048,4096")
    parser.add_argument("--densities", default=".1,.02,.01")
    parser.add_argument("--d1", default="32768,8,64")
    parser.add_argument("--l2", default="1048576,8,64")
    options = parser.parse_args()
    print("| kernel | units | density | instructions | reads | first-level misses | second-level misses | ns |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        program = build(folder)
        cases = [(k, u, d) for u in options.units.split(",") for d in options.densities.split(",")
                 for k in ("spmm", "sddmm", "permute")]
        cases += [("sgemm", u, "0") for u in options.units.split(",")]
        for kernel, units, density in cases:
            arguments = [program, kernel, AVX2, units, density, BATCH]
            nnz, seconds = run([*arguments, 30]).stdout.split()
            connections = int(units) ** 2 if kernel == "sgemm" else int(nnz)
            products = connections * (1 if kernel == "permute" else BATCH // 32)
            numbers = counts(arguments, 1, (options.d1, options.l2), folder)
            cells = " | ".join(f"{n / products:.2f}" for n in numbers)
            print(f"| {kernel} | {units} | {density} | {cells} | {float(seconds) / products * 1e9:.2f} |", flush=True)


if __name__ == "__main__":
    main()

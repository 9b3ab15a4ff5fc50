#!/usr/bin/env python3
"""Time of one image through a network, one thread: Espalier's sparse weights (98 %), its dense twin on OpenBLAS, onnxruntime.

Models are made by one training step (speed does not depend on what the weights are), and onnxruntime runs the sparse one as
`espalier export --format onnx` writes it, with zeros. Contestants run in turns, some rounds of them; each round gives a median over its
images. Results are compared first: onnxruntime's logits with Espalier's.

    python3 -m pip install numpy onnxruntime
    python3 latency.py [PATH OF espalier] [MODEL...]
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import numpy
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROUNDS, WARMUP = 5, 3
# Image side, classes, images a round.
MODELS = {"mlp": (28, 10, 200), "vgg16-small": (32, 10, 100), "resnet56": (32, 10, 60), "resnet50": (224, 1000, 12)}


def espalier(*arguments):
    run = subprocess.run([PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def train(model, method, data, place):
    """A checkpoint of a model after one step."""
    result = espalier(
        "train", "--model", model, "--dataset", "npy", "--data-dir", data, "--method", method, "--sparsity", 0.98,
        "--max-steps", 1, "--batch-size", 2, "--lr", 1e-6, "--output", place / method,
    )  # fmt: skip
    return result["run"], result["nnz"]


def write_data(folder, side, classes, channels):
    random = numpy.random.default_rng(1)
    for part, count in (("train", 2), ("test", 1)):
        labels = numpy.full(count, classes - 1, numpy.int64)
        labels[0] = 0
        numpy.save(folder / f"x_{part}.npy", random.standard_normal((count, channels, side, side), numpy.float32))
        numpy.save(folder / f"y_{part}.npy", labels)


def latency(model, place):
    side, classes, count = MODELS[model]
    channels = 1 if model == "mlp" else 3
    write_data(place, side, classes, channels)
    sparse, nnz = train(model, "static", place, place)
    dense, weights = train(model, "dense", place, place)
    images = numpy.random.default_rng(2).standard_normal((count, channels, side, side), numpy.float32)
    numpy.save(place / "x.npy", images)
    espalier("export", sparse, "--format", "onnx", "--output", place / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(place / "model.onnx", options, providers=["CPUExecutionProvider"])

    def predict(checkpoint):
        times = espalier(
            "predict", checkpoint, "--input", place / "x.npy", "--output", place / "y.npy", "--batch-size", 1, "--threads", 1
        )  # fmt: skip
        return times["batch_ms_median"]

    def runtime():
        times = []
        for image in images:
            start = time.perf_counter()
            logits.append(session.run(None, {"input": image[None]})[0])
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times[WARMUP:])

    logits = []
    predict(sparse)
    runtime()
    expected = numpy.load(place / "y.npy")
    error = numpy.abs(numpy.concatenate(logits) - expected).max() / numpy.abs(expected).max()
    assert error < 1e-4, f"{model}: onnxruntime's logits differ by {error}"

    contestants = {
        "Espalier, sparse": lambda: predict(sparse),
        "Espalier's dense twin (OpenBLAS)": lambda: predict(dense),
        "onnxruntime, dense": runtime,
    }
    medians = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            medians[name].append(run())
    ours = statistics.median(medians["Espalier, sparse"])
    for name, times in medians.items():
        middle = statistics.median(times)
        print(
            f"| {model} | {name} | {middle:.3f} ({min(times):.3f}-{max(times):.3f}) | {middle / ours:.2f} |", flush=True
        )
    print(f"| | *{nnz} of {weights} weights* | | |", flush=True)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    PROGRAM = arguments.pop(0) if arguments else str(ROOT / ".build/release/espalier")
    print(f"Batch 1, one thread, {ROUNDS} rounds in turns: median (range) of the rounds' medians.\n")
    print("| model | contestant | ms an image | times Espalier's |\n| --- | --- | --- | --- |")
    for model in arguments or MODELS:
        with tempfile.TemporaryDirectory() as place:
            latency(model, pathlib.Path(place))

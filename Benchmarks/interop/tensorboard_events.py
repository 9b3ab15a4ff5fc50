#!/usr/bin/env python3
"""Trains a small network, kills it some times and goes on, and compares what TensorBoard sees with the run's own logs.

TensorBoard's EventAccumulator reads the event files: every point of metrics.jsonl must be there once, and nothing else.

    python3 -m pip install tensorboard
    python3 tensorboard_events.py [PATH OF espalier] [FOLDER OF A FINISHED RUN]
"""

import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = pathlib.Path(__file__).resolve().parents[2]
KILLS = 8
# Methods whose networks are dense at step 0, and layers up to which each one's density is shown.
DENSE_AT_FIRST = {"dense", "gradual", "lottery", "snfs-dense"}
LAYER_LIMIT = 64
TRAIN = (
    "train --dataset synthetic --model mlp --hidden 256 --batch-size 256 --max-steps 400 --epochs 20 --update-every 10 --log-every 1 "
    "--checkpoint-every 17 --threads 1"
)


def interrupted_run(program, place):
    """A run that was killed some times on its way to its end."""
    random.seed(5)
    command, kills = [program, *TRAIN.split(), "--output", str(place)], []

    def steps():
        """Steps in the log by now."""
        return sum(log.read_bytes().count(b'"step"') for log in place.glob("*/metrics.jsonl"))

    while True:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        target = steps() + random.randint(1, 60) if len(kills) < KILLS else 1 << 30
        while process.poll() is None and steps() < target:
            time.sleep(0.002)
        if process.poll() is None:
            process.kill()
            kills.append(steps())
        code = process.wait()
        run = next(place.iterdir())
        command = [program, "resume", str(run)]
        if code == 0:
            print(f"killed {len(kills)} times, with so many steps in the log: {kills}")
            return run
        assert code == -9, f"exit {code}"


def single(number):
    """A number as 32 bits hold it."""
    return struct.unpack("f", struct.pack("f", number))[0]


def compare(run):
    folder = run / "tensorboard"
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    accumulator.Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    expected = {}
    result = json.loads((run / "result.json").read_text())
    steps_an_epoch = next(round(line["step"] / line["epoch"]) for line in lines if "step" in line)
    for line in lines:
        tags = ("train_loss", "learning_rate", "images_per_second") if "step" in line else ("test_loss", "test_accuracy")
        step = line.get("step", min(line["epoch"] * steps_an_epoch, result["steps"]))
        for tag in tags:
            expected.setdefault(tag, []).append((step, single(line[tag])))
    tags = accumulator.Tags()["scalars"]
    for tag, points in expected.items():
        found = [(event.step, event.value) for event in accumulator.Scalars(tag)]
        assert found == points, f"{tag}: {len(found)} points, expected {len(points)}"
    updates = [json.loads(line) for line in (run / "topology.jsonl").read_text().splitlines()]
    updated = [update["step"] for update in updates]
    exploring = [
        update["step"]
        for update in updates
        if all(layer.get("exploration_rate") is not None for layer in update["layers"])
    ]
    explored = [event.step for event in accumulator.Scalars("exploration")] if "exploration" in tags else []
    assert explored == exploring, f"exploration at {explored}, expected {exploring}"
    # What is sparse from the start has a density then; a scored start is an update of its own.
    begins = result["method"] not in DENSE_AT_FIRST and 0 not in updated
    expected_steps = [0] * begins + updated if len(result["layers"]) <= LAYER_LIMIT else []
    for layer in result["layers"]:
        tag = f"density/{layer['name']}"
        points = accumulator.Scalars(tag) if tag in tags else []
        assert [point.step for point in points] == expected_steps, f"{tag}: {[point.step for point in points]}"
        if points:
            assert points[-1].value == single(layer["nnz"] / (layer["inputs"] * layer["outputs"])), tag
    counts = {tag: len(accumulator.Scalars(tag)) for tag in tags}
    print(f"{len(list(folder.iterdir()))} event files, points by curve: {counts}")


if __name__ == "__main__":
    program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / ".build/release/espalier")
    if len(sys.argv) > 2:
        compare(pathlib.Path(sys.argv[2]))
    else:
        with tempfile.TemporaryDirectory() as place:
            compare(interrupted_run(program, pathlib.Path(place) / "runs"))

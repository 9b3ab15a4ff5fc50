#!/usr/bin/env python3
"""Records what PyTorch computes with small models of sparse weights: the fixtures of RecordedModelTests.

Each NAME.safetensors is a checkpoint of the first weights, as Espalier writes one, and beside them under "recorded.": a batch of
images (bytes) with labels, its logits in evaluation mode, and where the model has no dropout its loss before each of six steps of
SGD and numbers after them. Everything is computed in double precision.

    python3 record.py FOLDER        (needs PyTorch; recorded with 2.x on the CPU)
"""

import copy
import json
import os
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

from architectures import VGG, CIFARResNet, ResNet, SimpleViT

CLASSES = 10
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


def sparse_weights(model):
    """Names of the weights that can be sparse."""
    return [f"{name}.weight" for name, module in model.named_modules() if isinstance(module, (nn.Linear, nn.Conv2d))]


def connection_counts(model, density, connections):
    """As many of each weight: `density` of all, or `connections` in all, in proportion to inputs + outputs."""
    shapes = {name: model.get_parameter(name).flatten(1).shape for name in sparse_weights(model)}
    if connections is None:
        return {name: max(1, round(density * rows * columns)) for name, (rows, columns) in shapes.items()}
    share = connections / sum(map(sum, shapes.values()))
    return {name: min(rows * columns, round(share * (rows + columns))) for name, (rows, columns) in shapes.items()}


def prepare(model, counts, denominator=None):
    """Draws a mask for each weight, and numbers that a float holds exactly for everything. Returns the masks.

    denominator: of the norms' and biases' numbers, so that files compress.
    """
    masks = {}
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype == torch.int64:
                continue
            if name in counts:
                rows = tensor.shape[0]
                active = torch.zeros(tensor.numel(), dtype=torch.bool)
                active[torch.randperm(tensor.numel())[: counts[name]]] = True
                masks[name] = active.view_as(tensor)
                fan_in = masks[name].view(rows, -1).sum(1).clamp(min=1).double()
                bound = (3 / fan_in).sqrt().view([rows] + [1] * (tensor.dim() - 1))
                value = (2 * torch.rand_like(tensor) - 1) * bound * masks[name]
            else:
                if name.endswith(".weight") or name.endswith("running_var"):
                    value = 0.75 + 0.5 * torch.rand_like(tensor)
                else:
                    value = 0.4 * torch.rand_like(tensor) - 0.2
                if denominator:
                    value = (value * denominator).round() / denominator
            tensor.copy_(value.float().double())
    return masks


class Writer:
    TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32", torch.int64: "I64", torch.uint8: "U8"}

    def __init__(self):
        self.header, self.data = {}, b""

    def add(self, name, tensor):
        raw = tensor.contiguous().flatten().numpy().tobytes()
        self.header[name] = {
            "dtype": self.TYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [len(self.data), len(self.data) + len(raw)],
        }
        self.data += raw

    def write(self, path):
        header = json.dumps(self.header, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        with open(path, "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header + self.data)
        print(path, os.path.getsize(path), "bytes")


def batch(samples, side):
    """Random images with labels, and the images as the model gets them."""
    images = torch.randint(0, 256, (samples, 3, side, side), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (samples,))
    return images, labels, (images.double() / 255 - 0.5) / 0.25


def logits(model, x):
    model.eval()
    with torch.no_grad():
        return model(x).float()


def train(model, masks, x, labels, learning_rate, steps):
    """Steps of SGD with the masks held. Returns the losses before them."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, MOMENTUM, weight_decay=WEIGHT_DECAY)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        loss.backward()
        for key, parameter in model.named_parameters():
            if key in masks:
                parameter.grad *= masks[key]
        optimizer.step()
    return losses


def perturbed(model, masks, x, labels, learning_rate, losses, runs=16):
    """The largest relative difference from `losses` in single precision, from weights that rounding has moved.

    Where it is large, a rectifier or a maximum is so near its edge that any order of additions may decide: such an instance says
    nothing about who computes it.
    """
    worst = 0
    for _ in range(runs):
        other = copy.deepcopy(model).float()
        with torch.no_grad():
            for tensor in other.state_dict().values():
                if tensor.dtype == torch.float32:
                    tensor *= 1 + 6e-8 * torch.randn_like(tensor)
        found = train(other, masks, x.float(), labels, learning_rate, len(losses))
        worst = max([worst] + [abs(a - b) / b for a, b in zip(found, losses)])
    return worst


def add_weights(writer, metadata, model, masks):
    for key, tensor in model.state_dict().items():
        if tensor.dtype == torch.int64:
            continue
        if key in masks:
            mask = masks[key].view(tensor.shape[0], -1)
            metadata[key + ".shape"] = str(list(mask.shape))
            starts = torch.cat((torch.zeros(1, dtype=torch.int64), mask.sum(1).cumsum(0)))
            writer.add(key + ".crow_indices", starts.int())
            writer.add(key + ".col_indices", mask.nonzero()[:, 1].int())
            writer.add(key + ".values", tensor[masks[key]].float())
        else:
            writer.add(key, tensor.float())


def record(path, name, model, width=1, density=None, connections=None, samples=8, side=32, learning_rate=None,
           steps=6, finals=None):  # fmt: skip
    """learning_rate: of the steps; None for none. finals: of what the numbers after them are kept; None for all."""
    model = model.double()
    masks = prepare(model, connection_counts(model, density, connections), 64 if connections else None)
    images, labels, x = batch(samples, side)
    metadata = {
        "espalier.format": "1", "model": name, "width": str(width), "hidden": "", "images": f"3x{side}x{side}",
        "classes": str(CLASSES), "dataset": "synthetic", "method": "static", "seed": "0", "step": "0",
        "batch_size": str(samples), "learning_rate": str(learning_rate), "pytorch": torch.__version__,
    }  # fmt: skip
    writer = Writer()
    add_weights(writer, metadata, model, masks)
    writer.add("recorded.images", images)
    writer.add("recorded.labels", labels.int())
    writer.add("recorded.logits", logits(model, x))
    if learning_rate:
        first = copy.deepcopy(model)
        losses = train(model, masks, x, labels, learning_rate, steps)
        print(name, "losses", losses)
        moved = perturbed(first, masks, x, labels, learning_rate, losses)
        if moved > 1e-5:
            sys.exit(f"{name}: rounding moves its losses by {moved:.1e}; try another seed")
        writer.add("recorded.losses", torch.tensor(losses, dtype=torch.float64))
        for key, tensor in model.state_dict().items():
            if tensor.dtype != torch.int64 and (finals is None or key.rpartition(".")[0] in finals):
                writer.add("recorded.final." + key, (tensor[masks[key]] if key in masks else tensor).float())
    writer.header["__metadata__"] = metadata
    writer.write(path)


if __name__ == "__main__":
    folder = sys.argv[1]
    torch.manual_seed(1)
    record(f"{folder}/resnet20.safetensors", "resnet20", CIFARResNet(20, 0.25), 0.25, 0.1, learning_rate=0.05)
    record(
        f"{folder}/simple-vit-tiny.safetensors", "simple-vit-tiny", SimpleViT(0.375), 0.375, 0.016, learning_rate=0.01
    )
    torch.manual_seed(2)
    record(
        f"{folder}/vgg16-small.safetensors", "vgg16-small", VGG(16, small=True, width=0.25, classes=CLASSES), 0.25, 0.1
    )
    # So few connections leave its norms all but constant channels, whose gradients rounding decides (in PyTorch's single precision
    # as well): the loss before the first step alone is recorded, and ResNet-18 for the steps.
    record(
        f"{folder}/resnet50.safetensors", "resnet50", ResNet(50, CLASSES), connections=40_000, samples=4, side=64,
        learning_rate=0.01, steps=1, finals=[],
    )  # fmt: skip
    record(f"{folder}/vgg11.safetensors", "vgg11", VGG(11, classes=CLASSES), connections=50_000, samples=2, side=72)
    # At a higher rate a rectifier that rounding moves across its edge decides the losses (see perturbed).
    torch.manual_seed(2)
    record(
        f"{folder}/resnet18.safetensors", "resnet18", ResNet(18, CLASSES), connections=30_000, side=64,
        learning_rate=0.002, finals=["conv1", "bn1", "layer2.0.conv1", "layer2.0.downsample.0", "layer4.1.bn2", "fc"],
    )  # fmt: skip

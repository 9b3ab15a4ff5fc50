#!/usr/bin/env python3
"""Records what PyTorch computes with two small models of sparse weights: the fixtures of RecordedModelTests.

Each NAME.safetensors is a checkpoint of the first weights, as Espalier writes one, and beside them under "recorded.": a batch of
images (bytes) with labels, its logits in evaluation mode, its loss before each of six steps of SGD, and all numbers after them.
Dense weights and a mask stand in for sparse ones; everything is computed in double precision.

    python3 record.py FOLDER        (needs PyTorch; recorded with 2.x on the CPU)
"""

import json
import struct
import sys

import torch
import torch.nn as nn
import torch.nn.functional as F

STEPS, SAMPLES, CLASSES = 6, 8, 10
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4


class Block(nn.Module):
    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride = stride

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            padding = y.shape[1] // 4
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, padding, padding))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(self, blocks, width):
        super().__init__()
        channels = [int(c * width) for c in (16, 32, 64)]
        self.conv1 = nn.Conv2d(3, channels[0], 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels[0])
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            layers = []
            for block in range(blocks):
                layers.append(Block(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.linear = nn.Linear(inputs, CLASSES)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dimension, heads, size=64):
        super().__init__()
        self.heads, self.size = heads, size
        self.norm = nn.LayerNorm(dimension)
        self.to_qkv = nn.Linear(dimension, 3 * heads * size, bias=False)
        self.to_out = nn.Linear(heads * size, dimension, bias=False)

    def forward(self, x):
        samples, tokens, _ = x.shape
        q, k, v = (
            part.view(samples, tokens, self.heads, self.size).transpose(1, 2)
            for part in self.to_qkv(self.norm(x)).chunk(3, -1)
        )
        weights = (q @ k.transpose(-1, -2) * self.size**-0.5).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).reshape(samples, tokens, -1))


class FeedForward(nn.Module):
    def __init__(self, dimension, hidden):
        super().__init__()
        self.net = nn.Sequential(
            nn.LayerNorm(dimension), nn.Linear(dimension, hidden), nn.GELU(), nn.Linear(hidden, dimension)
        )

    def forward(self, x):
        return self.net(x)


class SimpleViT(nn.Module):
    def __init__(self, width, patch=4, side=8, depth=4):
        super().__init__()
        dimension, heads, hidden = int(512 * width), int(6 * width), int(256 * width)
        self.patch, self.side = patch, side
        self.to_patch_embedding = nn.Sequential(
            nn.Identity(), nn.LayerNorm(3 * patch**2), nn.Linear(3 * patch**2, dimension), nn.LayerNorm(dimension)
        )
        self.transformer = nn.Module()
        self.transformer.layers = nn.ModuleList(
            nn.ModuleList([Attention(dimension, heads), FeedForward(dimension, hidden)]) for _ in range(depth)
        )
        self.linear_head = nn.Sequential(nn.LayerNorm(dimension), nn.Linear(dimension, CLASSES))
        omega = 10000 ** -(torch.arange(dimension // 4, dtype=torch.float64) / (dimension // 4 - 1))
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
        self.positions = torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)

    def forward(self, x):
        n, p, s = x.shape[0], self.patch, self.side
        x = x.view(n, 3, s, p, s, p).permute(0, 2, 4, 3, 5, 1).reshape(n, s * s, 3 * p * p)
        x = self.to_patch_embedding(x) + self.positions
        for attention, feed_forward in self.transformer.layers:
            x = attention(x) + x
            x = feed_forward(x) + x
        return self.linear_head(x.mean(1))


def prepare(model, density):
    """Draws a mask for each weight, and numbers that a float holds exactly for everything. Returns the masks."""
    masks = {}
    modules = dict(model.named_modules())
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dtype == torch.int64:
                continue
            module = modules[name.rpartition(".")[0]]
            if name.endswith(".weight") and isinstance(module, (nn.Linear, nn.Conv2d)):
                rows = tensor.shape[0]
                active = torch.zeros(tensor.numel(), dtype=torch.bool)
                active[torch.randperm(tensor.numel())[: max(1, round(density * tensor.numel()))]] = True
                masks[name] = active.view_as(tensor)
                fan_in = masks[name].view(rows, -1).sum(1).clamp(min=1).double()
                bound = (3 / fan_in).sqrt().view([rows] + [1] * (tensor.dim() - 1))
                value = (2 * torch.rand_like(tensor) - 1) * bound * masks[name]
            elif name.endswith(".weight") or name.endswith("running_var"):
                value = 0.75 + 0.5 * torch.rand_like(tensor)
            else:
                value = 0.4 * torch.rand_like(tensor) - 0.2
            tensor.copy_(value.float().double())
    return masks


class Writer:
    TYPES = {torch.float32: "F32", torch.float64: "F64", torch.int32: "I32", torch.uint8: "U8"}

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


def record(path, name, model, width, density, learning_rate):
    model = model.double()
    masks = prepare(model, density)
    images = torch.randint(0, 256, (SAMPLES, 3, 32, 32), dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (SAMPLES,))
    x = (images.double() / 255 - 0.5) / 0.25
    metadata = {
        "espalier.format": "1", "model": name, "width": str(width), "hidden": "", "images": "3x32x32",
        "classes": str(CLASSES), "dataset": "synthetic", "method": "static", "seed": "0", "step": "0",
        "batch_size": str(SAMPLES), "learning_rate": str(learning_rate), "pytorch": torch.__version__,
    }  # fmt: skip
    writer = Writer()
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
    writer.add("recorded.images", images)
    writer.add("recorded.labels", labels.int())
    model.eval()
    with torch.no_grad():
        writer.add("recorded.logits", model(x).float())
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), learning_rate, MOMENTUM, weight_decay=WEIGHT_DECAY)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        losses.append(loss.item())
        loss.backward()
        for key, parameter in model.named_parameters():
            if key in masks:
                parameter.grad *= masks[key]
        optimizer.step()
    writer.add("recorded.losses", torch.tensor(losses, dtype=torch.float64))
    for key, tensor in model.state_dict().items():
        if tensor.dtype != torch.int64:
            writer.add("recorded.final." + key, (tensor[masks[key]] if key in masks else tensor).float())
    writer.header["__metadata__"] = metadata
    writer.write(path)
    print(path, "losses", losses)


if __name__ == "__main__":
    folder = sys.argv[1]
    torch.manual_seed(1)
    record(f"{folder}/resnet20.safetensors", "resnet20", ResNet(3, 0.25), 0.25, 0.1, 0.05)
    record(f"{folder}/simple-vit-tiny.safetensors", "simple-vit-tiny", SimpleViT(0.375), 0.375, 0.016, 0.01)

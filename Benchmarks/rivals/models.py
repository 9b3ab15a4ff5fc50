"""The three dense models of the step comparison, in plain PyTorch (architectures: see ModelCatalog)."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def vgg16_small():
    layers, channels = [], 3
    for outputs, count in zip([16, 32, 64, 128, 128], [2, 2, 3, 3, 3]):
        for _ in range(count):
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    classifier = [nn.Flatten(), nn.Linear(128, 512), nn.ReLU(inplace=True), nn.Dropout(0.5)]
    classifier += [nn.Linear(512, 512), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(512, 10)]
    return nn.Sequential(*layers, *classifier)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and an option-A shortcut: every second pixel, missing channels filled with zeros."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class ResNet56(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        blocks, inputs = [], 16
        for outputs, stride in [(16, 1), (32, 2), (64, 2)]:
            for k in range(9):
                blocks.append(BasicBlock(inputs, outputs, stride if k == 0 else 1))
                inputs = outputs
        self.blocks, self.linear = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x):
        return self.linear(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


class Attention(nn.Module):
    def __init__(self, dim, heads, size=64):
        super().__init__()
        self.heads, self.size = heads, size
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * heads * size, bias=False)
        self.to_out = nn.Linear(heads * size, dim, bias=False)

    def forward(self, x):
        batch, tokens, _ = x.shape
        parts = self.to_qkv(self.norm(x)).chunk(3, dim=-1)
        q, k, v = (p.view(batch, tokens, self.heads, self.size).transpose(1, 2) for p in parts)
        weights = (q @ k.transpose(-1, -2) * self.size**-0.5).softmax(-1)
        return self.to_out((weights @ v).transpose(1, 2).reshape(batch, tokens, -1))


class SimpleViTTiny(nn.Module):
    def __init__(self, dim=512, heads=6, hidden=256, depth=4, patch=4):
        super().__init__()
        self.patch, tokens = patch, (32 // patch) ** 2
        self.embed = nn.Sequential(nn.LayerNorm(3 * patch**2), nn.Linear(3 * patch**2, dim), nn.LayerNorm(dim))
        self.register_buffer("position", torch.randn(tokens, dim))
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(dim, heads), nn.Sequential(
                nn.LayerNorm(dim), nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))])
            for _ in range(depth))
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 10))

    def forward(self, x):
        batch, side, patch = x.shape[0], 32 // self.patch, self.patch
        x = x.view(batch, 3, side, patch, side, patch).permute(0, 2, 4, 3, 5, 1).reshape(batch, side * side, -1)
        x = self.embed(x) + self.position
        for attention, feed_forward in self.layers:
            x = attention(x) + x
            x = feed_forward(x) + x
        return self.head(x.mean(1))


MODELS = {"vgg16-small": vgg16_small, "resnet56": ResNet56, "simple-vit-tiny": SimpleViTTiny}

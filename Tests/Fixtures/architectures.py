"""The models of ModelCatalog as dense PyTorch modules with the same parameter names: for fixtures and for comparisons of speed."""

import torch
import torch.nn as nn
import torch.nn.functional as F


def convolution(inputs, outputs, kernel, stride=1, bias=False):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=bias)


class PaddedBlock(nn.Module):
    """Two 3x3 convolutions and an option-A shortcut: every second pixel, missing channels filled with zeros."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = convolution(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.stride, self.pad = stride, (outputs - inputs) // 2

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return F.relu(y + x)


class CIFARResNet(nn.Module):
    def __init__(self, depth, width=1.0, classes=10):
        super().__init__()
        channels = [int(c * width) for c in (16, 32, 64)]
        self.conv1, self.bn1 = convolution(3, channels[0], 3), nn.BatchNorm2d(channels[0])
        inputs = channels[0]
        for stage, outputs in enumerate(channels):
            blocks = []
            for block in range((depth - 2) // 6):
                blocks.append(PaddedBlock(inputs, outputs, 2 if stage > 0 and block == 0 else 1))
                inputs = outputs
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.linear = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(x))).mean((2, 3)))


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = convolution(channels, channels, 3), nn.BatchNorm2d(channels)
        self.downsample = projection(inputs, channels, stride)

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which has the stride), 1x1 convolutions."""

    expansion = 4

    def __init__(self, inputs, channels, stride):
        super().__init__()
        self.conv1, self.bn1 = convolution(inputs, channels, 1), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = convolution(channels, channels, 3, stride), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = convolution(channels, 4 * channels, 1), nn.BatchNorm2d(4 * channels)
        self.downsample = projection(inputs, 4 * channels, stride)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(F.relu(self.bn2(self.conv2(y)))))
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


def projection(inputs, outputs, stride):
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """As torchvision's."""

    STAGES = {
        18: (BasicBlock, (2, 2, 2, 2)), 34: (BasicBlock, (3, 4, 6, 3)), 50: (Bottleneck, (3, 4, 6, 3)),
        101: (Bottleneck, (3, 4, 23, 3)), 152: (Bottleneck, (3, 8, 36, 3)),
    }  # fmt: skip

    def __init__(self, depth, classes=1000):
        super().__init__()
        block, counts = self.STAGES[depth]
        self.conv1, self.bn1 = convolution(3, 64, 7, 2), nn.BatchNorm2d(64)
        inputs = 64
        for stage, (channels, count) in enumerate(zip((64, 128, 256, 512), counts)):
            blocks = []
            for index in range(count):
                blocks.append(block(inputs, channels, 2 if stage > 0 and index == 0 else 1))
                inputs = channels * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean((2, 3)))


class VGG(nn.Module):
    """With batch norm: torchvision's, or a quarter of the channels and hidden layers of 512 where `small`."""

    STAGES = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

    def __init__(self, depth, small=False, width=1.0, classes=1000):
        super().__init__()
        layers, inputs = [], 3
        for channels, count in zip((64, 128, 256, 512, 512), self.STAGES[depth]):
            outputs = int((channels // 4 if small else channels) * width)
            for _ in range(count):
                layers += [convolution(inputs, outputs, 3, bias=True), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.Identity() if small else nn.AdaptiveAvgPool2d(7)
        hidden = int((512 if small else 4096) * width)
        self.classifier = nn.Sequential(
            nn.Linear(inputs * (1 if small else 49), hidden), nn.ReLU(inplace=True), nn.Dropout(0.5),
            nn.Linear(hidden, hidden), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(hidden, classes),
        )  # fmt: skip

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


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
    """simple-vit-tiny: images of 32 x 32, patches of 4 x 4."""

    def __init__(self, width=1.0, classes=10, patch=4, side=8, depth=4):
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
        self.linear_head = nn.Sequential(nn.LayerNorm(dimension), nn.Linear(dimension, classes))
        omega = 10000 ** -(torch.arange(dimension // 4, dtype=torch.float64) / (dimension // 4 - 1))
        y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
        y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
        positions = torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)
        self.register_buffer("positions", positions, persistent=False)

    def forward(self, x):
        n, p, s = x.shape[0], self.patch, self.side
        x = x.view(n, 3, s, p, s, p).permute(0, 2, 4, 3, 5, 1).reshape(n, s * s, 3 * p * p)
        x = self.to_patch_embedding(x) + self.positions.to(x.dtype)
        for attention, feed_forward in self.transformer.layers:
            x = attention(x) + x
            x = feed_forward(x) + x
        return self.linear_head(x.mean(1))

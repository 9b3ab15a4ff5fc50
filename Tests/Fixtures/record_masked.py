#!/usr/bin/env python3
"""Records a pruned PyTorch model as its users have it: the fixtures of PyTorchFileTests.

masked-resnet20.safetensors is the state_dict in half precision with zeros where weights were pruned, written by the library safetensors;
masked-images.npy and masked-logits.npy are a batch and PyTorch's logits for it in evaluation mode, written by NumPy.

    python3 record_masked.py FOLDER        (needs PyTorch, safetensors, NumPy)
"""

import sys

import numpy
import torch
from architectures import CIFARResNet
from safetensors.torch import save_file


def prune(model, density):
    """Draws numbers for everything, and keeps about `density` of each weight that can be sparse. Returns how many are left in all."""
    connections = 0
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.dim() > 1:
                tensor *= torch.rand_like(tensor) < density
                tensor *= (3 / density) ** 0.5
                connections += int((tensor != 0).sum())
            elif name.endswith(("bias", "running_mean")):
                tensor.uniform_(-0.2, 0.2)
            elif tensor.is_floating_point():
                tensor.uniform_(0.75, 1.25)
    return connections


if __name__ == "__main__":
    folder = sys.argv[1]
    torch.manual_seed(2)
    model = CIFARResNet(20, 0.25).eval()
    prune(model, 0.15)
    model = model.half()
    state = model.state_dict()
    save_file(state, f"{folder}/masked-resnet20.safetensors")
    images = torch.randn(2, 3, 32, 32)
    numpy.save(f"{folder}/masked-images.npy", images.numpy())
    with torch.no_grad():
        numpy.save(f"{folder}/masked-logits.npy", model.double()(images.double()).float().numpy())
    print("active weights", sum(int((tensor != 0).sum()) for tensor in state.values() if tensor.dim() > 1))

#!/usr/bin/env python3
"""Records a pruned PyTorch model as its users have it: the fixtures of PyTorchFileTests.

masked-resnet20.safetensors is the state_dict in half precision with zeros where weights were pruned, written by the library safetensors;
masked-images.npy and masked-logits.npy are a batch and PyTorch's logits for it in evaluation mode, written by NumPy.

    python3 record_masked.py FOLDER        (needs PyTorch, safetensors, NumPy)
"""

import sys

import numpy
import record
import torch
from safetensors.torch import save_file

if __name__ == "__main__":
    folder = sys.argv[1]
    torch.manual_seed(2)
    model = record.ResNet(3, 0.25).double()
    record.prepare(model, 0.15)
    state = {key: tensor.half() if tensor.is_floating_point() else tensor for key, tensor in model.state_dict().items()}
    save_file(state, f"{folder}/masked-resnet20.safetensors")
    model.load_state_dict({key: tensor.double() for key, tensor in state.items()})
    images = torch.randn(2, 3, 32, 32)
    numpy.save(f"{folder}/masked-images.npy", images.numpy())
    with torch.no_grad():
        numpy.save(f"{folder}/masked-logits.npy", model.eval()(images.double()).float().numpy())
    active = sum(int((tensor != 0).sum()) for tensor in state.values() if tensor.dim() > 1)
    print("active weights", active)

#!/usr/bin/env python3
"""Takes weights from PyTorch to Espalier and back, through every format, and compares logits and numbers.

Each exported file is read by its own reader: safetensors and torch.sparse_csr_tensor, load_state_dict, scipy.sparse.load_npz,
onnx.checker and onnxruntime. Prints a line a family, or stops at the first difference.

    python3 -m pip install torch safetensors scipy onnx onnxruntime
    python3 roundtrip.py [PATH OF espalier] [FAMILY...]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import numpy
import onnx
import onnx.numpy_helper
import onnxruntime
import safetensors
import scipy.sparse
import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests/Fixtures"))
from architectures import VGG, CIFARResNet, ResNet, SimpleViT  # noqa: E402
from record_masked import prune  # noqa: E402

SAMPLES, DENSITY = 3, 0.1
warnings.filterwarnings("ignore", "Sparse")  # torch.sparse_csr_tensor is in beta


class Perceptron(nn.Module):
    def __init__(self, hidden=(512, 512)):
        super().__init__()
        sizes = [784, *hidden, 10]
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x):
        return self.layers(x.flatten(1))


FAMILIES = {
    "mlp": (Perceptron, (1, 28, 28)),
    "vgg16-small": (lambda: VGG(16, small=True, classes=10), (3, 32, 32)),
    "resnet20": (lambda: CIFARResNet(20), (3, 32, 32)),
    "simple-vit-tiny": (SimpleViT, (3, 32, 32)),
    "resnet50": (lambda: ResNet(50, classes=100), (3, 224, 224)),
    "vgg11": (lambda: VGG(11, classes=100), (3, 224, 224)),
}


def espalier(*arguments):
    run = subprocess.run([PROGRAM, *map(str, arguments), "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def dense_of_csr(path, name):
    with safetensors.safe_open(path, "pt") as file:
        parts = [file.get_tensor(f"{name}.{part}") for part in ("crow_indices", "col_indices", "values")]
        shape = json.loads(file.metadata()[f"{name}.shape"])
        weight = torch.sparse_csr_tensor(*parts, shape)
    return weight.to_dense()


def onnx_logits(path, x):
    """What onnxruntime makes of a checked ONNX file: all samples at once, and one by one."""
    # The checker's inference of shapes knows no sparse initializers (1.23).
    onnx.checker.check_model(str(path), full_check=not onnx.load(path).graph.sparse_initializer)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    together = session.run(["logits"], {"input": x})[0]
    alone = numpy.concatenate([session.run(["logits"], {"input": sample[None]})[0] for sample in x])
    return together, alone


def onnx_numbers(path):
    """The initializers of an ONNX file that have a model's names, dense."""
    graph = onnx.load(path).graph
    numbers = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for tensor in graph.sparse_initializer:
        dense = numpy.zeros(numpy.prod(tensor.dims), numpy.float32)
        dense[onnx.numpy_helper.to_array(tensor.indices)] = onnx.numpy_helper.to_array(tensor.values)
        numbers[tensor.values.name] = dense.reshape(tensor.dims)
    return numbers


def round_trip(name, folder):
    make, image = FAMILIES[name]
    model = make().eval()
    connections = prune(model, DENSITY)
    state = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    weights = [key for key, tensor in state.items() if tensor.dim() > 1]
    x = torch.randn(SAMPLES, *image)
    with torch.no_grad():
        logits = model.double()(x.double()).numpy()
    numpy.save(folder / "x.npy", x.numpy())
    save_file(state, folder / "torch.safetensors")

    def close(found, bound=1e-4):
        error = numpy.abs(found - logits).max() / numpy.abs(logits).max()
        assert error <= bound, f"{name}: logits differ by {error}"
        return error

    def predict(*source):
        espalier("predict", *source, "--input", folder / "x.npy", "--output", folder / "y.npy")
        return numpy.load(folder / "y.npy")

    first = predict("--model", name, "--init", folder / "torch.safetensors")
    error = close(first)

    # An ONNX file takes images of the checkpoint's size.
    dataset = ["--dataset", "imagenet"] if image[1] == 224 else []
    made = espalier("import", folder / "torch.safetensors", "--model", name, "--output", folder / "checkpoint", *dataset)
    assert made["nnz"] == connections
    assert (predict(folder / "checkpoint") == first).all()

    # Masked dense, into PyTorch.
    dense = folder / "dense.safetensors"
    espalier("export", folder / "checkpoint", "--format", "safetensors", "--masked-dense", "--output", dense)
    loaded = make()
    missing, unexpected = loaded.load_state_dict(load_file(dense), strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing)
    assert all(torch.equal(tensor, state[key]) for key, tensor in load_file(dense).items())
    with torch.no_grad():
        assert (loaded.double().eval()(x.double()).numpy() == logits).all()

    # CSR, into torch.sparse_csr_tensor and back into Espalier.
    csr = folder / "csr.safetensors"
    espalier("export", folder / "checkpoint", "--format", "safetensors", "--output", csr)
    for key in weights:
        assert torch.equal(dense_of_csr(csr, key), state[key].flatten(1))
    assert (predict("--model", name, "--init", csr) == first).all()

    # SciPy.
    npz = folder / "npz"
    espalier("export", folder / "checkpoint", "--format", "npz", "--output", npz)
    for key in weights:
        matrix = scipy.sparse.load_npz(npz / f"{key.removesuffix('.weight')}.npz")
        assert matrix.format == "csr" and matrix.has_canonical_format and matrix.nnz == int((state[key] != 0).sum())
        assert (matrix.toarray() == state[key].flatten(1).numpy()).all()
    rest = numpy.load(npz / "dense.npz")
    others = {key for key in state if key not in weights and not key.endswith("num_batches_tracked")}
    assert set(rest.files) == others and all((rest[key] == state[key].numpy()).all() for key in others)

    # ONNX, dense and with sparse initializers.
    runtime = {}
    for kind, flags in (("dense", []), ("sparse", ["--sparse-initializers"])):
        path = folder / f"{kind}.onnx"
        espalier("export", folder / "checkpoint", "--format", "onnx", "--output", path, *flags)
        runtime[kind] = max(close(found) for found in onnx_logits(path, x.numpy()))
        numbers = onnx_numbers(path)
        assert all((numbers[key] == state[key].numpy()).all() for key in {*weights, *others})
        del numbers

    # Other types of numbers: the file's own rounding, nothing more.
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        typed = {key: tensor.to(dtype) if tensor.is_floating_point() else tensor for key, tensor in state.items()}
        save_file(typed, folder / "typed.safetensors")
        rounded = make().double()
        rounded.load_state_dict({key: tensor.double() for key, tensor in typed.items()})
        with torch.no_grad():
            expected = rounded.eval()(x.double()).numpy()
        found = predict("--model", name, "--init", folder / "typed.safetensors")
        assert numpy.abs(found - expected).max() <= 1e-4 * numpy.abs(expected).max(), f"{name} {dtype}"
    files = [folder / "torch.safetensors", dense, csr, folder / "dense.onnx", folder / "sparse.onnx"]
    sizes = {file.name: file.stat().st_size for file in files}
    sizes["npz"] = sum(file.stat().st_size for file in npz.iterdir())
    print(
        f"{name}: {made['nnz']} connections; largest difference from PyTorch's logits, of the largest logit: Espalier {error:.1e}, "
        f"onnxruntime {runtime['dense']:.1e}, with sparse initializers {runtime['sparse']:.1e}; bytes {sizes}",
        flush=True,
    )


if __name__ == "__main__":
    arguments = sys.argv[1:]
    PROGRAM = arguments.pop(0) if arguments else str(ROOT / ".build/release/espalier")
    torch.manual_seed(3)
    for family in arguments or FAMILIES:
        with tempfile.TemporaryDirectory() as place:
            round_trip(family, pathlib.Path(place))

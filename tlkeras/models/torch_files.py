"""Read a PyTorch checkpoint without PyTorch: tensors come out, and no code of the file is run.

Both layouts of `torch.save` are read, the zip archive of 2020 and the sequence of pickles before it.
"""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from tlkeras.models.weights import WeightFileError

MAGIC = 0x1950A86A20F9469CFC6C  # of the older layout
DTYPES = {
    "HalfStorage": np.dtype("<f2"),
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "IntStorage": np.dtype("<i4"),
    "LongStorage": np.dtype("<i8"),
}


class Tensor(NamedTuple):
    """Where a tensor lies: its storage, and offset and strides in elements."""

    storage: str
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read(path: Path, prefix: str = "") -> dict[str, np.ndarray]:
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


class _Unpickler(pickle.Unpickler):
    """Knows tensors, ordered dicts and plain values, and refuses everything else: a pickle can otherwise run code."""

    def find_class(self, module: str, name: str) -> Any:
        known = {
            ("collections", "OrderedDict"): OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2"): _tensor,
            ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
            **{("torch", storage): dtype for storage, dtype in DTYPES.items()},
        }
        if (module, name) not in known:
            raise pickle.UnpicklingError(f"Expected plain values and tensors. Received: {module}.{name}")
        return known[module, name]

    def persistent_load(self, record: tuple) -> tuple[str, np.dtype]:
        """Return key and type of a storage."""
        return record[2], record[1]


def _tensor(storage: tuple[str, np.dtype], offset: int, shape: tuple, strides: tuple, *_: object) -> Tensor:
    return Tensor(*storage, offset, tuple(shape), tuple(strides))


def _read_archive(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        top = next(name for name in archive.namelist() if name.endswith("/data.pkl")).removesuffix("data.pkl")
        tensors = _wanted(_Unpickler(archive.open(top + "data.pkl")).load(), prefix)
        return _arrays(tensors, lambda key: archive.read(f"{top}data/{key}"))


def _read_sequence(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    magic, _, _, state = (_Unpickler(file).load() for _ in range(4))
    if magic != MAGIC:
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
    return _arrays(tensors, contents.__getitem__)


def _wanted(state: Any, prefix: str) -> dict[str, Tensor]:
    return {name: value for name, value in _tensors(state) if name.startswith(prefix)}


def _tensors(value: Any, *way: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):  # before tuples, of which it is one
        yield ".".join(map(str, way)), value
    elif isinstance(value, dict | list | tuple):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(inner, *way, key)


def _arrays(tensors: dict[str, Tensor], content: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    """Return each tensor as an array of its own; numpy refuses one that reaches beyond its storage."""
    arrays = {}
    for name, (storage, dtype, offset, shape, strides) in tensors.items():
        steps = [stride * dtype.itemsize for stride in strides]
        arrays[name] = np.ndarray(shape, dtype, content(storage), offset * dtype.itemsize, steps).copy()
    return arrays

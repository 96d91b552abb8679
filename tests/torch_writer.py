"""Write small PyTorch checkpoints without PyTorch, in both layouts, for the tests of what reads them."""

import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {"<f4": "FloatStorage", "<i8": "LongStorage", "<f8": "DoubleStorage"}


class Storage:
    """What a tensor's elements lie in."""

    def __init__(self, key, array):
        self.key, self.content, self.count = key, array.tobytes(), array.size
        self.type = getattr(sys.modules["torch"], STORAGES[array.dtype.str])


class Tensor:
    """Pickles as PyTorch's tensors do."""

    def __init__(self, key, array, base=None, offset=0):
        self.storage = Storage(key, array if base is None else base)
        strides = tuple(step // array.itemsize for step in array.strides)
        self.arguments = (offset, array.shape, strides, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (self.storage, *self.arguments)


class Pickler(pickle.Pickler):
    """Leaves the storages out, as `torch.save` does."""

    def persistent_id(self, value):
        """Return what stands for a storage."""
        return ("storage", value.type, value.key, "cpu", value.count) if isinstance(value, Storage) else None


def pretend_torch(monkeypatch):
    """Put the few names into `sys.modules` that pickles of tensors refer to."""
    torch, utilities = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in STORAGES.values():
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*args):
        raise AssertionError("the code of PyTorch must not be needed")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    utilities._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utilities)


def write(path: Path, state: dict, layout: str) -> Path:
    """Write a state dict of tensors, dicts of tensors and other values; `layout` is "archive" or "sequence"."""
    inner = [value for part in state.values() if isinstance(part, dict) for value in part.values()]
    tensors = [value for value in (*state.values(), *inner) if isinstance(value, Tensor)]
    storages = list({tensor.storage.key: tensor.storage for tensor in tensors}.values())  # each once, as PyTorch does
    if layout == "archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}/data.pkl", _pickled(state))
            for storage in storages:
                archive.writestr(f"{path.stem}/data/{storage.key}", storage.content)
        return path
    parts = [_pickled(part) for part in (MAGIC, 1001, {"little_endian": True}, state, [s.key for s in storages])]
    parts += [storage.count.to_bytes(8, "little") + storage.content for storage in storages]
    path.write_bytes(b"".join(parts))
    return path


def write_arrays(path: Path, arrays: dict[str, np.ndarray], layout: str = "archive") -> Path:
    """Write arrays as tensors, each with a storage of its own."""
    return write(path, OrderedDict((name, Tensor(name, array)) for name, array in arrays.items()), layout)


def _pickled(value: object) -> bytes:
    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump(value)
    return buffer.getvalue()

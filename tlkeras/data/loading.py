"""`load` a data set: from the cache, else from its official source, else from a mirror, else its embedded stand-in."""

import dataclasses
import functools
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from tlkeras import _files
from tlkeras.data import cache, decoding, images, records, sources, splits
from tlkeras.data.images import ImageTree
from tlkeras.data.records import DatasetRecord

SHORT_SIDE = 256  # pixels; larger images of a tree are shrunk to it, which is what networks for 224 pixels are given


class DataUnavailableError(RuntimeError):
    """No source of a data set worked; the message lists each with its reason, and the ways out."""


class StandInWarning(UserWarning):
    """Real data could not be had, and the embedded ones stand in; the message says why."""


class SkippedFilesWarning(UserWarning):
    """Files of a tree were left out, or a class lacks images; the message names them."""


@dataclass(frozen=True, eq=False)
class Dataset(images.LoadedData):
    """A data set in memory, and where it came from.

    `x_*` are uint8 `(n, height, width, channels)` in 0..255, `y_*` int32 `(n,)` in 0..num_classes-1. `stand_in` is
    True when these are not the real data but the embedded default.
    """

    name: str
    x_train: np.ndarray = field(repr=False)
    y_train: np.ndarray = field(repr=False)
    x_test: np.ndarray = field(repr=False)
    y_test: np.ndarray = field(repr=False)
    class_names: tuple[str, ...] = field(repr=False)
    source: str
    stand_in: bool
    fingerprint: str
    licence: str


@overload
def load(  # type: ignore[overload-overlap]  # of the records, this one alone is a tree
    name: Literal["hymenoptera"] | Path, *, embedded: bool | None = None, short_side: int | None = SHORT_SIDE
) -> ImageTree:
    """Load a tree of images."""


@overload
def load(name: str, *, embedded: bool | None = None) -> Dataset:
    """Load arrays."""


def load(name: str | Path, *, embedded: bool | None = None, short_side: int | None = SHORT_SIDE) -> Dataset | ImageTree:
    """Load a data set into memory: arrays, or images of many sizes by split.

    The order is: cache, official source, mirrors, embedded stand-in. TLKERAS_OFFLINE=1 leaves out what needs a
    network; TLKERAS_PROFILE=smoke uses nothing but the stand-in, so that every machine computes the same.

    A file of a tree that is no image, is damaged, cannot be read or is too small is left out, and named in `problems`
    and in one SkippedFilesWarning, so that no file can stop a training half-way. The one file of "hymenoptera" that
    is amiss for everybody causes no warning.

    Args:
        name: a key of `RECORDS`; or, as a Path, a folder of your own with class/image or split/class/image.
        embedded: True takes the stand-in at once, False never takes it; by default the environment decides.
        short_side: of a tree: pixels to which larger images are shrunk (antialiased); None keeps them.

    Returns:
        A Dataset, or an ImageTree where the images are files: "hymenoptera" and folders. `source` and `stand_in` say
        what they are. A stand-in nobody asked for is a StandInWarning, too.

    Raises:
        ValueError: an unknown name; no folder, no image in it, or more images than memory shall hold.
        DataUnavailableError: no allowed source worked.
        DamagedFileError: the cached file is damaged and no source could replace it.
        LockedError: another process has been fetching it for half an hour.
    """
    if isinstance(name, Path):
        tree = _read_folder(name, short_side)
        return _told(tree, _recognised(tree))
    record = records.find(name)
    if embedded is None and sources.smoke():
        embedded = True
    if not embedded:
        try:
            return _told(_real_tree(record, short_side), record) if record.parts else _real_arrays(record)
        except sources.NoSourceError as error:
            if embedded is False or record.embedded is None:
                missing = "not allowed" if record.embedded else "there is none for this data set"
                raise _unavailable(record, [*error.reasons, f"embedded: {missing}"]) from error
            if _files.untold([f"{name}: {record.embedded.label}"]):  # the reasons may be worded anew each time
                why = "; ".join(error.reasons)
                warnings.warn(f"{name}: {record.embedded.label} is used, since {why}", StandInWarning, stacklevel=2)
    if record.embedded is None:
        raise _unavailable(record, ["embedded: there is none for this data set"])
    return _stand_in(record, record.embedded)


def folder(name: str) -> Path:
    """Return the folder of a data set of image files, with part/class/image; fetch it if it is not cached.

    Raises:
        ValueError: for an unknown name, or a data set of arrays, which has no folder.
        DataUnavailableError: when it is not cached and cannot be fetched.
    """
    record = records.find(name)
    if not record.parts:
        raise ValueError(f"Expected a data set of image files; for arrays use load({name!r}). Received: name={name!r}")
    try:
        return _real_folder(record)
    except sources.NoSourceError as error:
        raise _unavailable(record, error.reasons) from error


def status(name: str | None = None) -> list[dict[str, Any]]:
    """Return one dict per data set (or of one): what is cached, from where, and what else could be asked.

    Raises:
        ValueError: for an unknown name.
    """
    return [_status(record) for record in ([records.find(name)] if name else records.RECORDS.values())]


def verify() -> dict[Path, str]:
    """Read every cached data set and hash it, whatever its time stamp says; nothing is fetched.

    The images of a tree are decoded and counted instead, as `load` does.

    Returns:
        What is wrong with each file or folder that is there, by path; nothing is an empty text.
    """
    return {path: _damage(record) for record in records.RECORDS.values() if (path := _path(record)).exists()}


def _damage(record: DatasetRecord) -> str:
    path = _path(record)
    if record.parts:
        tree = images.read_tree(path)
        wrong = [problem for problem in tree.problems if problem.split(":")[0] not in record.known_problems]
        return "; ".join(wrong + _other_counts(record, tree)) or ("" if tree.images else "no images")
    try:
        cache.verify(path, _standardised(record, cache.read(path)), always=True)
    except (cache.DamagedFileError, ValueError, OSError) as error:
        return str(error)
    return ""


def _status(record: DatasetRecord) -> dict[str, Any]:
    path = _path(record)
    known = cache.read_sidecar(path) if path.exists() else {}
    return {
        "name": record.name,
        "cached": path.exists(),
        "source": _origin(record, known) or ("put there by hand" if path.exists() else ""),
        "path": str(path),
        "fingerprint": known.get("fingerprint", ""),
        "licence": record.licence,
        "official": record.address,
        "mirrors": [source.label for source in record.mirrors],
        "embedded": record.embedded.label if record.embedded else "",
    }


def _path(record: DatasetRecord) -> Path:
    """Return where a data set is cached: a file of arrays, or the folder of a tree."""
    path = cache.dataset_path(record.name)
    return path.with_suffix("") if record.parts else path


def _unavailable(record: DatasetRecord, reasons: list[str]) -> DataUnavailableError:
    """Return the error that says what was tried, and how to get the data by hand."""
    shape = ", ".join(map(str, record.shape))
    arrays = f"x_train, x_test (uint8, (n, {shape})), y_train, y_test (0..{record.num_classes - 1}), by numpy.savez,"
    layout = f"{{{','.join(record.parts)}}}/{{{','.join(record.class_names)}}}" if record.parts else arrays
    network = "unset TLKERAS_OFFLINE and TLKERAS_PROFILE" if sources.offline() else "connect to a network"
    tried = "".join(f"\n  {reason}" for reason in reasons)
    return DataUnavailableError(
        f"Expected a source of {record.name} that works. Tried:{tried}\n"
        f"Ways out: {network} and load again, or get the data by hand from {record.address} "
        f"and put {layout} at {_path(record)}. Received: name={record.name!r}"
    )


def _stand_in(record: DatasetRecord, source: sources.Source) -> Dataset | ImageTree:
    """Return the embedded data, in the form of the real ones."""
    arrays = source.fetch(cache.home() / "datasets")
    if record.parts:
        return _tree_of_patches(record, arrays, source.label)
    arrays = _standardised(record, arrays, known_sizes=False)
    return _dataset(record, arrays, source.label, cache.content_fingerprint(arrays), stand_in=True)


def _real_arrays(record: DatasetRecord) -> Dataset:
    return sources.obtain(
        _path(record),
        record.sources,
        cached=functools.partial(_cached_arrays, record),
        keep=functools.partial(_keep_arrays, record),
        in_memory=True,
    )


def _cached_arrays(record: DatasetRecord) -> Dataset | None:
    """Return the cached data, or None when there are none; raise DamagedFileError when they are not sound."""
    path = _path(record)
    if not path.exists():
        return None
    try:
        arrays = _standardised(record, cache.read(path))
    except ValueError as error:
        raise cache.damaged(path, str(error)) from error
    known = cache.verify(path, arrays)
    origin = _origin(record, known)
    return _dataset(record, arrays, f"cache ({origin})" if origin else "cache", known["fingerprint"])


def _keep_arrays(record: DatasetRecord, delivered: sources.Arrays, label: str) -> Dataset:
    """Check fetched arrays, keep them in the cache where that is possible, and return them."""
    arrays = _standardised(record, delivered)
    try:
        cache.save(_path(record), arrays, label)
    except OSError as error:
        label = f"{label} (in memory only, not cached: {error})"
    return _dataset(record, arrays, label, cache.content_fingerprint(arrays))


def _origin(record: DatasetRecord, known: Mapping[str, str]) -> str:
    """Return where a cached file came from, as far as its sidecar or its content tells."""
    return known.get("source") or record.editions.get(known.get("fingerprint", ""), "")


def _standardised(record: DatasetRecord, arrays: sources.Arrays, known_sizes: bool = True) -> sources.Arrays:
    """Return the arrays with images as uint8 NHWC and labels as int32 vectors, or raise ValueError."""
    if missing := [key for key in cache.CONTENT if key not in arrays]:
        raise ValueError(f"Expected the arrays {', '.join(cache.CONTENT)}. Received: without {', '.join(missing)}")
    result = dict(arrays)
    for split in ("train", "test"):
        x, y = arrays[f"x_{split}"], np.asarray(arrays[f"y_{split}"]).ravel()
        x = x[..., None] if x.ndim == 3 else x
        splits.validate_images(x, record.shape)
        splits.validate_labels(y, record.num_classes)
        if x.dtype != np.uint8 or len(x) != len(y):
            raise ValueError(f"Expected uint8 images, a label each. Received: {x.dtype}, {len(x)} and {len(y)}")
        result |= {f"x_{split}": x, f"y_{split}": y.astype(np.int32)}
    sizes = len(result["x_train"]), len(result["x_test"])
    if known_sizes and record.sizes and sizes not in record.sizes:
        raise ValueError(f"Expected (train, test) counts out of {record.sizes}. Received: {sizes}")
    return result


def _dataset(
    record: DatasetRecord, arrays: sources.Arrays, source: str, fingerprint: str, stand_in: bool = False
) -> Dataset:
    names = tuple(map(str, arrays.get("class_names", record.class_names)))
    return Dataset(
        record.name,
        **{key: arrays[key] for key in cache.CONTENT},
        class_names=names or tuple(map(str, range(record.num_classes))),
        source=source,
        stand_in=stand_in,
        fingerprint=fingerprint,
        licence=record.embedded_licence if stand_in else record.licence,
    )


def _real_tree(record: DatasetRecord, short_side: int | None) -> ImageTree:
    """Return the images on record; another number of them than on record is a problem."""
    tree = _read_folder(_real_folder(record), short_side)
    edition = record.editions.get(tree.fingerprint)
    return dataclasses.replace(
        tree,
        name=record.name,
        problems=(*tree.problems, *_other_counts(record, tree)),
        source=f"cache ({edition})" if edition else "cache",
        licence=record.licence,
    )


def _other_counts(record: DatasetRecord, tree: ImageTree) -> list[str]:
    """Return a problem where the splits have another number of images than on record, else none."""
    sizes = tuple(len(tree.labels.get(part, ())) for part in record.parts)
    return [f"{sizes} images: on record are {record.sizes}"] if record.sizes and sizes not in record.sizes else []


def _real_folder(record: DatasetRecord) -> Path:
    path = _path(record)

    def cached() -> Path | None:
        return path if decoding.has_image_folders(path, record.parts, record.class_names) else None

    def keep(delivered: Path, label: str) -> Path:
        if path.exists():
            raise FileExistsError(f"{path} is in the way: it is not whole, delete it")
        os.replace(delivered, path)
        return path

    return sources.obtain(path, record.sources, cached=cached, keep=keep)


def _read_folder(root: Path, short_side: int | None) -> ImageTree:
    """Return the images of a tree, at least one."""
    if not root.is_dir():
        raise ValueError(
            f"Expected a folder with class/image or split/class/image, or a name. Received: path={str(root)!r}"
        )
    tree = images.read_tree(root, short_side=short_side)
    if not tree.images:
        summary = tree.summary(20)
        raise ValueError(
            f"Expected images in class/image or split/class/image, got {summary}\nReceived: path={str(root)!r}"
        )
    return tree


def _recognised(tree: ImageTree) -> DatasetRecord | None:
    """Return the record that a folder is of, by its splits and classes, so that path and name are told the same."""
    same = (r for r in records.RECORDS.values() if r.parts == tuple(tree.images) and r.class_names == tree.class_names)
    return next(same, None)


def _told(tree: ImageTree, record: DatasetRecord | None = None) -> ImageTree:
    """Return the tree, after one warning about all of its problems that are not known for everybody."""
    known = record.known_problems if record else ()
    if any(problem.split(":")[0] not in known for problem in tree.problems):
        warnings.warn(f"{tree.name}, {tree.summary()}", SkippedFilesWarning, stacklevel=3)
    return tree


def _tree_of_patches(record: DatasetRecord, arrays: sources.Arrays, label: str) -> ImageTree:
    """Return embedded patches as a tree of the same splits; its classes are what the patches are cut from."""
    parts = dict(zip(record.parts, ("train", "test"), strict=True))
    return ImageTree(
        name=record.name,
        class_names=tuple(map(str, arrays["class_names"])),
        images={split: tuple(arrays[f"x_{part}"]) for split, part in parts.items()},
        labels={split: arrays[f"y_{part}"] for split, part in parts.items()},
        files={split: tuple(f"{split}/{n}" for n in range(len(arrays[f"y_{part}"]))) for split, part in parts.items()},
        problems=(),
        fingerprint=cache.content_fingerprint(arrays),
        source=label,
        licence=record.embedded_licence,
        stand_in=True,
    )

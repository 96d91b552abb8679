"""`load` a data set: from the cache, else from its official source, else from a mirror, else its embedded stand-in."""

import dataclasses
import os
import shutil
import uuid
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data import cache, images, records, sources, splits
from tlkeras.data import records as datasets
from tlkeras.data.records import DatasetRecord
from tlkeras.data.sources import offline, smoke


class DataUnavailableError(RuntimeError):
    """No source of a data set worked; the message lists each with its reason, and the ways out."""


def unavailable(record: DatasetRecord, path: Path, layout: str, reasons: list[str]) -> DataUnavailableError:
    """Return the error for a data set whose files belong at `path`, in the given `layout`."""
    tried = "".join(f"\n  {reason}" for reason in reasons)
    network = "unset TLKERAS_OFFLINE and TLKERAS_PROFILE" if offline() else "connect to a network"
    return DataUnavailableError(
        f"Expected a source of {record.name} that works. Tried:{tried}\n"
        f"Ways out: {network} and load again, or get the data by hand from {record.address} "
        f"and put {layout} at {path}. Received: name={record.name!r}"
    )


class StandInWarning(UserWarning):
    """Real data could not be had, and the embedded ones stand in; the message says why."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory, and where it came from.

    `x_*` are uint8 `(n, height, width, channels)` in 0..255, `y_*` int32 `(n,)` in 0..num_classes-1. `stand_in` is
    True when these are not the real data but the embedded default. `extras` holds whatever else the file had, such as
    a validation part or official folds.
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
    extras: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    def provenance(self) -> dict[str, Any]:
        """Return what is stored with every run that uses these data."""
        keys = ("name", "source", "stand_in", "fingerprint", "licence")
        return {key: getattr(self, key) for key in keys}


def load(name: str, *, embedded: bool | None = None) -> Dataset:
    """Load a data set.

    The order is: cache, official source, mirrors, embedded stand-in. TLKERAS_OFFLINE=1 leaves out what needs a
    network; TLKERAS_PROFILE=smoke uses nothing but the stand-in, so that every machine computes the same.

    Args:
        name: a key of `RECORDS`.
        embedded: True takes the stand-in at once, False never takes it; by default the environment decides.

    Returns:
        The data; `source` and `stand_in` say what they are. A stand-in nobody asked for is a StandInWarning, too.

    Raises:
        ValueError: for an unknown name, or a data set of image files, which `folder` finds.
        DataUnavailableError: when no allowed source worked.
        DamagedFileError: when the cached file is damaged and no source could replace it.
    """
    record = datasets.find(name)
    if record.folder:
        raise ValueError(
            f"Expected a data set of arrays; for image files use folder({name!r}). Received: name={name!r}"
        )
    reasons: list[str] = []
    if embedded is None and smoke():
        embedded = True
    if not embedded:
        if found := _from_cache_or_sources(record, reasons):
            return found
        reasons.insert(0, f"cache: no file {cache.dataset_path(name)}")
    if embedded is False or record.embedded is None:
        reasons.append("embedded: not allowed" if record.embedded else "embedded: there is none for this data set")
        raise _unavailable(record, reasons)
    if embedded is None:
        warnings.warn(
            f"{name}: {record.embedded.label} is used, since {'; '.join(reasons)}", StandInWarning, stacklevel=2
        )
    arrays = _standardised(record, record.embedded.fetch(cache.home() / "datasets"), known_sizes=False)
    return _dataset(record, arrays, record.embedded.label, cache.content_fingerprint(arrays), stand_in=True)


def status(name: str | None = None) -> list[dict[str, Any]]:
    """Return one dict per data set (or of one): what is cached, from where, and what else could be asked.

    Raises:
        ValueError: for an unknown name.
    """
    records = [datasets.find(name)] if name else datasets.RECORDS.values()
    return [_status(record) for record in records]


def _status(record: datasets.DatasetRecord) -> dict[str, Any]:
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


def _path(record: datasets.DatasetRecord) -> Path:
    path = cache.dataset_path(record.name)
    return path.with_suffix("") if record.folder else path


def _from_cache_or_sources(record: datasets.DatasetRecord, reasons: list[str]) -> Dataset | None:
    """Return real data, or None with the reason for each source added to `reasons`."""
    try:
        if found := _from_cache(record):
            return found
    except cache.DamagedFileError:
        if offline():
            raise
    if offline():
        reasons.append("network: switched off by TLKERAS_OFFLINE or TLKERAS_PROFILE")
        return None
    with cache.locked(cache.dataset_path(record.name)) as writable:
        return _from_sources(record, writable, reasons)


def _from_sources(record: datasets.DatasetRecord, writable: bool, reasons: list[str]) -> Dataset | None:
    damage = None
    try:
        if found := _from_cache(record):  # another process fetched it while this one waited for the lock
            return found
    except cache.DamagedFileError as error:
        damage = error
    for source in filter(None, (record.official, *record.mirrors)):
        try:
            arrays = _standardised(record, sources.arrays_from(source))
        except (sources.SourceError, ValueError) as error:
            reasons.append(f"{source.label}: {error}")
            continue
        return _stored(record, arrays, source.label, writable)
    if damage:
        raise cache.DamagedFileError(f"{damage}. It could not be fetched again: {'; '.join(reasons)}") from damage
    return None


def _stored(record: datasets.DatasetRecord, arrays: sources.Arrays, label: str, writable: bool) -> Dataset:
    """Keep fetched arrays in the cache where that is possible, and return them."""
    try:
        if not writable:
            raise PermissionError("the folder cannot be written")
        cache.save(cache.dataset_path(record.name), arrays, label)
    except OSError as error:
        label = f"{label} (in memory only, not cached: {error})"
    return _dataset(record, arrays, label, cache.content_fingerprint(arrays))


def _from_cache(record: datasets.DatasetRecord) -> Dataset | None:
    """Return the cached data, or None when there are none; raise DamagedFileError when they are not sound."""
    path = cache.dataset_path(record.name)
    if not path.exists():
        return None
    try:
        arrays = _standardised(record, cache.read(path))
    except ValueError as error:
        raise cache.damaged(path, str(error)) from error
    known = cache.verify(path, arrays)
    origin = _origin(record, known)
    return _dataset(record, arrays, f"cache ({origin})" if origin else "cache", known["fingerprint"])


def _origin(record: datasets.DatasetRecord, known: Mapping[str, str]) -> str:
    """Return where a cached file came from, as far as its sidecar or its content tells."""
    return known.get("source") or record.editions.get(known.get("fingerprint", ""), "")


def _standardised(
    record: datasets.DatasetRecord, arrays: sources.Arrays, known_sizes: bool = True
) -> dict[str, np.ndarray]:
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
    record: datasets.DatasetRecord, arrays: sources.Arrays, source: str, fingerprint: str, stand_in: bool = False
) -> Dataset:
    names = arrays.get("class_names", record.class_names)
    names = tuple(map(str, names)) or tuple(map(str, range(record.num_classes)))
    content = {key: arrays[key] for key in cache.CONTENT}
    extras = {key: value for key, value in arrays.items() if key not in (*cache.CONTENT, "class_names")}
    return Dataset(
        record.name,
        **content,
        class_names=names,
        source=source,
        stand_in=stand_in,
        fingerprint=fingerprint,
        licence=record.licence,
        extras=extras,
    )


def _unavailable(record: datasets.DatasetRecord, reasons: list[str]) -> DataUnavailableError:
    shape = ", ".join(map(str, record.shape))
    layout = f"x_train, x_test (uint8, (n, {shape})), y_train, y_test (0..{record.num_classes - 1}), by numpy.savez,"
    return unavailable(record, cache.dataset_path(record.name), layout, reasons)


pass

PARTS = ("train", "val")
KNOWN = {"hymenoptera": {"train/ants/imageNotFound.gif"}}  # files that are amiss in what the publisher offers


class SkippedFilesWarning(UserWarning):
    """Files of a tree were left out, or a class lacks images; the message names them."""


def load_images(path: Path | str, *, short_side: int | None = 256, embedded: bool | None = None) -> images.ImageTree:
    """Load every image of a tree split/class/image into memory, so that no file can stop a training half-way.

    A file that is no image, is damaged, cannot be read or is too small is left out, and named in `problems` and in one
    SkippedFilesWarning. The one file that is amiss in the ants and bees for everybody causes no warning.

    Args:
        path: the root of the tree; or, as a string, the name of a data set of image files, such as "hymenoptera".
        short_side: pixels to which larger images are shrunk (antialiased); None keeps them.
        embedded: of a data set by name, as for arrays: True takes the stand-in at once, False never takes it; by
            default TLKERAS_PROFILE=smoke uses nothing else, and it is taken with a StandInWarning where there is need.

    Returns:
        The images by split, with labels, names, and `summary()`.

    Raises:
        ValueError: no folder, or no image in it.
        DataUnavailableError: a data set by name that is not cached and cannot be fetched, and has no stand-in.
    """
    record = records.RECORDS.get(path) if isinstance(path, str) else None
    if record and record.embedded and record.folder:
        root = _root_or_none(record, embedded)
        if root is None:
            return _stand_in(record)
    else:
        root = folder(record.name) if record else Path(path)
    if not root.is_dir():
        raise ValueError(f"Expected a folder with split/class/image, or a name. Received: path={str(path)!r}")
    tree = images.read_tree(root, short_side=short_side)
    if not tree.images:
        raise ValueError(
            f"Expected images in split/class/image, found {tree.summary(20)}\nReceived: path={str(path)!r}"
        )
    tree = _as_recorded(tree, record) if record else tree
    known = KNOWN.get(tree.name, ()) if record else ()
    if [problem for problem in tree.problems if problem.split(":")[0] not in known]:
        warnings.warn(f"{tree.name}, {tree.summary()}", SkippedFilesWarning, stacklevel=2)
    return tree


def _root_or_none(record: records.DatasetRecord, embedded: bool | None) -> Path | None:
    """Return where the files are; None where the stand-in is wanted, or all that there is."""
    if embedded or (embedded is None and smoke()):
        return None
    try:
        return folder(record.name)
    except DataUnavailableError as error:
        if embedded is False:
            raise
        warnings.warn(f"{record.name}: {record.embedded.label} is used, since {error}", StandInWarning, stacklevel=3)
        return None


def _stand_in(record: records.DatasetRecord) -> images.ImageTree:
    """Return the embedded patches as a tree of the same splits; its classes are what the patches are cut from."""
    arrays = record.embedded.fetch(cache.home() / "datasets")
    parts = dict(zip(PARTS, ("train", "test"), strict=True))
    return images.ImageTree(
        name=record.name,
        class_names=tuple(map(str, arrays["class_names"])),
        images={split: tuple(arrays[f"x_{part}"]) for split, part in parts.items()},
        labels={split: arrays[f"y_{part}"] for split, part in parts.items()},
        files={split: tuple(f"{split}/{n}" for n in range(len(arrays[f"y_{part}"]))) for split, part in parts.items()},
        problems=(),
        fingerprint=cache.content_fingerprint(arrays),
        source=record.embedded.label,
        licence="public domain or CC0",
        stand_in=True,
    )


def _as_recorded(tree: images.ImageTree, record: records.DatasetRecord) -> images.ImageTree:
    """Return the tree with what the record knows of it; another number of images than on record is a problem."""
    sizes = tuple(len(tree.labels.get(part, ())) for part in PARTS)
    wrong = [f"{sizes} images: on record are {record.sizes}"] if record.sizes and sizes not in record.sizes else []
    edition = record.editions.get(tree.fingerprint)
    return dataclasses.replace(
        tree,
        name=record.name,
        problems=(*tree.problems, *wrong),
        source=f"cache ({edition})" if edition else "cache",
        licence=record.licence,
    )


def folder(name: str) -> Path:
    """Return the folder of a data set of image files, with {train,val}/<class name>/*; fetch it if it is not cached.

    Raises:
        ValueError: for an unknown name, or a data set of arrays, which `load` loads.
        DataUnavailableError: when it is not cached and cannot be fetched.
    """
    record = records.find(name)
    if record.folder is None:
        raise ValueError(f"Expected a data set of image files; for arrays use load({name!r}). Received: name={name!r}")
    path = cache.home() / "datasets" / name
    if _is_whole(path, record):
        return path
    reasons = [f"cache: no folder {path} with {_layout(record)}"]
    if offline():
        reasons.append("network: switched off by TLKERAS_OFFLINE or TLKERAS_PROFILE")
        raise unavailable(record, path, _layout(record), reasons)
    with cache.locked(path) as writable:
        if not _is_whole(path, record):  # else another process fetched it while this one waited for the lock
            _fetch(record, path, writable, reasons)
    return path


def _layout(record: records.DatasetRecord) -> str:
    return f"{{{','.join(PARTS)}}}/{{{','.join(record.class_names)}}}"


def _is_whole(path: Path, record: records.DatasetRecord) -> bool:
    """Return True when every class folder of every part has files."""
    folders = [path / part / label for part in PARTS for label in record.class_names]
    return all(item.is_dir() and any(item.iterdir()) for item in folders)


def _fetch(record: records.DatasetRecord, path: Path, writable: bool, reasons: list[str]) -> None:
    """Download and unpack the archive beside `path`, then rename its top folder to `path`."""
    if not writable:
        raise unavailable(record, path, _layout(record), [*reasons, f"cache: {path.parent} cannot be written"])
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.unpacked")
    partial.mkdir()
    try:
        archive = sources.download(record.folder, partial)
        with zipfile.ZipFile(archive) as content:
            content.extractall(partial)
        top = next(item for item in sorted(partial.iterdir()) if _is_whole(item, record))
        if path.exists():
            raise FileExistsError(f"{path} is in the way: it is not whole, delete it")
        os.replace(top, path)
    except (sources.SourceError, OSError, zipfile.BadZipFile, StopIteration) as error:
        reason = "no folder in the archive has the layout" if isinstance(error, StopIteration) else error
        raise unavailable(record, path, _layout(record), [*reasons, f"{record.folder.url}: {reason}"]) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)

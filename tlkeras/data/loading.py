"""`load` a data set: from the cache, else from its official source, else from a mirror, else its embedded stand-in."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.data import cache, datasets, sources, splits
from tlkeras.data.availability import DataUnavailableError, offline, smoke, unavailable


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

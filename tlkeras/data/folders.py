"""Data sets that are trees of image files: where they lie, fetched if need be, and read into memory."""

import dataclasses
import os
import shutil
import uuid
import warnings
import zipfile
from pathlib import Path

from tlkeras.data import cache, datasets, sources, trees
from tlkeras.data.availability import DataUnavailableError, offline, smoke, unavailable
from tlkeras.data.loading import StandInWarning

PARTS = ("train", "val")
KNOWN = {"hymenoptera": {"train/ants/imageNotFound.gif"}}  # files that are amiss in what the publisher offers


class SkippedFilesWarning(UserWarning):
    """Files of a tree were left out, or a class lacks images; the message names them."""


def load(path: Path | str, *, short_side: int | None = 256, embedded: bool | None = None) -> trees.ImageTree:
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
    record = datasets.RECORDS.get(path) if isinstance(path, str) else None
    if record and record.embedded and record.folder:
        root = _root_or_none(record, embedded)
        if root is None:
            return _stand_in(record)
    else:
        root = folder(record.name) if record else Path(path)
    if not root.is_dir():
        raise ValueError(f"Expected a folder with split/class/image, or a name. Received: path={str(path)!r}")
    tree = trees.read(root, short_side=short_side)
    if not tree.images:
        raise ValueError(
            f"Expected images in split/class/image, found {tree.summary(20)}\nReceived: path={str(path)!r}"
        )
    tree = _as_recorded(tree, record) if record else tree
    known = KNOWN.get(tree.name, ()) if record else ()
    if [problem for problem in tree.problems if problem.split(":")[0] not in known]:
        warnings.warn(f"{tree.name}, {tree.summary()}", SkippedFilesWarning, stacklevel=2)
    return tree


def _root_or_none(record: datasets.DatasetRecord, embedded: bool | None) -> Path | None:
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


def _stand_in(record: datasets.DatasetRecord) -> trees.ImageTree:
    """Return the embedded patches as a tree of the same splits; its classes are what the patches are cut from."""
    arrays = record.embedded.fetch(cache.home() / "datasets")
    parts = dict(zip(PARTS, ("train", "test"), strict=True))
    return trees.ImageTree(
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


def _as_recorded(tree: trees.ImageTree, record: datasets.DatasetRecord) -> trees.ImageTree:
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
    record = datasets.find(name)
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


def _layout(record: datasets.DatasetRecord) -> str:
    return f"{{{','.join(PARTS)}}}/{{{','.join(record.class_names)}}}"


def _is_whole(path: Path, record: datasets.DatasetRecord) -> bool:
    """Return True when every class folder of every part has files."""
    folders = [path / part / label for part in PARTS for label in record.class_names]
    return all(item.is_dir() and any(item.iterdir()) for item in folders)


def _fetch(record: datasets.DatasetRecord, path: Path, writable: bool, reasons: list[str]) -> None:
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

"""Data sets that are trees of image files: where they lie, fetched if need be."""

import os
import shutil
import uuid
import zipfile
from pathlib import Path

from tlkeras.data import cache, datasets, sources
from tlkeras.data.availability import offline, unavailable

PARTS = ("train", "val")


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

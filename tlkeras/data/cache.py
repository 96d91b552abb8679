"""The cache folder: a file in it is whole, has one writer at a time, and is checked when it is read."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from tlkeras import _files

_LOCK_SECONDS = 1800  # longer than the largest download takes on a slow line
CONTENT = ("x_train", "y_train", "x_test", "y_test")  # what the fingerprint of a data set covers


class DamagedFileError(RuntimeError):
    """A cached file is not what was written, and no source could replace it."""


class LockedError(RuntimeError):
    """Another process has been fetching a file for longer than any download takes."""


def home() -> Path:
    """Return the absolute path of the folder of all cached data and weights: $TLKERAS_HOME, else ~/.cache/tlkeras.

    Raises:
        RuntimeError: there is neither, as for a user without a home.
    """
    try:
        return Path(os.environ.get("TLKERAS_HOME") or "~/.cache/tlkeras").expanduser().absolute()
    except RuntimeError as error:
        raise RuntimeError(f"Expected TLKERAS_HOME, a folder for the cache. Received: no home ({error})") from error


def dataset_path(name: str) -> Path:
    """Return where the arrays of the data set `name` are cached; the file need not exist."""
    return home() / "datasets" / f"{name}.npz"


def sidecar_path(path: Path) -> Path:
    """Return the path of the small JSON file that says what `path` must hold."""
    return path.with_name(path.name + ".json")


def fingerprint(*arrays: np.ndarray) -> str:
    """Return the first 16 hex digits of the SHA-256 over dtype, shape and bytes of each array, in order.

    Raises:
        ValueError: for an object array, whose bytes are addresses and not content.
    """
    digest = hashlib.sha256()
    for array in map(np.asarray, arrays):
        if array.dtype.hasobject:
            raise ValueError(f"A fingerprint needs arrays of numbers or text. Received: dtype={array.dtype}")
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]


def content_fingerprint(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the fingerprint of the four arrays of a data set."""
    return fingerprint(*(arrays[key] for key in CONTENT))


def read(path: Path) -> dict[str, np.ndarray]:
    """Return every array of the .npz file at `path`.

    Raises:
        DamagedFileError: when it cannot be read, or is not a whole .npz file without pickles.
    """
    try:
        return _files.read_arrays(path)
    except ValueError as error:
        reason = error.__cause__
        raise damaged(path, f"it is not a whole .npz file ({type(reason).__name__}: {reason})") from error


def damaged(path: Path, reason: str) -> DamagedFileError:
    """Return the error for the file at `path`, with the way out."""
    way_out = f"Delete it and {sidecar_path(path).name} beside it, then load again with a network connection"
    return DamagedFileError(f"The cached file is damaged: {reason}. {way_out}. Received: path={str(path)!r}")


def verify(path: Path, arrays: Mapping[str, np.ndarray], *, always: bool = False) -> dict[str, Any]:
    """Compare `arrays`, read from `path`, with the sidecar, and return the sidecar's `source` and `fingerprint`.

    Hashing is left out while size and modification time are those on record, for the archive has its own CRC, unless
    it shall `always` be done. A file without a sidecar was put there by somebody else: it gets one, with an empty
    `source`.

    Raises:
        DamagedFileError: when the content is not the content on record.
    """
    known = read_sidecar(path)
    if known.get("stamp") == _stamp(path) and not always:
        return known
    content = content_fingerprint(arrays)
    if known and known["fingerprint"] != content:
        raise damaged(path, f"its content has the fingerprint {content}, on record is {known['fingerprint']}")
    known = {"source": known.get("source", ""), "fingerprint": content, "stamp": _stamp(path)}
    with contextlib.suppress(OSError):  # a folder that cannot be written costs the hash each time, nothing else
        _write_sidecar(path, known)
    return known


def read_sidecar(path: Path) -> dict[str, Any]:
    """Return the sidecar of `path`, empty when there is none or it does not hold a fingerprint."""
    try:
        content = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) and "fingerprint" in content else {}


def save(path: Path, arrays: Mapping[str, np.ndarray], source: str) -> None:
    """Write `arrays` to `path`, with a sidecar, so that no reader ever sees half a file.

    Raises:
        OSError: when the folder cannot be written; nothing is left behind.
    """
    with _files.replacing(path) as partial:
        _files.write_arrays(partial, arrays)
        # The sidecar goes first: a crash between the two then looks like a damaged file, never like a sound one. Its
        # stamp is right, for a rename keeps size and modification time.
        _write_sidecar(path, {"source": source, "fingerprint": content_fingerprint(arrays), "stamp": _stamp(partial)})


@contextlib.contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Hold the lock of `path`; yield False, without a lock, where the folder cannot be written.

    Raises:
        LockedError: another process has held it for half an hour.
    """
    lock = filelock.FileLock(f"{path}.lock", timeout=_LOCK_SECONDS)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except filelock.Timeout as error:  # which is an OSError, too
        raise LockedError(
            f"Expected a free lock: another process has been fetching {path.name} for {_LOCK_SECONDS / 60:g} minutes; "
            f"wait for it, or end it. Received: {lock.lock_file}"
        ) from error
    except OSError:
        yield False
        return
    try:
        for leftover in _files.leftovers(path):  # of a process that was killed
            shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink(missing_ok=True)
        yield True
    finally:
        lock.release()


def working_folder(path: Path, beside: bool = True) -> tempfile.TemporaryDirectory:
    """Return a temporary folder in which to make what will lie at `path`; a `with` block removes it.

    Args:
        path: of the file or folder to be made.
        beside: on the same disk as `path`, so that one rename moves the result there; False where that cannot be
            written.
    """
    if not beside:
        return tempfile.TemporaryDirectory(prefix="tlkeras-")
    return tempfile.TemporaryDirectory(prefix=".", suffix=f".partial.{path.name}", dir=path.parent)


def _stamp(path: Path) -> list[int]:
    """Return size in bytes and modification time in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _write_sidecar(path: Path, content: Mapping[str, Any]) -> None:
    """Write the sidecar of `path` atomically."""
    _files.write_json(sidecar_path(path), content, indent=1)

"""What every layer needs of files and the screen: atomic writing, digests, progress bars."""

import contextlib
import hashlib
import json
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from tqdm.auto import tqdm

Item = TypeVar("Item")
CHUNK_BYTES = 1 << 20
_EXPANSION, ALWAYS_BYTES = 50, 256 << 20  # deflate packs zeros 1,000 to 1, and pictures of black and white 10 to 1
MOST_BYTES = 4 * 10**9  # of a data set that is read into memory; arrays may be larger
_told: set[str] = set()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; what was written there replaces `path` when the block ends well.

    A reader sees the old file or the new one, never half of one. The temporary name is this call's own, so that two
    writers do not collide, and it keeps the suffixes of `path`, by which NumPy and Keras choose a format.

    Raises:
        OSError: the folder cannot be written, or the disk is full; it names `path`, which is as it was, and nothing is
            left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{uuid.uuid4().hex}.partial.{path.name}")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename not in (None, str(partial), partial):
            raise
        if error.errno is None:  # as from HDF5
            raise OSError(f"{error}: {path}") from error
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        partial.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Find out before hours of work whether a folder can be written; it is made if it is not there.

    Raises:
        OSError: it cannot; the path is named.
    """
    probe = folder / f".{uuid.uuid4().hex}.partial.probe"
    write_text(probe, "")
    probe.unlink()


def reserve(path: Path, size: int) -> None:
    """Find out whether `size` bytes fit on the disk of `path`, before a library writes them that crashes if they don't.

    Raises:
        OSError: they do not.
    """
    with open(path, "wb") as file:
        if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
            os.posix_fallocate(file.fileno(), 0, max(size, 1))


def leftovers(path: Path) -> Iterable[Path]:
    """Return the temporary files that killed writers of `path` left behind; its name may be a pattern."""
    return path.parent.glob(f".*.partial.{path.name}")


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object, *, indent: int | None = None) -> None:
    """Write JSON atomically, see `as_json`.

    Raises:
        TypeError: a value that JSON does not have; nothing is written.
    """
    write_text(path, as_json(content, indent=indent))


def as_json(content: object, *, indent: int | None = None) -> str:
    """Return JSON, compact, or indented by so many spaces; NumPy's values become numbers and lists.

    Raises:
        TypeError: a value that JSON does not have.
    """
    separators = (",", ":") if indent is None else None
    return json.dumps(content, indent=indent, separators=separators, default=_without_numpy) + "\n"


def _without_numpy(value: object) -> Any:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"Expected a value that JSON has. Received: {type(value).__name__}")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> None:
    """Write named arrays as an .npz file atomically."""
    write: Callable[..., None] = np.savez_compressed if compressed else np.savez
    with replacing(path) as partial, open(partial, "wb") as file:
        write(file, **arrays)


def read_arrays(path: Path, error: type[Exception] = ValueError) -> dict[str, np.ndarray]:
    """Return every array of the .npz file at `path`; nothing in it is unpickled.

    Raises:
        error: the file is missing, truncated or no .npz; the message ends with the path.
    """
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
            check_expansion(path.stat().st_size, sum(info.file_size for info in archive.zip.infolist()))
            arrays = {name: archive[name] for name in archive.files}
            if odd := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
                raise ValueError(f"expected arrays alone, received {odd}")
            return arrays
    except Exception as reason:  # damaged bytes make zipfile, zlib and numpy raise almost anything
        raise error(
            f"Expected a whole .npz file of named arrays ({type(reason).__name__}: {reason}). Received: {path}"
        ) from reason


def largest_expansion(stored: int) -> int:
    """Return how many bytes a compressed file of `stored` bytes may honestly become."""
    return max(ALWAYS_BYTES, _EXPANSION * stored)


def check_expansion(stored: int, unpacked: int) -> None:
    """Refuse what would become very much more than is stored, so that no small file fills memory or disk.

    Raises:
        ValueError: more than `largest_expansion`.
    """
    if unpacked > (most := largest_expansion(stored)):
        raise ValueError(f"Expected at most {most >> 20} MiB of {stored} bytes. Received: {unpacked >> 20} MiB")


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's bytes in hex digits: 64 for "sha256", 32 for "md5"."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def progress(items: Iterable[Item] | None = None, description: str = "", **options: Any) -> "tqdm[Item]":
    """Return tqdm's bar over `items`; quiet where nobody looks, and where TQDM_DISABLE is set.

    Args:
        items: what is iterated over; None for a bar that is updated by hand.
        description: stands before the bar.
        options: of tqdm, such as `total` and `unit`.
    """
    quiet = bool(os.environ.get("TQDM_DISABLE")) or None  # None: quiet unless a terminal or a notebook looks
    return tqdm(items, description or None, disable=quiet, **options)


def tell(message: str) -> None:
    """Say on stderr what is going on; progress bars stay whole."""
    tqdm.write(message, file=sys.stderr)


def untold(messages: Iterable[str]) -> list[str]:
    """Return those of some messages that this process was not asked for before: what is told once is told once."""
    fresh = [message for message in dict.fromkeys(messages) if message not in _told]
    _told.update(fresh)
    return fresh

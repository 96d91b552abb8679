"""Archives and pickles from elsewhere: nothing in them runs, nothing is written outside, no small file fills memory."""

import gzip
import pickle
import pickletools
import stat
import tarfile
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO

from tlkeras import _files


class UnsafeArchiveError(ValueError):
    """An archive has a member that no honest one has; it is named, and nothing was unpacked."""


def unpack(path: Path, folder: Path, containing: str = "") -> None:
    """Unpack a zip or tar archive into `folder`: all of its files and folders, or nothing.

    Args:
        path: of the archive.
        folder: it need not exist.
        containing: text that a member's name must contain; others are looked at, and not unpacked.

    Raises:
        UnsafeArchiveError: a member would lie outside of `folder`, or is a link or a device.
        ValueError: it would unpack to very much more than is stored.
        OSError, tarfile.TarError, zipfile.BadZipFile: no archive, or a damaged one.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                _check(info.filename, special=_is_special(info))
            check_zip(archive, path.stat().st_size)
            archive.extractall(folder, [name for name in archive.namelist() if containing in name])
        return
    with tarfile.open(path) as archive:
        members = list(_members(archive, path))
        for member in members:
            _check(member.name, special=not (member.isfile() or member.isdir()))
        # Python 3.11.4 brought the filter, which sees to permissions, too.
        options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        archive.extractall(folder, [member for member in members if containing in member.name], **options)


def _is_special(info: zipfile.ZipInfo) -> bool:
    """Return whether a member is a link or a device; 0 is what systems without such modes write."""
    kind = stat.S_IFMT(info.external_attr >> 16)
    return kind not in (0, stat.S_IFREG, stat.S_IFDIR)


def _check(name: str, *, special: bool) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or PureWindowsPath(name).drive:
        raise UnsafeArchiveError(f"Expected members inside the archive's folder. Received: {name!r}")
    if special:
        raise UnsafeArchiveError(f"Expected files and folders. Received: {name!r}, a link or a device")


def check_zip(archive: zipfile.ZipFile, stored: int) -> None:
    """Refuse a zip archive of `stored` bytes whose members would be very much larger.

    Raises:
        ValueError: they would.
    """
    _files.check_expansion(stored, sum(info.file_size for info in archive.infolist()))


def _members(archive: tarfile.TarFile, path: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members in the order of the file, as long as their sizes are plausible."""
    stored, total = path.stat().st_size, 0
    for member in archive:
        total += member.size
        _files.check_expansion(stored, total)
        yield member


def tar_contents(path: Path, names: Collection[str]) -> dict[str, bytes]:
    """Return the contents of the files of a tar archive that are so called, in whichever folder they lie.

    They are read in one go, for going back means to unpack everything again.

    Raises:
        ValueError: one is missing or no file, or the archive is implausibly large.
        OSError, tarfile.TarError: no archive, or a damaged one.
    """
    found = {}
    with tarfile.open(path) as archive:
        for member in _members(archive, path):
            name = PurePosixPath(member.name).name
            if name in names and name not in found:
                file = archive.extractfile(member) if member.isfile() else None
                if file is None:
                    raise ValueError(f"Expected a regular file in the archive. Received: {member.name}")
                found[name] = file.read()
    if missing := set(names) - found.keys():
        raise ValueError(f"Expected the files {', '.join(names)}. Received: without {', '.join(sorted(missing))}")
    return found


def read_gzip(path: Path) -> bytes:
    """Return the content of a .gz file.

    Raises:
        ValueError: it is very much larger than the file.
        OSError, EOFError: no such file, or a damaged one.
    """
    stored = path.stat().st_size
    with gzip.open(path) as file:
        content = file.read(_files.largest_expansion(stored) + 1)
    _files.check_expansion(stored, len(content))
    return content


class Unpickler(pickle.Unpickler):
    """Unpickles plain values and what `known` has, and refuses everything else: a pickle can otherwise run any code.

    Args:
        file: it is read up to the end of the pickle; it can be told to go back.
        options: of `pickle.Unpickler`.
    """

    known: Mapping[tuple[str, str], Any] = {}
    expected = "plain values"

    def __init__(self, file: BinaryIO, **options: Any) -> None:
        _check_memo(file)
        super().__init__(file, **options)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, or raise UnpicklingError."""
        if (module, name) not in self.known:
            raise pickle.UnpicklingError(f"Expected {self.expected}. Received: {module}.{name}")
        return self.known[module, name]


def _check_memo(file: BinaryIO) -> None:
    """Go through the operations of a pickle: lengths within the file, and memo entries one after the other.

    Python allocates as many entries as the largest number says, which a file of ten bytes may put at four billion.

    Raises:
        ValueError: what an honest pickle does not have.
    """
    start, entries = file.tell(), 1
    for operation, argument, _ in pickletools.genops(file):
        if operation.name.endswith("PUT") and argument is not None:
            if argument > entries:
                raise ValueError(f"Expected memo entries one after the other. Received: number {argument}")
            entries += 1
        elif operation.name == "MEMOIZE":
            entries += 1
    file.seek(start)

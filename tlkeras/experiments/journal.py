"""Which runs of a store are being computed, and which failed: kept in the cache, so that a store holds results alone.

A process that computes a run holds a lock of the operating system's, which is gone with the process, however it ends.
"""

import contextlib
import datetime
import hashlib
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from traceback import format_exc

import filelock

from tlkeras import _files
from tlkeras.data import home

_GUARD_SECONDS = 60  # locks are taken and removed one at a time, which takes milliseconds


@dataclass(frozen=True)
class Entry:
    """A run that is "running", has "failed", or was "interrupted", for its process is gone; `since` is in UTC.

    `reason` and `traceback` are of one that has failed; entries of earlier versions have no traceback.
    """

    report: str
    arm: str
    seed: int
    state: str
    since: str
    process: str
    reason: str = ""
    traceback: str = ""


def folder(store: Path) -> Path:
    """Return where the journal of a store lies."""
    return home() / "studies" / hashlib.sha256(str(store.resolve()).encode()).hexdigest()[:12]


@contextlib.contextmanager
def claimed(store: Path, report: str, arm: str, key: str, seed: int) -> Iterator[bool]:
    """Hold a run while it is computed and stored; yield False where another process holds it.

    How it ends is noted: nothing stays of a run that ends well or by Ctrl-C, reason and traceback of one that fails.
    Where the cache cannot be written, nobody is kept out, and nothing is noted.
    """
    path = folder(store) / report / arm / f"{key}-{seed}.json"
    lock = filelock.FileLock(f"{path}.lock", timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _guard(store):
            lock.acquire()
    except filelock.Timeout:
        yield False
        return
    except OSError:
        yield True
        return
    try:
        _note(path, report, arm, seed, "running")
        yield True
    except Exception as error:
        _note(path, report, arm, seed, "failed", f"{type(error).__name__}: {error}", format_exc())
        raise
    except BaseException:
        _remove(path)
        raise
    else:
        _remove(path)
    finally:
        with _guard(store):  # nobody takes the lock between the two; Windows removes no file that is open
            lock.release()
            _remove(Path(f"{path}.lock"))


def entries(store: Path) -> list[Entry]:
    """Return what is noted of a store, in the order of the reports, arms and seeds; what cannot be read is left out."""
    found = []
    for path in folder(store).glob("*/*/*.json"):
        with contextlib.suppress(OSError, ValueError, TypeError):
            entry = Entry(**json.loads(path.read_text(encoding="utf-8")))
            if entry.state == "running" and not _held(store, path):
                entry = Entry(**{**vars(entry), "state": "interrupted"})
            found.append(entry)
    return sorted(found, key=lambda entry: (entry.report, entry.arm, entry.seed))


def _guard(store: Path) -> filelock.BaseFileLock:
    """Return the lock under which the locks of the runs are taken, tried and removed."""
    return filelock.FileLock(folder(store) / "journal.lock", timeout=_GUARD_SECONDS)


def _held(store: Path, path: Path) -> bool:
    lock = filelock.FileLock(f"{path}.lock", timeout=0)
    with _guard(store):
        try:
            lock.acquire()
        except filelock.Timeout:
            return True
        lock.release()
        return False


def _remove(path: Path) -> None:
    """Remove a file if that can be done; one that stays keeps nobody out."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _note(path: Path, report: str, arm: str, seed: int, state: str, reason: str = "", traceback: str = "") -> None:
    since = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = Entry(report, arm, seed, state, since, f"{socket.gethostname()} {os.getpid()}", reason, traceback)
    with contextlib.suppress(OSError):
        _files.write_json(path, vars(entry))

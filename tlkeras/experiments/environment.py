"""What a run depends on beside its settings: versions, device, commit; and what it leaves behind in memory."""

import contextlib
import ctypes
import datetime
import gc
import importlib.metadata
import logging
import os
import platform
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PACKAGES = ("keras", "tensorflow", "numpy", "tlkeras")
REPOSITORY = Path(__file__).resolve().parents[2]


def describe() -> dict[str, Any]:
    """Return versions, device, threads of an operation, commit and date, as stored with every run."""
    packages = dict.fromkeys((*PACKAGES, os.environ.get("KERAS_BACKEND") or "tensorflow"))
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "device": _device(),
        "threads": _threads(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


@contextlib.contextmanager
def no_retracing_warnings() -> Iterator[None]:
    """Keep TensorFlow from warning of retracing: every run builds a new model on purpose."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Free what TensorFlow and Keras keep of a run, and give it back to the system.

    glibc keeps what lies between pieces that are still in use: 30 MB a run of learning to transfer, without end.
    """
    import keras  # late: tables and tests need no Keras

    from tlkeras import graph

    try:
        with graph.forgotten_gradients():
            yield
    finally:
        keras.utils.clear_session(free_memory=False)
        gc.collect()
        if platform.libc_ver()[0] == "glibc":
            ctypes.CDLL("libc.so.6").malloc_trim(0)


def be_deterministic() -> None:
    """Where TLKERAS_DETERMINISTIC is set, have the backend refuse or replace whatever gives other digits each time.

    It holds for the rest of the process.
    """
    if os.environ.get("TLKERAS_DETERMINISTIC", "0") not in ("", "0"):
        from tlkeras import backend  # late: tables and tests need no Keras

        backend.deterministic()


def peak_memory_mib() -> float | None:
    """Return the largest resident size of this process so far in MiB; None where the system does not tell.

    Linux counts its parent's in what `getrusage` tells of a new process, but not in /proc.
    """
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return round(int(found[1]) / 1024, 1)
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Darwin" else 1)
    return round(kibibytes / 1024, 1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    from tlkeras import backend  # late: tables and tests need no Keras

    return ", ".join(backend.gpus()) or f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def _threads() -> int | None:
    """Return how many cores an operation may use, which decides the order of its sums; None where it is not known."""
    variables = {"tensorflow": "TF_NUM_INTRAOP_THREADS", "torch": "OMP_NUM_THREADS"}
    variable = variables.get(os.environ.get("KERAS_BACKEND") or "tensorflow")
    if variable is None:
        return None
    return int(os.environ.get(variable) or 0) or os.cpu_count()


def _commit() -> str | None:
    """Return the commit of a checkout; None for an installed package, or without git."""
    if not (REPOSITORY / ".git").exists():
        return None
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return found.stdout.strip() or None

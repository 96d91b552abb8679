"""Which sources the environment allows, and the error when none of them worked."""

import os
from pathlib import Path

from tlkeras.data.datasets import DatasetRecord


class DataUnavailableError(RuntimeError):
    """No source of a data set worked; the message lists each with its reason, and the ways out."""


def smoke() -> bool:
    """Return True under TLKERAS_PROFILE=smoke, where only embedded data count."""
    return os.environ.get("TLKERAS_PROFILE") == "smoke"


def offline() -> bool:
    """Return True where the network must not be touched: under TLKERAS_OFFLINE=1 and in the smoke profile."""
    return smoke() or os.environ.get("TLKERAS_OFFLINE", "0") not in ("", "0")


def unavailable(record: DatasetRecord, path: Path, layout: str, reasons: list[str]) -> DataUnavailableError:
    """Return the error for a data set whose files belong at `path`, in the given `layout`."""
    tried = "".join(f"\n  {reason}" for reason in reasons)
    network = "unset TLKERAS_OFFLINE and TLKERAS_PROFILE" if offline() else "connect to a network"
    return DataUnavailableError(
        f"Expected a source of {record.name} that works. Tried:{tried}\n"
        f"Ways out: {network} and load again, or get the data by hand from {record.address} "
        f"and put {layout} at {path}. Received: name={record.name!r}"
    )

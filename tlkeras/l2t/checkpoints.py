"""Checkpoints of a training: everything that its next epoch depends on, written atomically."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tlkeras.models import weights


def write(path: Path, arrays: Mapping[str, np.ndarray], facts: Mapping[str, Any]) -> None:
    """Write named arrays and JSON facts to an .npz; a process killed meanwhile leaves the file that was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial.npz")
    try:
        np.savez(partial, facts=np.array(json.dumps(facts)), **arrays)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return arrays and facts.

    Raises:
        WeightFileError: the file is damaged or no checkpoint.
    """
    arrays = weights.read(path)
    if "facts" not in arrays:
        raise weights.WeightFileError(f"Expected a checkpoint of learning to transfer. Received: {path}")
    return arrays, json.loads(str(arrays.pop("facts")))


def check_same(path: Path, stored: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    """Refuse to resume another training.

    Raises:
        ValueError: settings, data or source differ from those that the checkpoint was written with.
    """
    current = json.loads(json.dumps(current))
    differ = {key: (stored.get(key), value) for key, value in current.items() if stored.get(key) != value}
    if differ:
        raise ValueError(f"Expected the training that {path} is of; (stored, now) differ. Received: {differ}")

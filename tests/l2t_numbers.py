"""Numbers of the official code: how tensors are summed up there, and how far ours are from them."""

import collections
import re
from collections.abc import Mapping

import numpy as np

FLOOR = 1e-3  # of the largest norm among the tensors of one quantity: smaller ones are compared with that


def summary(name: str, tensors: list, velocities: list = ()) -> dict[str, np.ndarray]:
    """Return norm, sum and up to 64 entries of each tensor."""
    flat = [np.asarray(x).ravel() for x in tensors]
    counts = [min(64, x.size) for x in flat]
    facts = {
        f"{name}/norm": [np.linalg.norm(x) for x in flat],
        f"{name}/sum": [x.sum() for x in flat],
        f"{name}/sample": np.concatenate([x[np.arange(k) * (x.size // k)] for x, k in zip(flat, counts, strict=True)]),
    }
    return facts | ({f"{name}/momentum_norm": [np.linalg.norm(x) for x in velocities]} if velocities else {})


def errors(found: Mapping, oracle: Mapping) -> dict[str, float]:
    """Return the worst relative error of each quantity: all names that differ in numbers alone are one."""
    ignored = ("lr", "target_names")
    groups = collections.defaultdict(list)
    for name, wanted in oracle.items():
        if name in ignored:
            continue
        got = np.asarray(found[name]) if name in found else np.full(wanted.shape, np.nan)
        difference = np.inf if got.shape != wanted.shape else np.linalg.norm(np.ravel(got - wanted))
        groups[re.sub(r"(?<=/)\d+|(?<=bn)\d+", "#", name)].append((difference, np.linalg.norm(np.ravel(wanted))))
    worst = {}
    for group, rows in groups.items():
        differences, norms = np.array(rows).T
        worst[group] = float((differences / np.maximum(norms, FLOOR * norms.max() or 1)).max())
    return worst

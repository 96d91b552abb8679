"""The same arms with the same seeds on each backend of Keras: `KERAS_BACKEND=jax python -m tools.backends` measures.

The rows are in results/backends.json, one a backend, arm and seed; `make readme` makes docs/backends.md of them. The
seeds start other networks on each backend, in batches of another order: what is to be alike is the spread.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tlkeras._files import progress, write_json
from tlkeras.experiments import environment, runs
from tlkeras.reports import REPORTS

RECORD = environment.REPOSITORY / "results" / "backends.json"
PAGE = environment.REPOSITORY / "docs" / "backends.md"
ARMS = (("tominet", "scratch_50"), ("tominet", "letters"), ("squeezenet", "head"))
# A whole run of SqueezeNet takes minutes. Of TomiNet the quick profile leaves out the curves of validation alone, each
# epoch of which takes PyTorch ten seconds; what is trained and scored is the report's.
PROFILES = {"tominet": "quick", "squeezenet": "quick"}
SEEDS = 5
KEY = ("backend", "report", "arm", "profile", "seed")


def measure(backend: str, report: str, arm: str, seed: int) -> dict[str, Any]:
    """Run an arm once, and return its row."""
    settings = REPORTS[report].settings(arm, PROFILES[report])
    result = runs.isolated_run(REPORTS[report], settings, seed)
    described = environment.describe()
    return {
        **dict(zip(KEY, (backend, report, arm, PROFILES[report], seed), strict=True)),
        "test_accuracy": result.metrics["test_accuracy"],
        **REPORTS[report].inputs(settings),
        "versions": described["versions"],
        "device": described["device"],
        "date": described["date"],
    }


def read() -> list[dict[str, Any]]:
    """Return the stored rows."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []


def table(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return the header and a line for each arm and backend: the smallest, median and largest accuracy, and n."""
    groups: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        version = f"{row['backend']} {row['versions'][row['backend']]}"
        label = (REPORTS[row["report"]].title, f"`{row['arm']}`", row["profile"], version)
        groups.setdefault(label, []).append(row["test_accuracy"])
    lines = [
        (*label, *(f"{value:.3f}" for value in (min(found), statistics.median(found), max(found))), str(len(found)))
        for label, found in sorted(groups.items())
    ]
    return [("report", "arm", "profile", "backend", "smallest", "median", "largest", "n"), *lines]


def main() -> None:
    """Measure what is not stored yet on this process' backend, row by row."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    from tlkeras import backend  # late: the table needs no Keras

    known = {tuple(row[name] for name in KEY) for row in read()}
    planned = [(backend.NAME, *arm, seed) for arm in ARMS for seed in range(SEEDS)]
    missing = [plan for plan in planned if (*plan[:3], PROFILES[plan[1]], plan[3]) not in known]
    for plan in progress(missing, "backends", unit="run"):
        row = measure(*plan)
        write_json(RECORD, [*read(), row], indent=1)


if __name__ == "__main__":
    main()

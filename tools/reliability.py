"""The record of what was tried against the package, `results/reliability.json`, and the page that is made of it."""

import datetime
import json
from collections.abc import Mapping, Sequence
from typing import Any

from tlkeras._files import write_json
from tlkeras.experiments import environment

RECORD = environment.REPOSITORY / "results" / "reliability.json"
PAGE = environment.REPOSITORY / "docs" / "reliability.md"


def record(name: str, rows: Sequence[Mapping[str, Any]], *, key: str) -> None:
    """Put the rows of one experiment into the record, in the place of earlier ones with the same value of `key`."""
    stored = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    here = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **machine()}
    fresh = {row[key]: {**row, **here} for row in rows}
    earlier = {row[key]: row for row in stored.get(name, [])}
    write_json(RECORD, {**stored, name: list({**earlier, **fresh}.values())}, indent=1)


def machine() -> dict[str, str]:
    """Return versions and machine, in two short texts."""
    here = environment.describe()
    versions = ", ".join(f"{name} {here['versions'][name]}" for name in ("python", "tensorflow", "keras", "numpy"))
    return {"versions": versions, "device": here["device"]}

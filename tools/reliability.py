"""The record of what was tried against the package, `results/reliability.json`, and the page that is made of it."""

import argparse
import datetime
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from tlkeras._files import write_json
from tlkeras.experiments import environment

RECORD = environment.REPOSITORY / "results" / "reliability.json"
PAGE = environment.REPOSITORY / "docs" / "reliability.md"
WHERE = ("date", "versions", "device")


@dataclass(frozen=True)
class Trial:
    """What is tried, and how its rows are read: `key` tells them apart, `times` is what counts, `lost` what is bad."""

    what: str
    key: str
    times: str
    lost: tuple[str, ...]


TRIALS = {
    "kills": Trial(
        "Studies are killed at random moments, and resumed until they are done",
        "way",
        "kills",
        ("lost", "altered", "stray", "orphans", "failed"),
    ),
    "cluster": Trial("A worker of a Ray cluster is killed in mid-run", "way", "kills", ("lost", "altered", "stray")),
    "fuzz": Trial("Every reader of bytes is fed with damaged files", "reader", "cases", ("findings",)),
    "determinism": Trial("The same seed is run again", "report", "comparisons", ("different",)),
    "memory": Trial("The same work is done over and over in one process", "what", "times", ("over the limit",)),
    "versions": Trial("All tests are run at the two ends of the versions", "end", "tests", ("failed",)),
}


def record(name: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put the rows of one trial into the record, in the place of earlier ones of the same key."""
    stored, key = read(), TRIALS[name].key
    here = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), **machine()}
    fresh = {row[key]: {**here, **row} for row in rows}
    earlier = {row[key]: row for row in stored.get(name, [])}
    write_json(RECORD, {**stored, name: list({**earlier, **fresh}.values())}, indent=1)


def record_tests(end: str, report: Path) -> None:
    """Put the outcome of all tests at one end of the versions into the record, from pytest's JUnit file."""
    (suite,) = ElementTree.parse(report).getroot().iter("testsuite")
    counts = {name: int(suite.attrib[name]) for name in ("tests", "failures", "errors", "skipped")}
    failed = counts["failures"] + counts["errors"]
    record("versions", [{"end": end, "tests": counts["tests"], "skipped": counts["skipped"], "failed": failed}])


def read() -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each trial."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}


def machine() -> dict[str, str]:
    """Return versions and machine, in two short texts."""
    here = environment.describe()
    versions = ", ".join(f"{name} {here['versions'][name]}" for name in ("python", "tensorflow", "keras", "numpy"))
    return {"versions": versions, "device": here["device"]}


def summary() -> str:
    """Return a Markdown table: what was tried, how often, what was lost."""
    rows = [
        [
            f"{trial.what} (`{name}`)",
            f"{sum(row.get(trial.times) or 0 for row in stored):,} {trial.times}",
            f"{sum(_number(row.get(field, 0)) for row in stored for field in trial.lost)}: {', '.join(trial.lost)}",
        ]
        for name, trial, stored in _tried()
    ]
    return _table([["what was tried", "how often", "what was lost"], *rows])


def details() -> str:
    """Return a heading and a Markdown table for each trial, and where it was done."""
    return "\n\n".join(_details(name, trial, stored) for name, trial, stored in _tried())


def _details(name: str, trial: Trial, stored: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(column for row in stored for column in row if column not in WHERE))
    columns.sort(key=lambda column: column != trial.key)
    rows = [[_text(row.get(column, "")) for column in columns] for row in stored]
    where = dict.fromkeys("; ".join(row[field] for field in WHERE) for row in stored)
    return f"### {trial.what}: `{name}`\n\n{_table([columns, *rows])}\n\nMeasured: {' | '.join(where)}."


def _tried() -> list[tuple[str, Trial, list[dict[str, Any]]]]:
    stored = read()
    return [(name, trial, stored[name]) for name, trial in TRIALS.items() if stored.get(name)]


def _number(value: Any) -> int:
    return len(value) if isinstance(value, list) else int(value)


def _text(value: Any) -> str:
    text = "; ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return text.replace("|", "\\|")


def main() -> None:
    """Record the tests of one end, by the Python that ran them: `python -m tools.reliability oldest report.xml`."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("end", help="oldest or newest")
    parser.add_argument("report", type=Path, help="what pytest --junitxml wrote")
    options = parser.parse_args()
    record_tests(options.end, options.report)


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *others = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *others))


if __name__ == "__main__":
    main()

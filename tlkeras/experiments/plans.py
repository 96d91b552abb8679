"""What a study will cost and how far it is: by arm, how many runs are stored, and the seconds that the others need."""

import dataclasses
import statistics
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkeras.experiments import runs
from tlkeras.experiments.report import Report, profile

_STUDY_KEYS = {"profile": str, "jobs": int}
_PART_KEYS = {"arms": [str], "seeds": (int, [int])}


@dataclasses.dataclass(frozen=True)
class Plan:
    """An arm of a study: runs that are stored, runs that there shall be, seconds of one (None: none was ever run)."""

    report: str
    arm: str
    done: int
    total: int
    seconds: float | None

    @property
    def left(self) -> int:
        """Number of runs that are missing."""
        return self.total - self.done


@dataclasses.dataclass(frozen=True)
class Part:
    """What a study wants of one report; None stands for all arms, and for the profile's seeds."""

    report: Report
    arms: list[str] | None
    seeds: int | list[int] | None


@dataclasses.dataclass(frozen=True)
class Study:
    """A study as a file has it."""

    profile: str
    jobs: int
    parts: tuple[Part, ...]


def plans(
    report: Report, arms: Sequence[str] | None, seeds: int | Iterable[int] | None, profile_name: str
) -> list[Plan]:
    """Return the plan of each arm of a study, as `runs.study` takes it; no data are read.

    Raises:
        ValueError: an unknown arm or profile, or no seeds.
    """
    names, seeds, found = list(report.arms if arms is None else arms), runs.kept_seeds(seeds), []
    stored = runs.load_runs(report, profile_name, names)
    for arm in names:
        own, wanted = stored.of(arm), runs.seeds_of(report, arm, seeds, profile_name)
        known = [run.wall_seconds for run in own if run.wall_seconds is not None]
        done = len({run.seed for run in own} & set(wanted))
        found.append(Plan(report.name, arm, done, len(set(wanted)), statistics.fmean(known) if known else None))
    return found


def summary(plan: Iterable[Plan], jobs: int = 1) -> str:
    """Say in one line how many runs are done, and how long the others take on this machine by those that are done."""
    rows = list(plan)
    done, total = sum(row.done for row in rows), sum(row.total for row in rows)
    if done == total:
        return f"{done} of {total} runs done"
    seconds = sum(row.left * row.seconds for row in rows if row.seconds is not None) / jobs
    unknown = sum(row.left for row in rows if row.seconds is None)
    left = [f"about {duration(seconds)} left"] if unknown < total - done else []
    left += [f"{unknown} runs of arms whose cost is not known yet"] if unknown else []
    return f"{done} of {total} runs done, {' and '.join(left)}"


def duration(seconds: float) -> str:
    """Return seconds in a unit that suits them."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def read_study(path: Path, reports: Mapping[str, Report]) -> Study:
    """Read a study from a TOML file: `profile`, `jobs`, and a table of each report with `arms` and `seeds`.

    Raises:
        ValueError: no TOML, an unknown key or report or arm, a value of another kind, or no report at all.
        OSError: the file cannot be read.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"Expected a TOML file ({error}). Received: {path}") from error
    tables = {name: table for name, table in content.items() if name not in _STUDY_KEYS}
    unknown = [name for name, table in tables.items() if name not in reports or not isinstance(table, dict)]
    if unknown or not tables:
        known = f"{', '.join(_STUDY_KEYS)} and tables of {', '.join(reports)}"
        raise ValueError(f"Expected {known}, at least one table. Received: {unknown or 'none'} in {path}")
    _check(content, _STUDY_KEYS, [*_STUDY_KEYS, *tables], path)
    for table in tables.values():
        _check(table, _PART_KEYS, list(_PART_KEYS), path)
    parts = tuple(Part(reports[name], table.get("arms"), table.get("seeds")) for name, table in tables.items())
    for part in parts:
        part.report.check_arms(part.arms or [])
    return Study(profile(content.get("profile")), content.get("jobs", 1), parts)


def _check(table: Mapping[str, Any], kinds: Mapping[str, Any], known: Sequence[str], path: Path) -> None:
    wrong = [name for name in table if name not in known or not _is_of(table[name], kinds.get(name, object))]
    if wrong:
        raise ValueError(f"Expected the keys {', '.join(kinds)}, of their kind. Received: {wrong} in {path}")


def _is_of(value: object, kind: Any) -> bool:
    """Return whether a value is of a kind: a type, one of several kinds in a tuple, or a list of what `[kind]` has."""
    if isinstance(kind, tuple):
        return any(_is_of(value, one) for one in kind)
    if isinstance(kind, list):
        return isinstance(value, list) and all(_is_of(item, kind[0]) for item in value)
    return isinstance(value, kind) and type(value) is not bool  # which is an int, too

"""The audit of a store: files that are damaged, orphaned or duplicated, arms of mixed data; and runs computed again.

Those are drawn by a lottery that nobody can steer, and compared with what is stored.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tlkeras.experiments import environment, runs
from tlkeras.experiments.report import PROFILES, Report, as_stored, in_profile
from tlkeras.experiments.runs import Run

ABSOLUTE, RELATIVE = 0.02, 0.05  # what a metric may differ by on another machine or with other versions
SAME = ("keras", "tensorflow", "numpy")  # the versions that decide the last bit, as device and threads do
_SHARES = (0.01, 0.05, 0.1, 0.2)
_BACKENDS = {"jax", "torch"}  # which a run names among its versions if it ran on one of them
EQUAL, NEAR, DIFFERENT, NOT_HERE = "equal", "within tolerance", "different", "cannot be computed here"
_DEPTH = 4  # report/arm/key/seed.json; what lies beside the folders of the reports is no run


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: `kind` is "stray", "damaged", "orphaned", "altered", "duplicated" or "mixed"."""

    kind: str
    path: str
    reason: str


def files(folder: Path) -> list[Path]:
    """Return what lies in a store, in the order of the paths, but for the files beside the folders of the reports."""
    return [path for path in sorted(folder.glob("*/**/*")) if not path.is_dir() or path.suffix == ".json"]


def findings(reports: Mapping[str, Report], folder: Path) -> list[Finding]:
    """Look at every file of a store.

    Args:
        reports: by name; a run of any other report, arm or settings is orphaned.
        folder: of the store.

    Returns:
        Stray files (no run lies there), damaged ones (unreadable, incomplete, in the place of another, or with metrics
        that are not finite), runs whose settings no arm has in any profile, runs whose settings or inputs are not those
        that named their folder, runs that are there twice, and arms whose runs have different data or weights.
    """
    found, readable = list[Finding](), dict[Path, Run]()
    for path in files(folder):
        place = path.relative_to(folder)
        try:
            if len(place.parts) != _DEPTH or path.suffix != ".json" or path.name.startswith("."):
                found.append(Finding("stray", str(place), _stray(path)))
            else:
                readable[place] = runs.read_run(path)
        except runs.DamagedRunError as error:
            found.append(Finding("damaged", str(place), str(error.__cause__)))
    for place, run in readable.items():
        found += [Finding(kind, str(place), reason) for kind, reason in _faults(reports, place, run)]
    return found + _duplicated(reports, readable) + _mixed(reports, readable)


def _stray(path: Path) -> str:
    partial = ".partial." in path.name
    return "left by a writer that was killed; delete it" if partial else "expected report/arm/key/seed.json"


def _faults(reports: Mapping[str, Report], place: Path, run: Run) -> Iterator[tuple[str, str]]:
    """Yield kind and reason of what is wrong with a run on its own."""
    if left_out := runs.not_finite(run):
        yield "damaged", f"metrics that are not finite: {', '.join(left_out)}"
    if run.report not in reports or run.arm not in reports[run.report].arms:
        yield "orphaned", "no report has this arm"
        return
    report = reports[run.report]
    settings = report.completed(run.arm, run.settings)
    if all(settings != as_stored(report.settings(run.arm, name)) for name in PROFILES):
        now = as_stored(report.settings(run.arm, run.profile if run.profile in PROFILES else "paper"))
        other = sorted(name for name in settings.keys() | now.keys() if settings.get(name) != now.get(name))
        yield "orphaned", f"settings that no arm has: {', '.join(other)}"
    elif place.parts[-2].split("-")[0] not in runs.run_keys(report, run):
        yield "altered", "the folder was named by other settings, data or weights"


def _groups(reports: Mapping[str, Report], readable: Mapping[Path, Run]) -> dict[tuple[str, str, str], list[Path]]:
    """Return the places of the runs of today's arms, by report, arm and settings."""
    groups: dict[tuple[str, str, str], list[Path]] = {}
    for place, run in readable.items():
        if run.report in reports and run.arm in reports[run.report].arms:
            settings = json.dumps(reports[run.report].completed(run.arm, run.settings), sort_keys=True)
            groups.setdefault((run.report, run.arm, settings), []).append(place)
    return groups


def _duplicated(reports: Mapping[str, Report], readable: Mapping[Path, Run]) -> list[Finding]:
    found = []
    for places in _groups(reports, readable).values():
        first: dict[tuple, Path] = {}
        for place in places:
            run = readable[place]
            same = first.setdefault((run.seed, *runs.fingerprints(run.inputs)), place)
            if same != place:
                found.append(Finding("duplicated", str(place), f"the same run as {same}"))
    return found


def _mixed(reports: Mapping[str, Report], readable: Mapping[Path, Run]) -> list[Finding]:
    found = []
    for (report, arm, _), places in _groups(reports, readable).items():
        counts: dict[str, int] = {}
        for place in places:
            inputs = readable[place].inputs
            named = ", ".join(f"{item['name']} {item['fingerprint']}" for item in inputs["data"] + inputs["weights"])
            counts[named] = counts.get(named, 0) + 1
        if len(counts) > 1:
            reason = "; ".join(f"{count} runs of {named}" for named, count in counts.items())
            found.append(Finding("mixed", f"{report}/{arm}", reason))
    return found


@dataclass(frozen=True)
class Outcome:
    """A run that was drawn, what came of it (one of the four words above), and the metrics that differ, or why not."""

    run: Run
    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.run.report}/{self.run.arm}, seed {self.run.seed}: {self.verdict}{reason}"


def draw(stored: Iterable[Run], seed: str, *, limit: float) -> list[Run]:
    """Return the runs that took at most `limit` seconds, in an order that the hash of `seed` decides.

    The first K are a draw without replacement, in which each run has the same chance. Whoever stored the runs cannot
    have known the order if the seed became known later, as that of a commit or of a public lottery does.
    """
    cheap = [run for run in stored if run.wall_seconds is not None and run.wall_seconds <= limit]
    return sorted(cheap, key=lambda run: _digest(seed, run))


def _digest(seed: str, run: Run) -> str:
    named = [seed, run.report, run.arm, str(run.seed), runs.run_key(run.settings, run.inputs)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def again(
    reports: Mapping[str, Report], drawn: Sequence[Run], count: int, *, minutes: float = math.inf
) -> Iterator[Outcome]:
    """Compute the first `count` runs again, one after the other, as long as the next is expected to end in time.

    Args:
        reports: by name.
        drawn: in the order of `draw`, paper runs of today's settings.
        count: of runs that are compared; those whose data, weights or backend are not here do not count.
        minutes: none is begun that would end later by the time it once took.

    Yields:
        The outcome of each run.
    """
    deadline = time.monotonic() + 60 * minutes
    for run in drawn:
        if count < 1 or time.monotonic() + (run.wall_seconds or 0) > deadline:
            return
        with in_profile(run.profile):
            outcome = _again(reports[run.report], run)
        count -= outcome.verdict != NOT_HERE
        yield outcome


def _again(report: Report, run: Run) -> Outcome:
    settings = report.settings(run.arm, run.profile)
    if _BACKENDS & run.versions.keys() != _BACKENDS & environment.describe()["versions"].keys():
        return Outcome(run, NOT_HERE, "random numbers of another backend")
    if "engine" in run.details:
        return Outcome(run, NOT_HERE, "an engine that trains many seeds at once")
    try:
        if runs.fingerprints(report.inputs(settings)) != runs.fingerprints(run.inputs):
            return Outcome(run, NOT_HERE, "other data or weights are here")
    except (RuntimeError, ValueError, OSError) as error:
        return Outcome(run, NOT_HERE, str(error).splitlines()[0])
    found = runs.isolated_run(report, settings, run.seed).metrics
    return compared(run, found, same_machine=_same_machine(run))


def _same_machine(run: Run) -> bool:
    here = environment.describe()
    alike = run.threads is not None and (run.device, run.threads) == (here["device"], here["threads"])
    return alike and all(run.versions.get(name) == here["versions"][name] for name in SAME)


def compared(run: Run, found: Mapping[str, float], *, same_machine: bool) -> Outcome:
    """Compare metric by metric; seconds are no result.

    Args:
        run: as it was stored, with metrics of six decimals.
        found: the metrics of today.
        same_machine: on the same versions, kind of machine and number of threads every metric must be equal; otherwise
            it may differ by `ABSOLUTE`, or by `RELATIVE` of the stored value where that is more.

    Returns:
        The outcome, with each metric that is not equal.
    """
    told, far = [], False
    for name, before in run.metrics.items():
        now = round(found.get(name, math.nan), 6)
        if name.endswith("seconds") or now == before:
            continue
        told.append(f"{name} {now}, stored {before}")
        far |= same_machine or not abs(now - before) <= max(ABSOLUTE, RELATIVE * abs(before))
    return Outcome(run, DIFFERENT if far else NEAR if told else EQUAL, "; ".join(told))


def chance(population: int, altered: int, drawn: int) -> float:
    """Return the probability that a draw without replacement meets at least one of the altered runs."""
    if drawn > population - altered:
        return 1.0
    return 1 - math.comb(population - altered, drawn) / math.comb(population, drawn)


def statement(population: int, drawn: int, limit: float, passed_over: int = 0) -> str:
    """Say what a draw without a difference is worth.

    Args:
        population: runs that could be drawn.
        drawn: those that were computed again.
        limit: seconds that a run of the population took at most.
        passed_over: runs that were drawn and cannot be computed here.
    """
    chances = [
        f"{share:.0%} ({count}): {chance(population, count, drawn):.2f}"
        for share in _SHARES
        if (count := math.ceil(share * population))
    ]
    like_them = f"This says nothing of runs like the {passed_over} that were passed over. " if passed_over else ""
    return (
        f"{drawn} of the {population} runs that took at most {limit:g} s were computed again. "
        f"Had a share of these been altered, one of them would have been drawn with probability: {', '.join(chances)}. "
        f"{like_them}Equal means all six decimals. On other versions, another machine or another number of threads, or "
        f"where a run does not say how many it had, a metric may differ by {ABSOLUTE}, or by {RELATIVE:.0%} where that "
        "is more; a smaller alteration is not seen there."
    )

"""What is wrong with a store of runs: files that are damaged, orphaned or duplicated, arms of mixed data."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tlkeras.experiments import runs
from tlkeras.experiments.report import PROFILES, Report, as_stored
from tlkeras.experiments.runs import Run

DEPTH = 4  # report/arm/key/seed.json; what lies beside the folders of the reports is no run


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
            if len(place.parts) != DEPTH or path.suffix != ".json" or path.name.startswith("."):
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
    settings = _settings(report, run)
    if all(settings != as_stored(report.settings(run.arm, name)) for name in PROFILES):
        now = as_stored(report.settings(run.arm, run.profile if run.profile in PROFILES else "paper"))
        other = sorted(name for name in settings.keys() | now.keys() if settings.get(name) != now.get(name))
        yield "orphaned", f"settings that no arm has: {', '.join(other)}"
    elif place.parts[-2].split("-")[0] not in runs.run_keys(report, run):
        yield "altered", "the folder was named by other settings, data or weights"


def _settings(report: Report, run: Run) -> dict:
    return report.completed(run.arm, run.settings)


def _groups(reports: Mapping[str, Report], readable: Mapping[Path, Run]) -> dict[tuple[str, str, str], list[Path]]:
    """Return the places of the runs of today's arms, by report, arm and settings."""
    groups: dict[tuple[str, str, str], list[Path]] = {}
    for place, run in readable.items():
        if run.report in reports and run.arm in reports[run.report].arms:
            settings = json.dumps(_settings(reports[run.report], run), sort_keys=True)
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

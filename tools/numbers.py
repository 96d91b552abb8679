"""Every recorded number as one table that can be searched and sorted, each with the files that it comes from."""

import dataclasses
import html
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tlkeras.experiments import environment, runs, tables
from tlkeras.experiments.report import Report, as_stored
from tlkeras.reports import REPORTS
from tools import conclusions

RESULTS = environment.REPOSITORY / "results"
COLUMNS = {  # heading -> what it means
    "part": "a report, or what was recorded beside them",
    "arm": "what was run",
    "metric": "what was measured",
    "theirs": "the report's number, or the peer's",
    "ours": "the mean over n runs",
    "95 % interval": "of the mean over runs; by the bootstrap, of fewer than ten runs by Student's t",
    "n": "runs",
}


@dataclasses.dataclass(frozen=True)
class File:
    """A record that is no run: a list of rows in one file.

    Attributes:
        name: of the file in `results/`.
        keys: the field that tells its rows apart, the first of these that a row has; none: all texts but `BESIDE`.
        command: what records it.
        unit: the field with the unit of its numbers, if it has one.
        theirs: a field of the peer's number, shown beside the field "ours".
    """

    name: str
    keys: tuple[str, ...] = ()
    command: str = ""
    unit: str = ""
    theirs: str = ""


FILES = {
    "speed": File("benchmarks.json", ("name",), "python -m tlkeras bench --record", "unit", "peer"),
    "applications": File("applications.json", ("name",), "python -m tlkeras.reports.strategies.applications"),
    "reliability": File("reliability.json", ("way", "reader", "report", "what", "end"), "make reliability"),
    "mutation": File("mutation.json", ("module",), "make mutation"),
    "traps": File("traps.json", ("trap",), "make traps"),
    "backends": File("backends.json", (), "python -m tools.backends"),
    "upstream": File("upstream.json", (), "python -m tools.upstream"),
}
PAIRS = ("overlaps.json",)  # which image is which: no results
BESIDE = ("date", "device", "versions", "commit")  # where and when, of any record


@dataclasses.dataclass(frozen=True)
class Number:
    """A row of the table; `group` is the key of its files, command and settings in `groups`."""

    part: str
    arm: str
    metric: str
    theirs: float | None
    ours: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    note: str
    group: str

    @property
    def anchor(self) -> str:
        """What leads to the row, on the page."""
        return re.sub(r"[^\w.+-]+", "-", f"{self.part}-{self.arm}-{self.metric}").strip("-")


def numbers() -> list[Number]:
    """Return all rows: those of the reports, then those of the other files."""
    return [*(row for report in REPORTS.values() for row in _of_report(report)), *_of_files()]


def groups() -> dict[str, dict[str, Any]]:
    """Return for each arm its command, settings, data and weights, and its runs with their files, commits and metrics.

    For a row of another file: its command, its file, and the texts that stand beside its numbers.
    """
    found = {}
    for report in REPORTS.values():
        recorded = runs.load_runs(report, "paper")
        files = _files(report)
        for arm in report.arms:
            found[f"{report.name}/{arm}"] = _group(report, arm, recorded.of(arm), files)
    for part, file in records().items():
        for arm, row in _rows(file):
            beside = {name: _joined(value) for name, value in row.items() if not _is_number(value) and value != arm}
            command = f"{file.command} TRY={arm.split(':')[0]}" if part == "reliability" else file.command
            found[f"{part}/{arm}"] = {"command": command, "settings": beside, "file": f"results/{file.name}"}
    return found


def records() -> dict[str, File]:
    """Return every file of `results/` that is no run by the name of its part, with those that `FILES` does not know."""
    known = {*PAIRS, *(file.name for file in FILES.values())}
    others = {path.stem: File(path.name) for path in sorted(RESULTS.glob("*.json")) if path.name not in known}
    return {**FILES, **others}


def page(rows: Sequence[Number]) -> str:
    """Return the HTML of the table with its search field; `numbers.js` brings both to life.

    Args:
        rows: of `numbers`.
    """
    parts = "".join(f"<option>{html.escape(part)}</option>" for part in dict.fromkeys(row.part for row in rows))
    heads = "".join(
        f'<th scope="col"><button type="button" title="{html.escape(meaning)}">{heading}</button></th>'
        for heading, meaning in COLUMNS.items()
    )
    body = "\n".join(map(_row, rows))
    return f"""<form class="numbers-search" role="search" onsubmit="return false">
<label>Search <input type="search" id="numbers-words" placeholder="letters accuracy" autocomplete="off"></label>
<label>Part <select id="numbers-part"><option value="">all</option>{parts}</select></label>
<output id="numbers-count" aria-live="polite">{len(rows):,} numbers</output>
</form>
<div class="numbers-frame" tabindex="0" role="region" aria-label="All recorded numbers">
<table id="numbers"><thead><tr>{heads}</tr></thead>
<tbody>
{body}
</tbody></table></div>"""


def script() -> str:
    """Return the JavaScript file with all groups: a page that is opened from a file path may load it, but no JSON."""
    content = json.dumps(groups(), ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return f"const RECORDED = {content.replace('</', '<' + chr(92) + '/')};\n"


def shown(value: float | None) -> str:
    """Return a number as the table shows it: four digits after the point, or four significant ones when it is small."""
    if value is None:
        return ""
    if float(value).is_integer():
        return f"{value:,.0f}"
    return f"{value:,.4f}" if abs(value) >= 0.01 else f"{value:.4g}"


def _of_report(report: Report) -> Iterator[Number]:
    for row in tables.result_rows(report, runs.load_runs(report, "paper")):
        yield Number(
            part=conclusions.number(report.name),
            arm=row["arm"],
            metric=row["metric"],
            theirs=row["reported"],
            ours=row["mean"],
            ci_low=row["ci_low"],
            ci_high=row["ci_high"],
            n=row["n"],
            note=row["note"],
            group=f"{report.name}/{row['arm']}",
        )


def _of_files() -> Iterator[Number]:
    for part, file in records().items():
        for arm, row in _rows(file):
            unit = f", {row[file.unit]}" if file.unit else ""
            for name, value in row.items():
                if _is_number(value) and name != file.theirs:
                    metric = "ratio" if name == "ratio" else f"{name.replace('_', ' ')}{unit}"
                    theirs = row[file.theirs] if file.theirs and name == "ours" else None
                    yield Number(part, arm, metric, theirs, value, None, None, 1, "", f"{part}/{arm}")


def _rows(file: File) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield a name for each row, and the row."""
    content = json.loads((RESULTS / file.name).read_text(encoding="utf-8"))
    by_trial = content.items() if isinstance(content, dict) else [("", content)]
    met: Counter[str] = Counter()
    for trial, rows in by_trial:
        for row in rows:
            name = next((row[key] for key in file.keys if key in row), None) or _texts(row)
            name = f"{trial}: {name}" if trial else name
            met[name] += 1
            yield (f"{name} ({met[name]})" if met[name] > 1 else name), row


def _texts(row: Mapping[str, Any]) -> str:
    return ", ".join(value for name, value in row.items() if isinstance(value, str) and name not in BESIDE)


def _files(report: Report) -> dict[tuple[str, int, str], Path]:
    """Return the file of each stored run by arm, seed and date."""
    folder = runs.results_folder("paper")
    paths = sorted((folder / report.name).glob("*/*/[!.]*.json")) if folder else []
    content = [(json.loads(path.read_text(encoding="utf-8")), path) for path in paths]
    return {(run["arm"], run["seed"], run["date"]): path for run, path in content}


def _group(report: Report, arm: str, own: runs.Runs, files: Mapping[tuple[str, int, str], Path]) -> dict[str, Any]:
    inputs: Iterable[Mapping[str, Any]] = [item for run in own[:1] for item in (*run.data, *run.weights)]
    return {
        "command": f"python -m tlkeras run {report.name} --arm {arm} --profile paper",
        "settings": {name: _joined(value) for name, value in as_stored(report.settings(arm, "paper")).items()},
        "inputs": [_provenance(item) for item in inputs],
        "versions": "; ".join(dict.fromkeys(_versions(run) for run in own)),
        "runs": [_run(run, files[run.arm, run.seed, run.date]) for run in own],
    }


def _run(run: runs.Run, path: Path) -> dict[str, Any]:
    return {
        "seed": run.seed,
        "file": "results/" + "/".join(path.parts[-4:]),
        "commit": run.commit or "",
        "date": run.date[:10],
        "device": run.device,
        "metrics": run.metrics,
    }


def _versions(run: runs.Run) -> str:
    return ", ".join(f"{name} {version}" for name, version in run.versions.items() if version)


def _provenance(item: Mapping[str, Any]) -> str:
    named = " ".join(filter(None, (item["name"], f"({item['source']})" if "source" in item else "")))
    return f"{named}, fingerprint {item['fingerprint']}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _joined(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _row(row: Number) -> str:
    interval = "" if row.ci_low is None else f"{shown(row.ci_low)} to {shown(row.ci_high)}"
    sizes = [row.theirs, row.ours, row.ci_low, row.n]
    texts = [shown(row.theirs), shown(row.ours), interval, f"{row.n:,}" if row.n else row.note]
    cells = "".join(
        f'<td data-value="{"" if size is None else size}">{html.escape(text)}</td>'
        for size, text in zip(sizes, texts, strict=True)
    )
    opener = f'<button type="button" aria-expanded="false">{html.escape(row.arm)}</button>'
    return (
        f'<tr id="{html.escape(row.anchor)}" data-group="{html.escape(row.group)}" data-note="{html.escape(row.note)}">'
        f'<td>{html.escape(row.part)}</td><th scope="row">{opener}</th><td>{html.escape(row.metric)}</td>{cells}</tr>'
    )

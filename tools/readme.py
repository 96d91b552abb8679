"""The README's tables: made from what is stored in `results/`, between markers, never typed by hand."""

import json
import re
from collections.abc import Iterable, Sequence

from tlkeras._files import write_text
from tlkeras.experiments import environment, runs, tables
from tlkeras.experiments.report import Report
from tlkeras.reports import REPORTS

README = environment.REPOSITORY / "README.md"
SPEED = environment.REPOSITORY / "results" / "benchmarks.json"
COLUMNS = ("report", "arm", "metric", "reported", "mean", "ci_low", "ci_high", "n", "data")


def results(reports: Iterable[Report]) -> str:
    """Return the Markdown table of the recorded paper runs: each report's highlights, headline metrics only."""
    rows = []
    for report in reports:
        stored = runs.load_runs(report, "paper", report.highlights)
        rows += tables.result_rows(report, stored, arms=report.highlights, metrics=report.headline)
    return tables.to_markdown([{key: row[key] for key in COLUMNS} for row in rows])


def speed() -> str:
    """Return the Markdown table of the recorded benchmarks."""
    lines = ["| what | ours | peer | ratio | equal on both sides | measured |", "| --- | --- | --- | --- | --- | --- |"]
    for row in json.loads(SPEED.read_text(encoding="utf-8")):
        peer = "-" if row["peer"] is None else f"{row['peer']} {row['unit']}"
        ratio = "-" if row["ratio"] is None else f"{row['ratio']}x"
        cells = [
            row["name"],
            f"{row['ours']} {row['unit']}",
            peer,
            ratio,
            row["equal"],
            f"{row['date']}, {row['device']}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write_results() -> None:
    """Write `results` of all reports into the README."""
    _update("results", results(REPORTS.values()))


def record_speed(rows: Sequence[dict]) -> None:
    """Store benchmark rows, replacing those of the same names, and write `speed` into the README."""
    about = environment.describe()
    stored = json.loads(SPEED.read_text(encoding="utf-8")) if SPEED.exists() else []
    fresh = [{**row, "date": about["date"][:10], "device": about["device"]} for row in rows]
    kept = [row for row in stored if row["name"] not in {new["name"] for new in fresh}]
    write_text(SPEED, json.dumps(kept + fresh, indent=1) + "\n")
    _update("speed", speed())


def replace_block(text: str, name: str, content: str) -> str:
    """Return `text` with `content` between `<!-- name:begin ... -->` and `<!-- name:end -->`.

    Raises:
        ValueError: the markers are not there exactly once.
    """
    pattern = rf"(<!-- {re.escape(name)}:begin[^>]*-->\n).*?(\n?<!-- {re.escape(name)}:end -->)"
    replaced, count = re.subn(pattern, lambda match: f"{match[1]}{content}\n{match[2].lstrip()}", text, flags=re.DOTALL)
    if count != 1:
        raise ValueError(f"Expected one pair of markers {name}:begin and {name}:end. Received: {count}")
    return replaced


def _update(name: str, content: str) -> None:
    write_text(README, replace_block(README.read_text(encoding="utf-8"), name, content))

"""Write the tables of README.md and CONTRIBUTING.md, `make readme`, from what is stored in `results/`."""

import json
import re
from collections.abc import Iterable

from tlkeras._files import write_text
from tlkeras.experiments import environment, runs, tables
from tlkeras.experiments.report import Report
from tlkeras.reports import REPORTS

README = environment.REPOSITORY / "README.md"
CONTRIBUTING = environment.REPOSITORY / "CONTRIBUTING.md"
MUTATION = environment.REPOSITORY / "results" / "mutation.json"
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


def mutation() -> str:
    """Return the Markdown table of the recorded mutation runs."""
    lines = ["| file | mutants run | noticed | 95 % interval |", "| --- | --- | --- | --- |"]
    for row in json.loads(MUTATION.read_text(encoding="utf-8")):
        interval = f"{row['ci_low']:.0%} to {row['ci_high']:.0%}"
        lines.append(f"| `{row['module']}` | {row['run']} | {row['killed']:.0%} | {interval} |")
    return "\n".join(lines)


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


def main() -> None:
    """Write the tables into README.md and CONTRIBUTING.md."""
    text = README.read_text(encoding="utf-8")
    for name, content in (("results", results(REPORTS.values())), ("speed", speed())):
        text = replace_block(text, name, content)
    write_text(README, text)
    write_text(CONTRIBUTING, replace_block(CONTRIBUTING.read_text(encoding="utf-8"), "mutation", mutation()))


if __name__ == "__main__":
    main()

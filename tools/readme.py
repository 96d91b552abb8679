"""Write what is generated in README.md, CONTRIBUTING.md and docs/, `make readme`, from what is stored in `results/`."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from tlkeras._files import write_text
from tlkeras.data.records import RECORDS as DATASETS
from tlkeras.experiments import environment, runs, tables
from tlkeras.experiments.report import Report
from tlkeras.models.records import RECORDS as BACKBONES
from tlkeras.reports import REPORTS
from tools import backends, conclusions, forest, reliability, remaining, traps, upstream
from tools.markdown import markdown_table

ROOT = environment.REPOSITORY
README, CONTRIBUTING = ROOT / "README.md", ROOT / "CONTRIBUTING.md"
RESULTS_PAGE, SPEED_PAGE, DATA_PAGE = (ROOT / "docs" / f"{name}.md" for name in ("results", "speed", "data"))
MUTATION = ROOT / "results" / "mutation.json"
SPEED = ROOT / "results" / "benchmarks.json"
PRETRAINED = ROOT / "tlkeras" / "models" / "pretrained"
COLUMNS = ("arm", "metric", "reported", "mean", "ci_low", "ci_high", "n")
PICTURE = """<picture>
<source media="(prefers-color-scheme: dark)" srcset="docs/figures/headline-dark.svg">
<img src="docs/figures/headline.svg" width="800" alt="Test accuracy of {count} arms of five reports, as reported \
and as measured here with its 95 % interval; docs/results.md has the same numbers.">
</picture>"""
# What reads as a result: a decimal fraction, a percentage, a number of runs, or a factor.
TYPED = re.compile(r"\d+(?:\.\d+)? ?%|\d+\.\d+|\bn ?= ?\d+|\b\d+x\b")
# Versions, licences, DOIs and addresses are no results.
NO_RESULT = re.compile(r"Python \d\.\d+(?: to \d\.\d+)?|CC BY-SA \d\.\d|Keras \d(?:\.\d+)*|95 %|https?://\S+")


def verdicts() -> str:
    """Return the table of the conclusions that matter."""
    rows = [
        (conclusions.number(row.report), row.says, f"**{row.short_verdict}**", row.numbers, row.n)
        for row in conclusions.conclusions()
    ]
    return markdown_table(("report", "conclusion", "verdict", "by how much", "n"), rows)


def open_questions() -> str:
    """Return what the recorded runs leave open, as a list."""
    return "\n".join(f"- {sentence}" for sentence in conclusions.undecided())


def picture() -> str:
    """Return the HTML of the README's picture."""
    return PICTURE.format(count=sum(map(len, forest.rows().values())))


def results() -> str:
    """Return a Markdown table for each report: the recorded paper runs of its highlights, headline metrics only."""
    return "\n\n".join(_results(report) for report in REPORTS.values())


def _results(report: Report) -> str:
    stored = runs.load_runs(report, "paper", report.highlights)
    rows = tables.result_rows(report, stored, arms=report.highlights, metrics=report.headline)
    sources = "; ".join(dict.fromkeys(row["data"] for row in rows if row["data"]))
    table = tables.to_markdown([{key: row[key] for key in COLUMNS} for row in rows if row["n"]])
    return f"### {report.title}\n\nData: {sources}.\n\n{table}"


def speed() -> str:
    """Return the Markdown tables of the recorded benchmarks, one for each machine and day."""
    by_machine: dict[str, list[Mapping]] = {}
    for row in json.loads(SPEED.read_text(encoding="utf-8")):
        by_machine.setdefault(f"{row['device']}, {row['date']}", []).append(row)
    return "\n\n".join(f"### {machine}\n\n{_speed(rows)}" for machine, rows in by_machine.items())


def _speed(rows: Sequence[Mapping]) -> str:
    cells = [
        (
            row["name"],
            f"{row['ours']} {row['unit']}",
            "-" if row["peer"] is None else f"{row['peer']} {row['unit']}",
            "-" if row["ratio"] is None else f"{row['ratio']}x",
            row["equal"],
        )
        for row in rows
    ]
    return markdown_table(("what", "ours", "peer", "ratio", "equal on both sides"), cells)


def datasets() -> str:
    """Return the Markdown table of the data sets."""
    rows = [
        (
            f"`{record.name}`",
            " or ".join(f"{train:,} + {test:,}" for train, test in record.sizes),
            record.licence,
            record.address,
            record.embedded.label.removeprefix("embedded: ") if record.embedded else "-",
        )
        for record in DATASETS.values()
    ]
    return markdown_table(("name", "training + test images", "licence", "publisher", "where it cannot be had"), rows)


def weights() -> str:
    """Return the Markdown table of the weights, others' and those that were trained here."""
    rows: list[Sequence[object]] = [
        (f"`{name}`", "others'", f"{record.parameters:,}", record.licence) for name, record in BACKBONES.items()
    ]
    for path in sorted(PRETRAINED.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        trained = f"here, on {record['data']['name']}"
        rows.append((f"`{path.stem}`", trained, f"{record['parameters']:,}", f"MIT; data: {record['data']['licence']}"))
    return markdown_table(("weights", "trained", "parameters", "licence"), rows)


def mutation() -> str:
    """Return the Markdown table of the recorded mutation runs."""
    rows = [
        (f"`{row['module']}`", row["run"], f"{row['killed']:.0%}", f"{row['ci_low']:.0%} to {row['ci_high']:.0%}")
        for row in json.loads(MUTATION.read_text(encoding="utf-8"))
    ]
    return markdown_table(("file", "mutants run", "noticed", "95 % interval"), rows)


def spread() -> str:
    """Return the Markdown table of the recorded runs on each backend."""
    header, *rows = backends.table(backends.read())
    return markdown_table(header, rows)


PAGES = {  # file -> its generated blocks
    README: {"picture": picture, "verdicts": verdicts, "open": open_questions},
    CONTRIBUTING: {"mutation": mutation},
    RESULTS_PAGE: {"results": results, **remaining.BLOCKS},
    SPEED_PAGE: {"speed": speed},
    DATA_PAGE: {"datasets": datasets, "weights": weights},
    backends.PAGE: {"backends": spread},
    reliability.PAGE: {"reliability": reliability.summary, "trials": reliability.details},
    upstream.PAGE: {"printed": upstream.printed, "mended": upstream.printed_mended},
    traps.PAGE: {"traps_summary": traps.summary, "traps": traps.table},
}


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


def written(page: Path) -> str:
    """Return the text of a page with its blocks as `results/` gives them now."""
    text = page.read_text(encoding="utf-8")
    for name, block in PAGES[page].items():
        text = replace_block(text, name, block())
    return text


def typed_results(text: str) -> list[str]:
    """Return what reads as a result outside the generated blocks and the code, where no result may be typed."""
    prose = re.sub(r"<!-- (\w+):begin.*?<!-- \1:end -->|```.*?```|`[^`]*`", "", text, flags=re.DOTALL)
    return TYPED.findall(NO_RESULT.sub("", prose))


def main() -> None:
    """Write the pages, and the picture."""
    forest.write()
    for page in PAGES:
        write_text(page, written(page))


if __name__ == "__main__":
    main()

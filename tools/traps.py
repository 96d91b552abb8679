"""The record of the silent traps, `results/traps.json`, and the tables that are made of it."""

import json
from collections.abc import Sequence
from typing import Any

from tlkeras.experiments import environment

RECORD = environment.REPOSITORY / "results" / "traps.json"
PAGE = environment.REPOSITORY / "docs" / "traps.md"
HEADINGS = {
    "freezing": "Freezing and batch normalisation",
    "rates": "Rates",
    "images": "Images",
    "weights": "Weights",
    "checkpoints": "Checkpoints",
    "labels": "Labels and order",
    "scores": "Scores: what is reported, and what it is worth",
    "outputs": "Outputs",
}
COLUMNS = ("the trap", "done right", "in the trap", "difference", "n", "Keras says", "tlkeras")


def read() -> list[dict[str, Any]]:
    """Return one row a trap, in the order of the page."""
    return json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else []


def table() -> str:
    """Return a Markdown table with a heading for each group of traps, and where they were measured."""
    rows = read()
    parts = [
        f"### {heading}\n\n{_table([row for row in rows if row['group'] == group])}"
        for group, heading in HEADINGS.items()
    ]
    sizes = dict.fromkeys(f"{row['training_images']} training and {row['test_images']} test images" for row in rows)
    where = dict.fromkeys(f"{row['date']}; {row['versions']}; {row['device']}" for row in rows)
    return "\n\n".join([*parts, f"Measured with {'; '.join(sizes)}: {' | '.join(where)}."])


def summary() -> str:
    """Return how many traps there are, how many Keras warns of, and how many cost nothing."""
    rows = read()
    silent = sum(not row["keras_warns"] for row in rows)
    harmless = sum(row["difference"] == 0 for row in rows)
    worst = min(rows, key=lambda row: row["difference"])
    return (
        f"{len(rows)} traps. Of {silent} of them Keras says nothing; {harmless} cost nothing as measured here. "
        f"The dearest, `{worst['trap']}`, costs {-worst['difference']:.3f} of {worst['right']:.3f}."
    )


def _table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [COLUMNS, ["---"] * len(COLUMNS), *map(_cells, rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    says = "a warning" if row["keras_warns"] else "nothing"
    difference = f"{row['difference']:+.3f}" if row["difference"] else "none"
    numbers = f"{row['right']:.3f}", f"{row['in_the_trap']:.3f}", difference, str(row["n"])
    return (f"{row['says']} (`{row['trap']}`)", *numbers, says, row["tlkeras"])

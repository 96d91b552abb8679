"""Tables of runs: each number beside the report's own, each comparison with its test. Lists of dicts come out."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tlkeras.experiments import stats
from tlkeras.experiments.report import Report
from tlkeras.experiments.runs import Run, Runs, check_metrics

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler  # which loads Matplotlib

RESULT_KEYS = ("report", "arm", "metric", "reported", "mean", "ci_low", "ci_high", "n", "profile", "data", "note")
_COMPARISON_KEYS = ("difference", "ci_low", "ci_high", "effect", "effect_name", "test")
LEVEL = 0.05
_HEADS = {  # of columns, where the words of the key do not say enough
    "p_adjusted": "p, adjusted",
    "n": "n (runs)",
    "mean": "mean [95 % interval]",
    "difference": "difference [95 % interval]",
}
_LONG = 10_000  # from here on, floats are written with a power of ten
_LOWER_IS_BETTER = ("loss", "error", "seconds")  # endings of metric names
_SHARES = ("accuracy", "auc", "collapsed")  # parts of the names of metrics from 0 to 1, as their intervals then are
NOT_DECIDED = "not decided: n too small"  # no scores at all could have reached the level with so few runs


def result_rows(
    report: Report,
    runs: Runs,
    *,
    arms: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> list[dict]:
    """One row for each arm, metric and profile, with the report's number where it has one.

    Args:
        report: whose numbers stand beside ours.
        runs: one for each seed of an arm and profile.
        arms: only these arms; None takes all that have runs or a number of the report's.
        metrics: only these metrics; None takes all.

    Returns:
        Dicts with `RESULT_KEYS`: the reference's arms and metrics first, in its order, then the others as they appear
        in `runs`. `reported`, `mean` and the ends of its 95 % interval are floats or None; a row without runs has n 0
        and a reason in `note`.

    Raises:
        ValueError: a metric that neither the runs nor the reference know, or a seed met twice in one row.
    """
    runs = runs if arms is None else runs.of(arms)
    reference = {key: number for key, number in report.reference.items() if arms is None or key[0] in arms}
    cells: dict[tuple[str, str], dict[str, list[Run]]] = {key: {} for key in reference}
    for run in runs:
        for metric in run.metrics:
            cells.setdefault((run.arm, metric), {}).setdefault(run.profile, []).append(run)
    check_metrics(metrics or (), [metric for _, metric in cells])
    rows = []
    for (arm, metric), by_profile in cells.items():
        if metrics is None or metric in metrics:
            number = reference.get((arm, metric), {})
            measured = [_measured(Runs(own), arm, metric, number) for own in by_profile.values()]
            for cell in measured or [_missing(arm in runs.arms)]:
                row = {"report": report.name, "arm": arm, "metric": metric, "reported": number.get("value"), **cell}
                rows.append({key: row[key] for key in RESULT_KEYS})
    return rows


def comparison_rows(
    runs: Runs,
    pairs: Iterable[tuple[str, str]],
    metric: str | Sequence[str],
    *,
    correction: str = "holm",
    paired: bool = True,
) -> list[dict]:
    """Test pairs of arms against each other: paired over the draws that both arms have, unpaired if there is no pair.

    Args:
        runs: of one profile.
        pairs: names of two arms each, `(first, second)`.
        metric: name of the metric, or one for each pair; one that ends in loss, error or seconds counts as better when
            lower.
        correction: for the number of pairs, "holm" or "bh".
        paired: False where equal seeds mean nothing in common, as with another part of the network trained.

    Returns:
        A dict for each pair: first, second, metric, difference (of the means, first minus second), ci_low, ci_high,
        effect, effect_name, test, p, p_adjusted, n (pairs, or the smaller arm), verdict. The verdict is at an
        adjusted p below 0.05; `NOT_DECIDED` where no scores at all could have reached that with so few seeds.

    Raises:
        ValueError: as `Runs.scores` does, and for an unknown correction.
    """
    pairs = list(pairs)
    metrics = [metric] * len(pairs) if isinstance(metric, str) else list(metric)
    compared = [compare_arms(runs, *pair, name, paired=paired) for pair, name in zip(pairs, metrics, strict=True)]
    adjusted = stats.adjust([result.p for result in compared], correction)
    reachable = stats.adjust([result.smallest_p for result in compared], correction)
    rows = []
    for (first, second), name, result, p, smallest in zip(pairs, metrics, compared, adjusted, reachable, strict=True):
        row: dict = {"first": first, "second": second, "metric": name}
        row |= {key: getattr(result, key) for key in _COMPARISON_KEYS}
        verdict = _outcome(result, name, p, smallest)
        rows.append(row | {"p": result.p, "p_adjusted": float(p), "n": result.n, "verdict": verdict})
    return rows


def compare_arms(runs: Runs, first: str, second: str, metric: str, *, paired: bool = True) -> stats.Comparison:
    """Test one metric of two arms: paired over the draws that both have.

    It is unpaired if they have none in common, or only one though each has several.

    Raises:
        ValueError: as `Runs.scores` does.
    """
    scores = [runs.scores(arm, metric) for arm in (first, second)]
    seeds = runs.shared_draws(first, second, metric) if paired else []
    if len(seeds) >= min(2, *map(len, scores)):
        one, other = ([values[seed] for seed in seeds] for values in scores)
        return stats.compare(one, other, paired=True)
    return stats.compare(*(list(values.values()) for values in scores), paired=False)


def lower_is_better(metric: str) -> bool:
    """Return whether less of a metric is better: a loss, an error or seconds."""
    return metric.endswith(_LOWER_IS_BETTER)


def difference(row: Mapping, key: str = "difference", low: str = "ci_low", high: str = "ci_high") -> str:
    """Return a difference with its sign and, where there is one, its interval, such as "+0.023 [+0.011, +0.035]"."""
    interval = f" [{row[low]:+.3f}, {row[high]:+.3f}]" if math.isfinite(row[low]) and math.isfinite(row[high]) else ""
    return f"{row[key]:+.3f}{interval}"


def format_table(rows: Sequence[Mapping]) -> str:
    """Result or comparison rows as aligned plain text: 3 decimals, and "0.767 [0.743, 0.790] n=30" for an estimate."""
    lines = _text_cells(rows)
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def to_markdown(rows: Sequence[Mapping]) -> str:
    """The cells of `format_table` as a Markdown table."""
    lines = [[cell.replace("|", "\\|") for cell in line] for line in _text_cells(rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def styled(
    rows: Sequence[Mapping],
    *,
    drop: Sequence[str] = (),
    words: Mapping[str, str] | None = None,
    heads: Mapping[str, str] | None = None,
) -> "Styler":
    """Rows as a table in words for a notebook: whole texts, 3 decimals, p values with 2 digits, nothing for what lacks.

    An estimate and the ends of its interval are one cell.

    Args:
        rows: of any of the tables.
        drop: columns to leave out.
        words: what is written for names of arms, methods and the like; other names are taken apart at underscores.
        heads: what is written above columns, by key; without, the words of the key.
    """
    known = {**_HEADS, **(heads or {})}
    shown = [
        {known.get(key, key.replace("_", " ")): _worded(value, words or {}) for key, value in row.items()}
        for row in [{key: row[key] for key in row if key not in drop} for row in map(_with_interval, rows)]
    ]
    frame = pd.DataFrame(shown)
    digits = {name: "{:.2g}" for name in frame if name in ("p", _HEADS["p_adjusted"])}
    left = {"selector": "th, td", "props": "text-align: left"}
    return frame.style.format(digits, precision=3, na_rep="").hide(axis="index").set_table_styles([left])


def _with_interval(row: Mapping) -> Mapping:
    """Return the row with each estimate and its interval as one text: a mean or difference, and "x" beside "x_low"."""
    ends = {key: (f"{key}_low", f"{key}_high") for key in row if f"{key}_low" in row}
    if "ci_low" in row and (estimate := next((key for key in ("mean", "difference") if key in row), None)):
        ends[estimate] = ("ci_low", "ci_high")
    merged = {key: _estimated(row[key], *(row[end] for end in pair)) for key, pair in ends.items()}
    return {key: merged.get(key, value) for key, value in row.items() if not any(key in pair for pair in ends.values())}


def _estimated(value: float | None, low: float | None, high: float | None) -> str:
    interval = "" if _number(low) == "-" else f" [{_number(low)}, {_number(high)}]"
    return "" if _number(value) == "-" else _number(value) + interval


def _worded(value: object, words: Mapping[str, str]) -> object:
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float) and abs(value) >= _LONG:
        return f"{value:.2e}"
    if not isinstance(value, str):
        return value
    return words.get(value) or in_words(value if " " in value else value.replace("_", " "), words)


def in_words(text: str, words: Mapping[str, str]) -> str:
    """Return a text with the names of arms and metrics in it written out.

    Args:
        text: such as the `comparison` of a claim.
        words: what is written for a name.
    """
    names = {**words, "roc auc": "ROC AUC"}
    known = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True) if "_" in name or " " in name)
    return re.sub(rf"\b({known})(?![\w-])", lambda found: names[found[1]], text)


def _measured(runs: Runs, arm: str, metric: str, number: Mapping) -> dict:
    summary = stats.summarize(list(runs.scores(arm, metric).values()))
    low, high = summary.ci_low, summary.ci_high
    if any(word in metric for word in _SHARES):
        low, high = np.clip([low, high], 0, 1).tolist()
    profile = runs[0].profile
    reduced = "" if profile == "paper" else f"reduced run ({profile} profile)"
    return {
        "mean": summary.mean,
        "ci_low": None if math.isnan(low) else low,
        "ci_high": None if math.isnan(high) else high,
        "n": summary.n,
        "profile": profile,
        "data": "; ".join(dict.fromkeys(_source(record) for run in runs for record in run.data)),
        "note": "; ".join(filter(None, (number.get("source"), reduced))),
    }


def _missing(has_runs: bool) -> dict:
    note = "not recorded" if has_runs else "not run"
    return {"mean": None, "ci_low": None, "ci_high": None, "n": 0, "profile": "", "data": "", "note": note}


def _source(record: Mapping) -> str:
    source = f"{record['name']} ({record['source'].removesuffix(' (stand-in)')})"
    return f"stand-in: {source}" if record["stand_in"] else source


def _outcome(result: stats.Comparison, metric: str, p: float, smallest: float) -> str:
    if p >= LEVEL:
        return "no difference shown" if smallest < LEVEL else NOT_DECIDED
    # By the effect, which is what the rank test speaks of: one bad draw can turn the sign of the mean difference.
    return "first better" if (result.effect > result.even) != lower_is_better(metric) else "second better"


def _text_cells(rows: Sequence[Mapping]) -> list[list[str]]:
    """Header and body; an estimate, the ends of its interval and its n are one cell."""
    shown = [_with_estimate(row) for row in rows]
    header = [key.replace("_", " ") for key in (shown[0] if shown else RESULT_KEYS)]
    return [header, *([_cell(key, value) for key, value in row.items()] for row in shown)]


def _with_estimate(row: Mapping) -> dict:
    estimate = "mean" if "mean" in row else "difference"
    interval = "" if _number(row["ci_low"]) == "-" else f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"
    merged = {estimate: f"{_number(row[estimate])}{interval} n={row['n']}"}
    return {key: merged.get(key, value) for key, value in row.items() if key not in ("ci_low", "ci_high", "n")}


def _cell(key: str, value: str | float | None) -> str:
    if isinstance(value, str):
        return value
    return "<0.001" if key in ("p", "p_adjusted") and value is not None and value < 0.001 else _number(value)


def _number(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"

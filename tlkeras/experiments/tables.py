"""Tables of stored runs: each number beside the report's own, each comparison with its test. Lists of dicts in and out.

A run is a dict as the result store keeps it; of its keys `arm`, `seed`, `profile`, `metrics` and `data` are read here.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

import pandas as pd
from pandas.io.formats.style import Styler

from tlkeras.experiments import stats

RESULT_KEYS = ("report", "arm", "metric", "reported", "mean", "ci_low", "ci_high", "n", "profile", "data", "note")
COMPARISON_KEYS = ("difference", "ci_low", "ci_high", "effect", "effect_name", "test")
LEVEL = 0.05
LOWER_IS_BETTER = ("loss", "error", "seconds")  # endings of metric names


def result_rows(
    report: str,
    runs: Sequence[Mapping],
    reference: Mapping[tuple[str, str], Mapping],
    *,
    profile: str | None = None,
    metrics: Sequence[str] | None = None,
) -> list[dict]:
    """One row for each arm, metric and profile, with the report's number where it has one.

    Args:
        report: the report's name, written in each row.
        runs: stored runs, one for each seed of an arm and profile.
        reference: the report's numbers, `{(arm, metric): {"value": 0.67, "source": "Table 1"}}`.
        profile: only runs of this profile; None takes all, each in its own rows.
        metrics: only these metrics; None takes all.

    Returns:
        Dicts with `RESULT_KEYS`: the reference's arms and metrics first, in its order, then the others as they appear
        in `runs`. `reported`, `mean` and the ends of its 95 % interval are floats or None; a row without runs has n 0
        and a reason in `note`.

    Raises:
        ValueError: for a metric that neither the runs nor the reference know, or a seed met twice in one row.
    """
    runs = [run for run in runs if profile in (None, run["profile"])]
    found = [(run["arm"], metric, run["profile"]) for run in runs for metric in run["metrics"]]
    _check_metrics(metrics or (), [metric for _, metric, _ in found] + [metric for _, metric in reference])
    rows = []
    for arm, metric in _unique([*reference, *((arm, metric) for arm, metric, _ in found)]):
        if metrics is not None and metric not in metrics:
            continue
        number = reference.get((arm, metric), {})
        profiles = _unique(level for *names, level in found if names == [arm, metric])
        cells = [_measured(runs, arm, metric, level, number) for level in profiles] or [_missing(runs, arm, profile)]
        for cell in cells:
            row = {"report": report, "arm": arm, "metric": metric, "reported": number.get("value"), **cell}
            rows.append({key: row[key] for key in RESULT_KEYS})
    return rows


def metric_by_seed(runs: Sequence[Mapping], arm: str, metric: str) -> dict[int, float]:
    """One metric of one arm, by seed in ascending order.

    Raises:
        ValueError: for an arm that isn't in `runs`, a metric none of its runs has, or two runs with the same seed, as
            when runs of two profiles are given.
    """
    if arm not in (arms := _unique(run["arm"] for run in runs)):
        raise ValueError(f"Expected an arm with runs, out of {_listed(arms)}. Received: arm={arm!r}")
    own = [run for run in runs if run["arm"] == arm]
    _check_metrics([metric], [name for run in own for name in run["metrics"]])
    own = sorted((run for run in own if metric in run["metrics"]), key=lambda run: run["seed"])
    for earlier, later in itertools.pairwise(own):
        if earlier["seed"] == later["seed"]:
            found = f"seed {later['seed']} of arm {arm!r} twice, profiles {earlier['profile']} and {later['profile']}"
            raise ValueError(f"Expected one run for each seed, of one profile, setting and data. Received: {found}")
    return {run["seed"]: run["metrics"][metric] for run in own}


def shared_draws(runs: Sequence[Mapping], first: str, second: str) -> list[int]:
    """The seeds of both arms that stand for the same draw of training examples (equal seeds, if runs name no draw)."""
    draws = [{r["seed"]: r.get("details", {}).get("draw") for r in runs if r["arm"] == arm} for arm in (first, second)]
    return sorted(seed for seed in draws[0].keys() & draws[1].keys() if draws[0][seed] == draws[1][seed])


def comparison_rows(
    runs: Sequence[Mapping],
    pairs: Iterable[tuple[str, str]],
    metric: str | Sequence[str],
    *,
    correction: str = "holm",
    paired: bool = True,
) -> list[dict]:
    """Test pairs of arms against each other: paired over the draws that both arms have, unpaired if they share none.

    Args:
        runs: stored runs of one profile.
        pairs: names of two arms each, `(first, second)`.
        metric: name of the metric, or one for each pair; one that ends in loss, error or seconds counts as better when
            lower.
        correction: for the number of pairs, "holm" or "bh".
        paired: False where equal seeds mean nothing in common, as with another part of the network trained.

    Returns:
        A dict for each pair: first, second, metric, difference (of the means, first minus second), ci_low, ci_high,
        effect, effect_name, test, p, p_adjusted, n (pairs, or the smaller arm), verdict. The verdict is at an
        adjusted p below 0.05; "not decided (n too small)" where no scores at all could have reached that with so
        few seeds.

    Raises:
        ValueError: as `metric_by_seed` does, and for an unknown correction.
    """
    pairs = list(pairs)
    metrics = [metric] * len(pairs) if isinstance(metric, str) else list(metric)
    compared = [_compare_arms(runs, *pair, name, paired) for pair, name in zip(pairs, metrics, strict=True)]
    adjusted = stats.adjust([result.p for result in compared], correction)
    reachable = stats.adjust([result.smallest_p for result in compared], correction)
    rows = []
    for (first, second), name, result, p, smallest in zip(pairs, metrics, compared, adjusted, reachable, strict=True):
        row = {"first": first, "second": second, "metric": name}
        row |= {key: getattr(result, key) for key in COMPARISON_KEYS}
        verdict = _verdict(result, name, p, smallest)
        rows.append(row | {"p": result.p, "p_adjusted": float(p), "n": result.n, "verdict": verdict})
    return rows


def to_frame(rows: Sequence[Mapping]) -> pd.DataFrame:
    """The rows as a data frame, one column a key; numbers that are missing become nan."""
    frame = pd.DataFrame(list(rows), columns=list(rows[0]) if rows else list(RESULT_KEYS))
    numbers = [key for key in ("reported", "mean", "ci_low", "ci_high") if key in frame]
    return frame.astype(dict.fromkeys(numbers, float))


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


def styled(rows: Sequence[Mapping], *, drop: Sequence[str] = ()) -> Styler:
    """Rows as a table for a notebook: whole texts, 3 decimals, p values with 2 digits, nothing for what is missing.

    Args:
        rows: of any of the tables.
        drop: columns to leave out.
    """
    frame = pd.DataFrame(list(rows)).drop(columns=list(drop), errors="ignore")
    digits = {name: "{:.2g}" for name in frame if name in ("p", "p_adjusted")}
    left = {"selector": "th, td", "props": "text-align: left"}
    return frame.style.format(digits, precision=3, na_rep="").hide(axis="index").set_table_styles([left])


def _measured(runs: Sequence[Mapping], arm: str, metric: str, profile: str, number: Mapping) -> dict:
    own = [run for run in runs if (run["arm"], run["profile"]) == (arm, profile) and metric in run["metrics"]]
    summary = stats.summarize(list(metric_by_seed(own, arm, metric).values()))
    reduced = "" if profile == "paper" else f"reduced run ({profile} profile)"
    return {
        "mean": summary.mean,
        "ci_low": None if math.isnan(summary.ci_low) else summary.ci_low,
        "ci_high": None if math.isnan(summary.ci_high) else summary.ci_high,
        "n": summary.n,
        "profile": profile,
        "data": "; ".join(_unique(_source(record) for run in own for record in run["data"])),
        "note": "; ".join(filter(None, (number.get("source"), reduced))),
    }


def _missing(runs: Sequence[Mapping], arm: str, profile: str | None) -> dict:
    note = "not recorded" if any(run["arm"] == arm for run in runs) else "not run"
    empty = {"mean": None, "ci_low": None, "ci_high": None}
    return empty | {"n": 0, "profile": profile or "", "data": "", "note": note}


def _source(record: Mapping) -> str:
    source = f"{record['name']} ({record['source'].removesuffix(' (stand-in)')})"
    return f"stand-in: {source}" if record["stand_in"] else source


def _compare_arms(runs: Sequence[Mapping], first: str, second: str, metric: str, paired: bool) -> stats.Comparison:
    scores = [metric_by_seed(runs, arm, metric) for arm in (first, second)]
    seeds = shared_draws(runs, first, second) if paired else []
    if len(seeds) >= min(2, *map(len, scores)):
        return stats.compare(*([values[seed] for seed in seeds] for values in scores), paired=True)
    return stats.compare(*(list(values.values()) for values in scores), paired=False)


def _verdict(result: stats.Comparison, metric: str, p: float, smallest: float) -> str:
    if p >= LEVEL:
        return "no difference shown" if smallest < LEVEL else "not decided (n too small)"
    # By the effect, which is what the rank test speaks of: one bad draw can turn the sign of the mean difference.
    first_higher = result.effect > (0.0 if result.test.startswith("Wilcoxon") else 0.5)
    return "first better" if first_higher != metric.endswith(LOWER_IS_BETTER) else "second better"


def _text_cells(rows: Sequence[Mapping]) -> list[list[str]]:
    """Header and body; an estimate, the ends of its interval and its n are one cell."""
    shown = [_with_estimate(row) for row in rows]
    header = [key.replace("_", " ") for key in (shown[0] if shown else RESULT_KEYS)]
    return [header, *([_cell(key, value) for key, value in row.items()] for row in shown)]


def _with_estimate(row: Mapping) -> dict:
    estimate = "mean" if "mean" in row else "difference"
    interval = "" if _absent(row["ci_low"]) else f" [{_number(row['ci_low'])}, {_number(row['ci_high'])}]"
    merged = {estimate: f"{_number(row[estimate])}{interval} n={row['n']}"}
    return {key: merged.get(key, value) for key, value in row.items() if key not in ("ci_low", "ci_high", "n")}


def _cell(key: str, value: str | float | None) -> str:
    if key in ("p", "p_adjusted") and value < 0.001:
        return "<0.001"
    return value if isinstance(value, str) else _number(value)


def _number(value: float | None) -> str:
    if _absent(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def _absent(value: float | None) -> bool:
    return value is None or math.isnan(value)


def _check_metrics(wanted: Iterable[str], known: Iterable[str]) -> None:
    known = _unique(known)
    for metric in wanted:
        if metric not in known:
            raise ValueError(f"Expected a metric out of {_listed(known)}. Received: metric={metric!r}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "none at all"


def _unique(items: Iterable) -> list:
    return list(dict.fromkeys(items))

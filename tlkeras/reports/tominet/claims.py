"""What report 002 (EJ3) concludes, put to the test on stored runs; the wording of each finding is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from tlkeras.experiments import stats, tables

ACCURACY = "test_accuracy"
RIGHT = "test_accuracy_recalibrated"
NO_BETTER = "second better"  # or no difference shown, which does not contradict it
FEWEST = 6  # draws to decide about a spread


@dataclass(frozen=True)
class Claim:
    """A sentence of the report, and the comparison that decides it."""

    text: str
    first: str
    second: str
    metric: str = ACCURACY
    expected: str = "first better"


CLAIMS = (
    Claim("letters first is better than clothes first", "letters", "fashion"),
    Claim("letters first is better than no transfer, 50 epochs each", "letters", "scratch_50"),
    Claim(
        "letters first is better than no transfer, 50 epochs each, both recalibrated", "letters", "scratch_50", RIGHT
    ),
    Claim("letters first is better than no transfer for 150 epochs", "letters", "scratch_150"),
    Claim(
        "letters first is better than no transfer for 150 epochs, both recalibrated", "letters", "scratch_150", RIGHT
    ),
    Claim("clothes first is no better than no transfer, 50 epochs each", "fashion", "scratch_50", expected=NO_BETTER),
    Claim("clothes first is no better than no transfer, both recalibrated", "fashion", "scratch_50", RIGHT, NO_BETTER),
    Claim("clothes first is no better than no transfer for 150 epochs", "fashion", "scratch_150", expected=NO_BETTER),
    Claim("Cyrillic letters do as well as Latin ones (ours)", "cyrillic", "letters", expected="no difference shown"),
)


def findings(runs: Sequence[Mapping], claims: Sequence[Claim] = CLAIMS) -> list[dict]:
    """Test every claim; p values are Holm-adjusted over all of them, in one family.

    Returns:
        Rows with claim, difference (first minus second), ci_low, ci_high, effect, effect_name, p_adjusted, n, held:
        "held", "not contradicted (no difference shown)", "not shown", "did not hold", "not decided (n too small)".
    """
    pairs, metrics = [(claim.first, claim.second) for claim in claims], [claim.metric for claim in claims]
    rows = tables.comparison_rows(runs, pairs, metrics)
    keys = ("difference", "ci_low", "ci_high", "effect", "effect_name", "p_adjusted", "n")
    return [
        {"claim": claim.text, **{key: row[key] for key in keys}, "held": _held(claim, row["verdict"])}
        for claim, row in zip(claims, rows, strict=True)
    ]


def _held(claim: Claim, verdict: str) -> str:
    if verdict.startswith("not decided"):
        return verdict
    if verdict == "no difference shown":
        return "not shown" if claim.expected == "first better" else "not contradicted (no difference shown)"
    return "held" if verdict == claim.expected else "did not hold"


def spread(runs: Sequence[Mapping], pairs: Sequence[tuple[str, str]], metric: str = ACCURACY) -> list[dict]:
    """Test "more consistent, less dependent on the draw": the spread over draws of one arm against another's.

    Brown-Forsythe (`scipy.stats.levene` about the median), two-sided, Holm-adjusted over the pairs. With fewer than
    `FEWEST` draws nothing is decided: with 2 the test's p is always nearly 0.

    Returns:
        Rows with arm, mean, std, against, mean_against, std_against, p_adjusted, n, verdict.
    """
    names = {name for pair in pairs for name in pair}
    scores = {name: np.array(list(tables.metric_by_seed(runs, name, metric).values())) for name in names}
    counts = [min(len(scores[name]) for name in pair) for pair in pairs]
    p_values = [
        float(scipy_stats.levene(scores[one], scores[other], center="median").pvalue) if count >= FEWEST else 1.0
        for (one, other), count in zip(pairs, counts, strict=True)
    ]
    deviations = {name: values.std(ddof=min(1, len(values) - 1)) for name, values in scores.items()}
    rows = []
    for (one, other), p, count in zip(pairs, stats.adjust(p_values), counts, strict=True):
        row = {"arm": one, "mean": scores[one].mean(), "std": deviations[one]}
        row |= {"against": other, "mean_against": scores[other].mean(), "std_against": deviations[other]}
        rows.append({**row, "p_adjusted": float(p), "n": count, "verdict": _steadier(row, p, count)})
    return rows


def _steadier(row: Mapping, p: float, count: int) -> str:
    if count < FEWEST:
        return "not decided (n too small)"
    if p >= tables.LEVEL:
        return "no difference shown"
    return "more consistent" if row["std"] < row["std_against"] else "less consistent"


def artefact(runs: Sequence[Mapping], arms: Sequence[str], baseline: str) -> list[dict]:
    """How much of the gain over `baseline` is gone once both sides have right batch-norm statistics.

    Returns:
        Rows with arm, baseline, gain (mean difference of test accuracy), gain_low, gain_high, recalibrated,
        recalibrated_low, recalibrated_high, share_gone (1 - recalibrated / gain; None where the gain's interval
        covers 0), n. Intervals: 95 %, percentile bootstrap over draws.
    """
    rows = []
    for arm in arms:
        plain, right = (_differences(runs, arm, baseline, metric) for metric in (ACCURACY, RIGHT))
        row = {"arm": arm, "baseline": baseline, **_estimate("gain", "gain", plain)}
        row |= _estimate("recalibrated", "recalibrated", right)
        share = None if row["gain_low"] <= 0 <= row["gain_high"] else 1 - row["recalibrated"] / row["gain"]
        rows.append({**row, "share_gone": share, "n": len(plain)})
    return rows


def _estimate(name: str, prefix: str, differences: np.ndarray) -> dict[str, float]:
    draws = np.random.default_rng(0).integers(0, len(differences), (9999, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), [2.5, 97.5])
    return {name: float(differences.mean()), f"{prefix}_low": float(low), f"{prefix}_high": float(high)}


def _differences(runs: Sequence[Mapping], first: str, second: str, metric: str) -> np.ndarray:
    one, other = (tables.metric_by_seed(runs, arm, metric) for arm in (first, second))
    seeds = tables.shared_draws(runs, first, second)
    if not seeds:
        raise ValueError(f"Expected {first} and {second} to share draws. Received: none in common")
    return np.array([one[seed] - other[seed] for seed in seeds])

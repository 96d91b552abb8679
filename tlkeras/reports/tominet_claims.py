"""What report 002 (EJ3) concludes, put to the test on stored runs; the wording of each finding is computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from tlkeras.experiments import stats, tables

ACCURACY = "test_accuracy"
RECALIBRATED = "test_accuracy_recalibrated"


@dataclass(frozen=True)
class Claim:
    """A sentence of the report, and the comparison that decides it."""

    text: str
    first: str
    second: str
    metric: str = ACCURACY
    expected: str = "first better"


CLAIMS = (
    Claim("letters first is better than clothes first (Table 1)", "letters", "fashion"),
    Claim("letters first is better than no transfer, 50 epochs (Table 1)", "letters", "scratch_50"),
    Claim("letters first is better than no transfer, 150 epochs (Table 1)", "letters", "scratch_150"),
    Claim("... and with batch-norm statistics recalibrated in both (ours)", "letters", "scratch_150", RECALIBRATED),
    Claim("clothes first is no better than no transfer, 50 epochs", "fashion", "scratch_50", expected="second better"),
    Claim(
        "clothes first is no better than no transfer, 150 epochs", "fashion", "scratch_150", expected="second better"
    ),
    Claim("... recalibrated in both (ours)", "fashion", "scratch_150", RECALIBRATED, expected="second better"),
    Claim("any letters will do: Cyrillic against Latin (ours)", "cyrillic", "letters", expected="no difference shown"),
)


def findings(runs: Sequence[Mapping], claims: Sequence[Claim] = CLAIMS) -> list[dict]:
    """Test every claim; p values are Holm-adjusted over all of them.

    "no better" holds if the second is better, or no difference is shown.

    Returns:
        Rows with claim, difference (first minus second), ci_low, ci_high, effect, effect_name, p_adjusted, n, held
        ("held", "held (no difference shown)", "not shown", "did not hold", "not decided (n too small)").
    """
    compared = [tables.comparison_rows(runs, [(claim.first, claim.second)], claim.metric)[0] for claim in claims]
    adjusted = stats.adjust([row["p"] for row in compared])
    found = []
    for claim, row, p in zip(claims, compared, adjusted, strict=True):
        keys = ("difference", "ci_low", "ci_high", "effect", "effect_name")
        verdict = _verdict(claim, row, float(p))
        found.append({"claim": claim.text, **{key: row[key] for key in keys}, "p_adjusted": float(p), "n": row["n"],
                      "held": verdict})  # fmt: skip
    return found


def spread(runs: Sequence[Mapping], pairs: Sequence[tuple[str, str]], metric: str = ACCURACY) -> list[dict]:
    """Test "more consistent, less dependent on the draw": the spread over draws of one arm against another's.

    Brown-Forsythe (`scipy.stats.levene` about the median), two-sided, Holm-adjusted over the pairs.

    Returns:
        Rows with arm, mean, std, against, mean_against, std_against, p_adjusted, n, verdict.
    """
    names = {name for pair in pairs for name in pair}
    scores = {name: np.array(list(tables.metric_by_seed(runs, name, metric).values())) for name in names}
    p_values = [float(scipy_stats.levene(scores[one], scores[other], center="median").pvalue) for one, other in pairs]
    rows = []
    for (one, other), p in zip(pairs, stats.adjust(p_values), strict=True):
        row = {"arm": one, "mean": scores[one].mean(), "std": scores[one].std(ddof=1)}
        row |= {"against": other, "mean_against": scores[other].mean(), "std_against": scores[other].std(ddof=1)}
        smaller = "more consistent" if row["std"] < row["std_against"] else "less consistent"
        verdict = smaller if p < tables.LEVEL else "no difference shown"
        rows.append({**row, "p_adjusted": float(p), "n": len(scores[one]), "verdict": verdict})
    return rows


def artefact(runs: Sequence[Mapping], arms: Sequence[str], baseline: str) -> list[dict]:
    """How much of the gain over `baseline` is gone once both sides have right batch-norm statistics.

    Returns:
        Rows with arm, baseline, gain (mean difference of test accuracy), gain_recalibrated, share (1 -
        gain_recalibrated / gain) with its 95 % percentile bootstrap interval over draws (pairs kept together), n.
    """
    rows = []
    for arm in arms:
        plain, right = (_differences(runs, arm, baseline, metric) for metric in (ACCURACY, RECALIBRATED))
        draws = np.random.default_rng(0).integers(0, len(plain), (9999, len(plain)))
        shares = 1 - right[draws].mean(axis=1) / plain[draws].mean(axis=1)
        low, high = np.percentile(shares, [2.5, 97.5])
        row = {"arm": arm, "baseline": baseline, "gain": plain.mean(), "gain_recalibrated": right.mean()}
        row |= {"share": 1 - right.mean() / plain.mean(), "ci_low": low, "ci_high": high, "n": len(plain)}
        rows.append({key: value if isinstance(value, str | int) else float(value) for key, value in row.items()})
    return rows


def _differences(runs: Sequence[Mapping], first: str, second: str, metric: str) -> np.ndarray:
    one, other = (tables.metric_by_seed(runs, arm, metric) for arm in (first, second))
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        raise ValueError(f"Expected {first} and {second} to share draws. Received: none in common")
    return np.array([one[seed] - other[seed] for seed in seeds])


def _verdict(claim: Claim, row: Mapping, p: float) -> str:
    if p >= tables.LEVEL:
        if row["verdict"].startswith("not decided"):
            return "not decided (n too small)"
        return "not shown" if claim.expected == "first better" else "held (no difference shown)"
    found = (
        "first better" if row["effect"] > (0.0 if "rank-biserial" in row["effect_name"] else 0.5) else "second better"
    )
    return "held" if found == claim.expected else "did not hold"

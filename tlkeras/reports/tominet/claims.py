"""What report 002 (EJ3) concludes, and what its data say beside: spread over draws, and a batch-norm artefact."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats as scipy_stats

from tlkeras.experiments import stats, tables
from tlkeras.experiments.claims import NO_BETTER, NO_DIFFERENT, NOT_DECIDED, Claim, judge
from tlkeras.experiments.runs import Runs
from tlkeras.reports.tominet.settings import SOURCE_DRAWS, SOURCE_SEEDS

ACCURACY = "test_accuracy"
RIGHT = "test_accuracy_recalibrated"
FEWEST = 6  # draws to decide about a spread
PARTS = ("source", "draw", "start")  # of the variance of a run

CLAIMS = (
    Claim("letters first is better than clothes first", (("letters", "fashion", ACCURACY),)),
    Claim("letters first is better than no transfer, 50 epochs each", (("letters", "scratch_50", ACCURACY),)),
    Claim(
        "letters first is better than no transfer, 50 epochs each, both recalibrated",
        (("letters", "scratch_50", RIGHT),),
    ),
    Claim("letters first is better than no transfer for 150 epochs", (("letters", "scratch_150", ACCURACY),)),
    Claim(
        "letters first is better than no transfer for 150 epochs, both recalibrated",
        (("letters", "scratch_150", RIGHT),),
    ),
    Claim(
        "clothes first is no better than no transfer, 50 epochs each",
        (("fashion", "scratch_50", ACCURACY),),
        NO_BETTER,
    ),
    Claim(
        "clothes first is no better than no transfer, both recalibrated", (("fashion", "scratch_50", RIGHT),), NO_BETTER
    ),
    Claim(
        "clothes first is no better than no transfer for 150 epochs", (("fashion", "scratch_150", ACCURACY),), NO_BETTER
    ),
    Claim(
        "clothes first is no better than no transfer for 150 epochs, both recalibrated",
        (("fashion", "scratch_150", RIGHT),),
        NO_BETTER,
    ),
)

EQUAL_CLAIMS = (  # of earlier trainings on as many images, each done with several seeds; a family of their own
    Claim("letters first is better than as many clothes first (ours)", (("letters", "fashion_as_letters", ACCURACY),)),
    Claim(
        "letters first is better than as many clothes first, both recalibrated (ours)",
        (("letters", "fashion_as_letters", RIGHT),),
    ),
    Claim(
        "as many Cyrillic letters do as well as Latin ones (ours)",
        (("cyrillic_as_letters", "letters", ACCURACY),),
        NO_DIFFERENT,
    ),
    Claim("clothes do as well with fewer images (ours)", (("fashion_as_letters", "fashion", ACCURACY),), NO_DIFFERENT),
)


def equal_findings(runs: Runs) -> list[dict]:
    """Judge whether letters help, or how many images there are of them, over source networks; see `claims.judge`.

    Draws would not do: all runs of an arm start from one network, and another seed of it gives another mean. A
    network's score is its mean over the draws that every network has.
    """
    return judge(_of_networks(runs), EQUAL_CLAIMS, paired=False)


def _of_networks(runs: Runs) -> Runs:
    """Return a run for each source network that has all `SOURCE_DRAWS`, with the means of their metrics."""
    arms = sorted({arm for claim in EQUAL_CLAIMS for first, second, _ in claim.comparisons for arm in (first, second)})
    found = []
    for arm in arms:
        for seed, name in enumerate(_with_sources(arm)):
            own = runs.of(name).where(lambda run: run.seed < SOURCE_DRAWS)
            if len(own) == SOURCE_DRAWS:
                means = {
                    metric: float(np.mean(list(own.scores(name, metric).values()))) for metric in (ACCURACY, RIGHT)
                }
                found.append(dataclasses.replace(own[0], arm=arm, seed=seed, metrics=means, details={}))
    return Runs(found)


def _with_sources(arm: str) -> list[str]:
    """Return an arm, and those that differ by the seed of the earlier training."""
    return [arm, *(f"{arm}_source_{seed}" for seed in SOURCE_SEEDS)]


def findings(runs: Runs) -> list[dict]:
    """Judge every claim on the same draws, p values Holm-adjusted over all of them; see `claims.judge`."""
    return judge(runs, CLAIMS)


def spread(runs: Runs, pairs: Sequence[tuple[str, str]], metric: str = ACCURACY) -> list[dict]:
    """Test "more consistent, less dependent on the draw": the spread over draws of one arm against another's.

    Brown-Forsythe (`scipy.stats.levene` about the median), two-sided, Holm-adjusted over the pairs. With fewer than
    `FEWEST` draws nothing is decided: with 2 the test's p is always nearly 0.

    Returns:
        Rows with arm, mean, std, against, mean_against, std_against, p_adjusted, n, verdict.
    """
    names = {name for pair in pairs for name in pair}
    scores = {name: np.array(list(runs.scores(name, metric).values())) for name in names}
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
        return NOT_DECIDED
    if p >= tables.LEVEL:
        return "no difference shown"
    return "more consistent" if row["std"] < row["std_against"] else "less consistent"


def parts_of_spread(runs: Runs, arm: str, metric: str = ACCURACY) -> dict | None:
    """Split the variance of a metric: source network's seed, draw of the digits, start of the new layer and order.

    Source networks and draws are crossed: analysis of variance without repetition, both random. What varies with the
    draw held, in the arm that ends in "_one_draw", is the start; the draw has the rest of what varies with the seed.
    The intervals are generalised ones, 95 %: each mean square is divided by draws of its chi-squared distribution
    (Weerahandi 1993, Generalized confidence intervals, JASA 88), which supposes that the parts are normal.

    Args:
        runs: of the report.
        arm: "letters", "fashion_as_letters" or "cyrillic_as_letters"; its "_source_N" have other source networks, its
            "_one_draw" always the same digits.
        metric: of those runs.

    Returns:
        arm, metric, total (standard deviation of one run's metric), source, draw, start (shares of the variance, which
        add up to 1), each with its interval in _low and _high, p_source (F test: the source networks do not differ),
        sources, draws, starts (how many); None where fewer than two source networks, draws that all of them have, or
        starts are recorded.
    """
    arms = [name for name in _with_sources(arm) if runs.have([name])]
    starts = list(runs.scores(f"{arm}_one_draw", metric).values()) if runs.have([f"{arm}_one_draw"]) else []
    if len(arms) < 2 or len(starts) < 2:
        return None
    scores = [runs.scores(name, metric) for name in arms]
    seeds = sorted(set.intersection(*(set(found) for found in scores)))
    if len(seeds) < 2:
        return None
    table = np.array([[found[seed] for seed in seeds] for found in scores])
    squares, freedom = _mean_squares(table, starts)
    parts = _parts(squares, table.shape)
    chances = np.random.default_rng(0).chisquare(freedom, (9999, 4))
    drawn = _parts(squares * freedom / chances, table.shape)
    low, high = np.percentile(drawn / drawn.sum(axis=0), [2.5, 97.5], axis=1).tolist()
    row = {"arm": arm, "metric": metric, "total": float(np.sqrt(parts.sum()))}
    for name, share, least, most in zip(PARTS, (parts / parts.sum()).tolist(), low, high, strict=True):
        row |= {name: share, f"{name}_low": least, f"{name}_high": most}
    p_source = float(scipy_stats.f.sf(squares[0] / squares[2], freedom[0], freedom[2]))
    return {**row, "p_source": p_source, "sources": len(arms), "draws": len(seeds), "starts": len(starts)}


def _mean_squares(table: np.ndarray, starts: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean squares of sources, of draws and of the rest and the variance of the starts; and their freedom.

    Args:
        table: `(sources, draws)`, a metric.
        starts: the metric with the draw held.
    """
    sources, draws = table.shape
    rows, columns = table.mean(axis=1), table.mean(axis=0)
    rest = ((table - rows[:, None] - columns + table.mean()) ** 2).sum() / ((sources - 1) * (draws - 1))
    squares = [draws * rows.var(ddof=1), sources * columns.var(ddof=1), rest, np.var(starts, ddof=1)]
    return np.array(squares), np.array([sources - 1, draws - 1, (sources - 1) * (draws - 1), len(starts) - 1])


def _parts(squares: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the variances that `PARTS` names, `(3, ...)`.

    Args:
        squares: `(..., 4)`, see `_mean_squares`.
        shape: how many sources and draws there are.
    """
    by_source, by_draw, rest, start = np.moveaxis(squares, -1, 0)
    source = np.maximum(0, (by_source - rest) / shape[1])
    seed = np.maximum(0, (by_draw - rest) / shape[0]) + rest
    start = np.minimum(start, seed)
    return np.stack([source, seed - start, start])


def artefact(runs: Runs, arms: Sequence[str], baseline: str) -> list[dict]:
    """How much of the gain over `baseline` is gone once both sides have right batch-norm statistics.

    Returns:
        Rows with arm, baseline, gain (mean difference of test accuracy), gain_low, gain_high, recalibrated,
        recalibrated_low, recalibrated_high, share_gone (1 - recalibrated / gain; None where the gain's interval
        covers 0, or there is none), n. Intervals as `stats.summarize` has them, over draws.
    """
    rows = []
    for arm in arms:
        plain, right = (_differences(runs, arm, baseline, metric) for metric in (ACCURACY, RIGHT))
        row: dict = {"arm": arm, "baseline": baseline, **_estimate("gain", plain), **_estimate("recalibrated", right)}
        shown = row["gain_low"] > 0 or row["gain_high"] < 0
        share = 1 - row["recalibrated"] / row["gain"] if shown else None
        rows.append({**row, "share_gone": share, "n": len(plain)})
    return rows


def _estimate(name: str, differences: np.ndarray) -> dict[str, float]:
    found = stats.summarize(differences.tolist())
    return {name: found.mean, f"{name}_low": found.ci_low, f"{name}_high": found.ci_high}


def _differences(runs: Runs, first: str, second: str, metric: str) -> np.ndarray:
    one, other = (runs.scores(arm, metric) for arm in (first, second))
    seeds = runs.shared_draws(first, second, metric)
    if not seeds:
        raise ValueError(f"Expected {first} and {second} to share draws. Received: none in common")
    return np.array([one[seed] - other[seed] for seed in seeds])

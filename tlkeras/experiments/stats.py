"""Intervals, exact tests and corrections for the scores of a few seeds, over `scipy.stats`.

The null distributions are our own ten lines, because accuracies on small test sets tie and scipy 1.17 has no exact
test for ties: it takes the normal approximation, or random permutations (2 s for 30 pairs). For 3 to 50 seeds an arm
the exact one is cheap.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import stats

ALTERNATIVES = ("two-sided", "greater", "less")
CORRECTIONS = ("holm", "bh")
RESAMPLES = 9999  # scipy's default: the end of a 95 % interval moves by about 1 % of its width from seed to seed


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean of `n` scores, its bootstrap interval and the standard deviation (n - 1); nan where one score can't tell."""

    mean: float
    ci_low: float
    ci_high: float
    std: float
    n: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One test of first against second; `effect` is as `compare` says, `difference` that of the means, first - second.

    `n` is the number of pairs, or the size of the smaller arm. `smallest_p` is the smallest p that so many scores
    could ever give: where it is above the level wanted, the test can't decide, whatever the scores are.
    """

    test: str
    statistic: float
    p: float
    effect: float
    effect_name: str
    difference: float
    ci_low: float
    ci_high: float
    n: int
    smallest_p: float


def summarize(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Summary:
    """Mean of scores with its BCa bootstrap interval.

    Args:
        values: finite scores, shape `(n,)`, n >= 1.
        confidence: level of the interval, between 0 and 1.
        seed: of the bootstrap; the same seed gives the same interval.

    Returns:
        A `Summary`; for n = 1 its interval and standard deviation are nan, for equal scores the interval is the score
        itself.

    Raises:
        ValueError: for no score, or one that isn't a finite number.
    """
    values = _scores(values, "values")
    low, high = _interval((values,), _mean, confidence, seed)
    std = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    return Summary(float(np.mean(values)), low, high, std, len(values))


def compare(
    first: Sequence[float], second: Sequence[float], *, paired: bool, alternative: str = "two-sided", seed: int = 0
) -> Comparison:
    """Test whether the scores of one arm are larger than those of another.

    Paired scores (entry i of both arms has the same seed): Wilcoxon's signed rank test, exact at every n, with ties
    too. Pairs without a difference are left out of the ranks, as Wilcoxon did. Effect: matched-pairs rank-biserial
    correlation, -1..1.
    Unpaired: the Mann-Whitney test, exact likewise. Effect: probability of superiority, 0..1, the chance that a score
    of first is above one of second, ties counted half.

    Args:
        first, second: finite scores, shapes `(n,)` and `(m,)`; n == m where paired.
        paired: whether entry i of both belongs to the same draw.
        alternative: "two-sided", "greater" (first is larger) or "less".
        seed: of the bootstrap interval.

    Returns:
        A `Comparison`; the interval is the 95 % BCa bootstrap interval of the mean difference, nan with one score in
        an arm.

    Raises:
        ValueError: for empty or non-finite scores, arms of different length where paired, or an unknown alternative.

    Reference:
        Kerby 2014 (rank-biserial correlation); Vargha and Delaney 2000 (probability of superiority).
    """
    first, second = _scores(first, "first"), _scores(second, "second")
    if alternative not in ALTERNATIVES:
        raise ValueError(
            f"Expected an alternative out of {', '.join(ALTERNATIVES)}. Received: alternative={alternative!r}"
        )
    if paired and len(first) != len(second):
        raise ValueError(f"Expected as many scores in both paired arms. Received: {len(first)} and {len(second)}")
    return (_paired if paired else _unpaired)(first, second, alternative, seed)


def adjust(p_values: Sequence[float], method: str = "holm") -> np.ndarray:
    """Correct p values for having made several tests.

    Args:
        p_values: shape `(tests,)`, each 0..1.
        method: "holm" (chance of any false claim) or "bh" (Benjamini-Hochberg: share of false claims).

    Returns:
        The adjusted p values in the same order, float64, shape `(tests,)`.

    Raises:
        ValueError: for an unknown method or a p outside 0..1.

    Reference:
        Holm 1979; Benjamini and Hochberg 1995.
    """
    p_values = np.asarray(p_values, dtype=np.float64)
    if method not in CORRECTIONS:
        raise ValueError(f"Expected a correction out of {', '.join(CORRECTIONS)}. Received: method={method!r}")
    if not np.all((p_values >= 0) & (p_values <= 1)):
        raise ValueError(f"Expected p values from 0 to 1. Received: p_values={p_values.tolist()}")
    if p_values.size == 0:
        return p_values
    return stats.false_discovery_control(p_values, method="bh") if method == "bh" else _holm(p_values)


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1.0)


def _scores(values: Sequence[float], name: str) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or not np.all(np.isfinite(scores)):
        raise ValueError(f"Expected a list of one or more finite scores. Received: {name}={scores.tolist()}")
    return scores


def _mean(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(values, axis=axis)


def _mean_difference(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)


def _interval(
    samples: tuple[np.ndarray, ...], statistic: Callable, confidence: float, seed: int
) -> tuple[float, float]:
    if min(len(sample) for sample in samples) < 2:
        return math.nan, math.nan
    if max(np.ptp(sample) for sample in samples) < 1e-12:  # equal but for rounding: BCa divides by zero
        return float(statistic(*samples)), float(statistic(*samples))
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def smallest_p(first: int, second: int | None = None, *, alternative: str = "two-sided") -> float:
    """Return the smallest p that so many scores could ever give: `first` pairs, or two arms of `first` and `second`."""
    arrangements = 2.0**first if second is None else math.comb(first + second, first)
    return min(1.0, (2 if alternative == "two-sided" else 1) / arrangements)


def _paired(first: np.ndarray, second: np.ndarray, alternative: str, seed: int) -> Comparison:
    differences = np.round(first - second, 12)  # else 0.67 - 0.63 and 0.71 - 0.67 don't tie
    low, high = _interval((differences,), _mean, 0.95, seed)
    positive, total, p = _signed_rank(differences[differences != 0], alternative)
    return Comparison(
        test="Wilcoxon signed rank, exact",
        statistic=positive,
        p=p,
        effect=2 * positive / total - 1 if total else 0.0,
        effect_name="rank-biserial correlation",
        difference=float(np.mean(differences)),
        ci_low=low,
        ci_high=high,
        n=len(differences),
        smallest_p=smallest_p(len(differences), alternative=alternative),
    )


def _signed_rank(differences: np.ndarray, alternative: str) -> tuple[float, float, float]:
    """Sum of the positive ranks, sum of all ranks, and p from the distribution of the former over all 2**n signs."""
    ranks = _doubled_ranks(np.abs(differences))
    probability = np.zeros(ranks.sum() + 1)
    probability[0] = 1.0
    for rank in ranks:
        probability = (probability + np.roll(probability, rank)) / 2
    positive = int(ranks[differences > 0].sum())
    return positive / 2, float(ranks.sum()) / 2, _tail(probability, positive, alternative)


def _unpaired(first: np.ndarray, second: np.ndarray, alternative: str, seed: int) -> Comparison:
    low, high = _interval((first, second), _mean_difference, 0.95, seed)
    superior, p = _rank_sum(first, second, alternative)
    return Comparison(
        test="Mann-Whitney U, exact",
        statistic=superior,
        p=p,
        effect=superior / (len(first) * len(second)),
        effect_name="probability of superiority",
        difference=float(_mean_difference(first, second)),
        ci_low=low,
        ci_high=high,
        n=min(len(first), len(second)),
        smallest_p=smallest_p(len(first), len(second), alternative=alternative),
    )


def _rank_sum(first: np.ndarray, second: np.ndarray, alternative: str) -> tuple[float, float]:
    """Mann-Whitney's U of first, and p from its distribution over all ways to choose its ranks."""
    size = len(first)
    ranks = _doubled_ranks(np.concatenate([first, second]))
    ways = np.zeros((size + 1, ranks.sum() + 1))  # [k, s]: ways to choose k of the ranks with the sum s
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    total = int(ranks[:size].sum())
    return total / 2 - size * (size + 1) / 2, _tail(ways[size] / ways[size].sum(), total, alternative)


def _doubled_ranks(values: np.ndarray) -> np.ndarray:
    return np.round(2 * stats.rankdata(values)).astype(np.int64)  # the ranks of ties may end in a half


def _tail(probability: np.ndarray, observed: int, alternative: str) -> float:
    less, greater = float(probability[: observed + 1].sum()), float(probability[observed:].sum())
    return min(1.0, {"two-sided": 2 * min(less, greater), "greater": greater, "less": less}[alternative])

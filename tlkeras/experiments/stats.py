"""Intervals, exact tests, corrections and numbers of runs for the scores of a few seeds, over `scipy.stats`.

The null distributions of both rank tests are computed here, because accuracies on small test sets tie and scipy 1.17
has no exact test for ties: it takes the normal approximation, or random permutations (2 s for 30 pairs). For 3 to 50
seeds an arm the exact distribution is cheap.
"""

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy import stats

ALTERNATIVES = ("two-sided", "greater", "less")
_CORRECTIONS = ("holm", "bh")
_INTERVAL_RESAMPLES = 9999  # scipy's default: the end of a 95 % interval moves by about 1 % of its width between seeds
_FEWEST, _FEWEST_TO_RESAMPLE = 3, 10  # scores for an interval at all, and for one by the bootstrap
_OPTIMISM_RESAMPLES = 500
_RANK_EFFICIENCY = 3 / math.pi  # of Wilcoxon's and Mann-Whitney's tests beside the t test, for normal scores


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean of `n` scores, its interval and the standard deviation (n - 1); nan where too few scores can't tell."""

    mean: float
    ci_low: float
    ci_high: float
    std: float
    n: int


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One test of first against second; `effect` is as `compare` says, `difference` that of the means, first - second.

    `even` is the effect where neither is higher: 0 of a rank-biserial correlation, 0.5 of a chance of superiority.
    `n` is the number of pairs, or the size of the smaller arm. `smallest_p` is the smallest p that so many scores
    could ever give: where it is above the level wanted, the test can't decide, whatever the scores are. `t_p` is that
    of Student's t test (Welch's, unpaired), for where ranks can't: it trusts that scores scatter normally.
    """

    test: str
    statistic: float
    p: float
    effect: float
    effect_name: str
    even: float
    difference: float
    ci_low: float
    ci_high: float
    n: int
    smallest_p: float
    t_p: float


def summarize(values: Sequence[float], *, confidence: float = 0.95, seed: int = 0) -> Summary:
    """Mean of scores with its interval: the BCa bootstrap's from ten scores on, of three to nine Student's t.

    The bootstrap's interval of five normal scores, meant to hold the mean 95 times in 100, holds it 86 times.

    Args:
        values: finite scores, shape `(n,)`, n >= 1.
        confidence: level of the interval, between 0 and 1.
        seed: of the bootstrap; the same seed gives the same interval.

    Returns:
        A `Summary`; for n < 3 its interval is nan, for n = 1 the standard deviation, too; for equal scores the interval
        is the score itself.

    Raises:
        ValueError: for no score, or one that isn't a finite number.
    """
    scores = _scores(values, "values")
    low, high = _interval((scores,), np.mean, confidence, seed)
    std = float(np.std(scores, ddof=1)) if len(scores) > 1 else math.nan
    return Summary(float(np.mean(scores)), low, high, std, len(scores))


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
        A `Comparison`; the interval is that of the mean difference, 95 %, as `summarize` has it; nan, as `t_p` is, with
        fewer than three scores in an arm.

    Raises:
        ValueError: for empty or non-finite scores, arms of different length where paired, or an unknown alternative.

    Reference:
        Kerby 2014 (rank-biserial correlation); Vargha and Delaney 2000 (probability of superiority).
    """
    one, other = _scores(first, "first"), _scores(second, "second")
    if alternative not in ALTERNATIVES:
        expected = ", ".join(ALTERNATIVES)
        raise ValueError(f"Expected an alternative out of {expected}. Received: alternative={alternative!r}")
    if paired and len(one) != len(other):
        raise ValueError(f"Expected as many scores in both paired arms. Received: {len(one)} and {len(other)}")
    return (_paired if paired else _unpaired)(one, other, alternative, seed)


def smallest_p(first: int, second: int | None = None, *, alternative: str = "two-sided") -> float:
    """Return the smallest p that so many scores could ever give: `first` pairs, or two arms of `first` and `second`."""
    arrangements = 2.0**first if second is None else math.comb(first + second, first)
    return min(1.0, (2 if alternative == "two-sided" else 1) / arrangements)


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
    given = np.asarray(p_values, dtype=np.float64)
    if method not in _CORRECTIONS:
        raise ValueError(f"Expected a correction out of {', '.join(_CORRECTIONS)}. Received: method={method!r}")
    if not np.all((given >= 0) & (given <= 1)):
        raise ValueError(f"Expected p values from 0 to 1. Received: p_values={given.tolist()}")
    if given.size == 0:
        return given
    return stats.false_discovery_control(given, method="bh") if method == "bh" else _holm(given)


def runs_needed(std: float, difference: float, *, paired: bool, level: float = 0.05, power: float = 0.8) -> int:
    """Return how many runs an arm (or pairs) a two-sided rank test needs, for normally distributed scores.

    Never fewer than the exact test needs to reach `level` at all: 6 pairs, or 4 runs an arm, for 0.05.

    Args:
        std: standard deviation of the scores of an arm, or of the differences of pairs, above 0.
        difference: of the means, other than 0, in the same unit.
        paired: whether `std` is that of differences.
        level: of the test, 0..1.
        power: chance to see the difference, 0..1.

    Raises:
        ValueError: a standard deviation or a difference of 0, or a level or power outside 0..1.

    Reference: Noether 1987, Sample size determination for some common nonparametric tests.
    """
    if not (std > 0 and difference != 0 and 0 < level < 1 and 0 < power < 1):
        received = f"std={std}, difference={difference}, level={level}, power={power}"
        raise ValueError(f"Expected std > 0, a difference, and level and power inside 0..1. Received: {received}")
    quantiles = stats.norm.ppf(1 - level / 2) + stats.norm.ppf(power)
    count = (quantiles * std / difference) ** 2 * (1 if paired else 2) / _RANK_EFFICIENCY
    fewest = next(n for n in itertools.count(2) if smallest_p(n, None if paired else n) <= level)
    return max(fewest, math.ceil(count))


def p_if(means: tuple[float, float], half_widths: tuple[float, float], n: int, meaning: str) -> float:
    """Return the p of Welch's test that two printed results `mean +- half_width` amount to.

    Args:
        means: of both arms.
        half_widths: the numbers behind the plus-minus signs.
        n: runs of each arm.
        meaning: what those numbers are: "standard deviation", "standard error", or "95 % interval".

    Returns:
        The two-sided p.

    Raises:
        ValueError: another meaning.
    """
    factors = {
        "standard deviation": 1.0,
        "standard error": math.sqrt(n),
        "95 % interval": math.sqrt(n) / stats.t.ppf(0.975, n - 1),
    }
    if meaning not in factors:
        raise ValueError(f"Expected a meaning out of {list(factors)}. Received: {meaning!r}")
    first, second = (width * factors[meaning] for width in half_widths)
    return float(stats.ttest_ind_from_stats(means[0], first, n, means[1], second, n, equal_var=False).pvalue)


def optimism(log_odds: np.ndarray, labels: np.ndarray, score: str = "roc_auc", *, seed: int = 0) -> dict[str, float]:
    """Estimate by how much choosing the epoch of the best accuracy flatters the score of that epoch.

    Bootstrap: images are drawn again with replacement, class by class; the epoch that is best on the draw is scored on
    the draw and on all images, and the mean difference is the optimism. Nested: the epoch is chosen on one random half
    and scored on the other, which no choice has flattered, but half of the images choose worse.

    Args:
        log_odds: of class 1, `(epochs, n)`, of the same images after each epoch.
        labels: `(n,)` integers, both 0 and 1, at least two of each.
        score: "roc_auc" or "accuracy".
        seed: of the draws.

    Returns:
        "reported" (chosen and scored on all images), "optimism", "corrected" (their difference), "nested", and "last"
        (the last epoch, where nothing was chosen).

    Raises:
        ValueError: an unknown score, other shapes, values that are not finite, or fewer than two images of a class.

    Reference: Efron and Tibshirani 1993, An introduction to the bootstrap, section 17.6.
    """
    log_odds, labels = _checked(log_odds, labels, score)
    measure, generator = _SCORES[score], np.random.default_rng(seed)
    differences, nested = [], []
    for _ in range(_OPTIMISM_RESAMPLES):
        drawn = _drawn(labels, generator)
        best = _best_epoch(log_odds[:, drawn], labels[drawn])
        differences.append(measure(labels[drawn], log_odds[best, drawn]) - measure(labels, log_odds[best]))
        half, other = _halves(labels, generator)
        best = _best_epoch(log_odds[:, half], labels[half])
        nested.append(measure(labels[other], log_odds[best, other]))
    reported = measure(labels, log_odds[_best_epoch(log_odds, labels)])
    flattered = float(np.mean(differences))
    return {
        "reported": reported,
        "optimism": flattered,
        "corrected": reported - flattered,
        "nested": float(np.mean(nested)),
        "last": measure(labels, log_odds[-1]),
    }


def _scores(values: Sequence[float], name: str) -> np.ndarray:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or scores.size == 0 or not np.all(np.isfinite(scores)):
        raise ValueError(f"Expected a list of one or more finite scores. Received: {name}={scores.tolist()}")
    return scores


def _mean_difference(first: np.ndarray, second: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.mean(first, axis=axis) - np.mean(second, axis=axis)


def _interval(
    samples: tuple[np.ndarray, ...], statistic: Callable, confidence: float, seed: int
) -> tuple[float, float]:
    fewest = min(len(sample) for sample in samples)
    if fewest < _FEWEST:
        return math.nan, math.nan
    if max(np.ptp(sample) for sample in samples) < 1e-12:  # equal but for rounding: BCa divides by zero
        return float(statistic(*samples)), float(statistic(*samples))
    if fewest < _FEWEST_TO_RESAMPLE:
        ends = _t_test(samples).confidence_interval(confidence)
        return float(ends.low), float(ends.high)
    result = stats.bootstrap(
        samples,
        statistic,
        n_resamples=_INTERVAL_RESAMPLES,
        confidence_level=confidence,
        method="BCa",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _paired(first: np.ndarray, second: np.ndarray, alternative: str, seed: int) -> Comparison:
    differences = np.round(first - second, 12)  # else 0.67 - 0.63 and 0.71 - 0.67 don't tie
    low, high = _interval((differences,), np.mean, 0.95, seed)
    positive, total, p = _signed_rank(differences[differences != 0], alternative)
    return Comparison(
        test="Wilcoxon signed rank, exact",
        statistic=positive,
        p=p,
        effect=2 * positive / total - 1 if total else 0.0,
        effect_name="rank-biserial correlation",
        even=0.0,
        difference=float(np.mean(differences)),
        ci_low=low,
        ci_high=high,
        n=len(differences),
        smallest_p=smallest_p(len(differences), alternative=alternative),
        t_p=_t_p((differences,), alternative),
    )


def _t_p(samples: tuple[np.ndarray, ...], alternative: str) -> float:
    """Return p of the t test, nan with too few scores."""
    if min(map(len, samples)) < _FEWEST:
        return math.nan
    p = float(_t_test(samples, alternative).pvalue)
    return 1.0 if math.isnan(p) else p  # nothing but equal scores


def _t_test(samples: tuple[np.ndarray, ...], alternative: str = "two-sided") -> Any:
    """Make Student's t test of one sample, or Welch's of two."""
    with warnings.catch_warnings():  # equal scores, which scatter by rounding alone
        warnings.simplefilter("ignore", RuntimeWarning)
        if len(samples) == 1:
            return stats.ttest_1samp(*samples, 0, alternative=alternative)
        return stats.ttest_ind(*samples, equal_var=False, alternative=alternative)


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
    first, second = np.round(first, 12), np.round(second, 12)  # else 0.1 + 0.2 and 0.3 don't tie
    low, high = _interval((first, second), _mean_difference, 0.95, seed)
    return Comparison(
        test="Mann-Whitney U, exact",
        statistic=_superior_pairs(first, second),
        p=_rank_sum_p(first, second, alternative),
        effect=_superiority(first, second),
        effect_name="probability of superiority",
        even=0.5,
        difference=float(_mean_difference(first, second)),
        ci_low=low,
        ci_high=high,
        n=min(len(first), len(second)),
        smallest_p=smallest_p(len(first), len(second), alternative=alternative),
        t_p=_t_p((first, second), alternative),
    )


def _superior_pairs(first: np.ndarray, second: np.ndarray) -> float:
    """Return Mann-Whitney's U: in how many pairs the value of first is above that of second, ties counted half."""
    size = len(first)
    return int(_doubled_ranks(np.concatenate([first, second]))[:size].sum()) / 2 - size * (size + 1) / 2


def _superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Return the share of such pairs. Of the scores of two classes, this is the area under the ROC curve."""
    return _superior_pairs(first, second) / (len(first) * len(second))


def _rank_sum_p(first: np.ndarray, second: np.ndarray, alternative: str) -> float:
    """Return p of the sum of first's ranks from its distribution over all ways to choose as many ranks."""
    size = len(first)
    ranks = _doubled_ranks(np.concatenate([first, second]))
    ways = np.zeros((size + 1, ranks.sum() + 1))  # [k, s]: ways to choose k of the ranks with the sum s
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    return _tail(ways[size] / ways[size].sum(), int(ranks[:size].sum()), alternative)


def _doubled_ranks(values: np.ndarray) -> np.ndarray:
    return np.round(2 * stats.rankdata(values)).astype(np.int64)  # the ranks of ties may end in a half


def _tail(probability: np.ndarray, observed: int, alternative: str) -> float:
    less, greater = float(probability[: observed + 1].sum()), float(probability[observed:].sum())
    return min(1.0, {"two-sided": 2 * min(less, greater), "greater": greater, "less": less}[alternative])


def _holm(p_values: np.ndarray) -> np.ndarray:
    order = np.argsort(p_values)
    adjusted = np.empty_like(p_values)
    adjusted[order] = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    return np.minimum(adjusted, 1.0)


def _checked(log_odds: np.ndarray, labels: np.ndarray, score: str) -> tuple[np.ndarray, np.ndarray]:
    log_odds, labels = np.asarray(log_odds, np.float64), np.asarray(labels)
    if score not in _SCORES:
        raise ValueError(f"Expected a score out of {list(_SCORES)}. Received: score={score!r}")
    if log_odds.ndim != 2 or not len(log_odds) or log_odds.shape[1:] != labels.shape or not np.isfinite(log_odds).all():
        raise ValueError(f"Expected finite log-odds (epochs, n). Received: {log_odds.shape} for {labels.shape} labels")
    if not np.isin(labels, (0, 1)).all() or min(np.sum(labels == 0), np.sum(labels == 1)) < 2:
        counts = dict(zip(*(part.tolist() for part in np.unique(labels, return_counts=True)), strict=True))
        raise ValueError(f"Expected two labels or more of both 0 and 1. Received: {counts}")
    return log_odds, labels


def _best_epoch(log_odds: np.ndarray, labels: np.ndarray) -> int:
    """Return the first epoch of the best accuracy, as the checkpoint keeps it."""
    return int(np.argmax(np.mean((log_odds > 0) == labels, axis=1)))


def _drawn(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    members = [np.flatnonzero(labels == label) for label in (0, 1)]
    return np.concatenate([generator.choice(own, len(own)) for own in members])


def _halves(labels: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in (0, 1)]
    halves = [np.array_split(order, 2) for order in orders]
    return np.concatenate([first for first, _ in halves]), np.concatenate([second for _, second in halves])


def _accuracy(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Return the share of images on the right side of 0."""
    return float(np.mean((log_odds > 0) == labels))


def roc_auc(labels: np.ndarray, log_odds: np.ndarray) -> float:
    """Return the area under the ROC curve; from ranks, ten times as fast as scikit-learn, for the bootstrap."""
    return _superiority(log_odds[labels == 1], log_odds[labels == 0])


_SCORES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"accuracy": _accuracy, "roc_auc": roc_auc}

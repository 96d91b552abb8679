"""How many runs a test needs before it can see a difference of a given size."""

import itertools
import math

from scipy import stats

from tlkeras.experiments.stats import smallest_p

RANK_EFFICIENCY = 3 / math.pi  # of Wilcoxon's and Mann-Whitney's tests beside the t test, for normal scores


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
    count = (quantiles * std / difference) ** 2 * (1 if paired else 2) / RANK_EFFICIENCY
    fewest = next(n for n in itertools.count(2) if smallest_p(n, None if paired else n) <= level)
    return max(fewest, math.ceil(count))


def p_if(means: tuple[float, float], half_widths: tuple[float, float], n: int, meaning: str) -> float:
    """Return the p of Welch's test that two printed results `mean +- half_width` amount to.

    Args:
        means: of both arms.
        half_widths: the numbers behind the plus-minus signs.
        n: runs of each arm.
        meaning: what those numbers are: "standard deviation", "standard error", or "95 % interval".

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

"""Tests of tlkeras.experiments.stats: by known values, by scipy's own exact tests, and at scipy's traps.

Recorded values hold to the last digits, since the tables of `results/` are made by these functions: a seed gives the
same interval for ever.
"""

import dataclasses
import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import accuracy_score, roc_auc_score

from tlkeras.experiments import stats

FIRST, SECOND = [0.71, 0.74, 0.69, 0.78, 0.75, 0.72], [0.70, 0.70, 0.71, 0.70, 0.71, 0.72]
BY_T = scipy_stats.ttest_rel(FIRST, SECOND), scipy_stats.ttest_ind(FIRST, SECOND, equal_var=False)
SAME = {"rel": 1e-12, "abs": 1e-12}
PAIRED = {
    "test": "Wilcoxon signed rank, exact",
    "statistic": 13.0,
    "p": 0.1875,
    "effect": 11 / 15,
    "effect_name": "rank-biserial correlation",
    "even": 0.0,
    "difference": 0.025,
    "ci_low": float(BY_T[0].confidence_interval().low),
    "ci_high": float(BY_T[0].confidence_interval().high),
    "n": 6,
    "smallest_p": 1 / 32,
    "t_p": float(BY_T[0].pvalue),
}
UNPAIRED = {
    "test": "Mann-Whitney U, exact",
    "statistic": 27.5,
    "p": 0.12987012987012986,
    "effect": 27.5 / 36,
    "effect_name": "probability of superiority",
    "even": 0.5,
    "difference": 0.025,
    "ci_low": float(BY_T[1].confidence_interval().low),
    "ci_high": float(BY_T[1].confidence_interval().high),
    "n": 6,
    "smallest_p": 2 / 924,
    "t_p": float(BY_T[1].pvalue),
}
LABELS = np.arange(40) % 2
LOG_ODDS = np.round((2 * LABELS - 1) * 0.7 + np.random.default_rng(0).normal(size=(5, 40)), 1)  # 5 epochs, with ties


def scores(seed, n, mean=0.7):
    return np.random.default_rng(seed).normal(mean, 0.05, n)


def test_summary_of_known_scores():
    found = dataclasses.asdict(stats.summarize(FIRST))
    low, high = scipy_stats.t.interval(0.95, 5, np.mean(FIRST), scipy_stats.sem(FIRST))
    expected = {"mean": 0.7316666666666667, "ci_low": low, "ci_high": high}
    assert found == pytest.approx(expected | {"std": np.std(FIRST, ddof=1), "n": 6}, **SAME)
    found = stats.summarize(2 * FIRST, confidence=0.8, seed=3)  # enough of them for the bootstrap
    assert (found.ci_low, found.ci_high) == pytest.approx((0.7216666666666666, 0.7425), **SAME)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.mean = 1.0


@pytest.mark.parametrize("n", [3, 5, 30])
def test_interval_holds_the_mean_about_as_often_as_it_says(n):
    summaries = [stats.summarize(scores(seed, n)) for seed in range(100)]
    assert 88 <= sum(summary.ci_low <= 0.7 <= summary.ci_high for summary in summaries) <= 99


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.3, 0.1 + 0.2, 0.3]])
def test_equal_scores_have_an_interval_without_width(values):
    summary = stats.summarize(values)
    assert summary.ci_low == summary.ci_high == pytest.approx(summary.mean)


def test_one_score_has_no_interval():
    summary = stats.summarize([0.67])
    assert (summary.mean, summary.n) == (0.67, 1)
    assert math.isnan(summary.ci_low) and math.isnan(summary.ci_high) and math.isnan(summary.std)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf], [[0.5]], [[0.5], [0.6]]])
def test_scores_that_are_no_scores(values):
    with pytest.raises(ValueError, match=r"^Expected a list of one or more finite scores\. Received: values=\["):
        stats.summarize(values)


def test_two_scores_have_a_standard_deviation_and_no_interval():
    summary = stats.summarize([0.5, 0.6])
    assert math.isnan(summary.ci_low) and summary.std == pytest.approx(0.1 / math.sqrt(2))
    assert math.isnan(stats.compare([0.5, 0.6], [0.1, 0.2], paired=True).t_p)


def test_known_comparisons():
    paired, unpaired = (dataclasses.asdict(stats.compare(FIRST, SECOND, paired=paired)) for paired in (True, False))
    assert {name: type(value) for name, value in paired.items()} == {name: type(PAIRED[name]) for name in PAIRED}
    assert paired.pop("test") == PAIRED["test"] and unpaired.pop("test") == UNPAIRED["test"]
    assert paired.pop("effect_name") == PAIRED["effect_name"]
    assert unpaired.pop("effect_name") == UNPAIRED["effect_name"]
    for found, expected in ((paired, PAIRED), (unpaired, UNPAIRED)):
        assert found == pytest.approx({name: expected[name] for name in found}, **SAME)
    other = stats.compare(FIRST, SECOND[:4], paired=False, alternative="greater", seed=2)
    assert (other.p, other.effect, other.n, other.smallest_p) == pytest.approx((0.4 / 7, 0.8125, 4, 1 / 210), **SAME)
    ends = scipy_stats.ttest_ind(FIRST, SECOND[:4], equal_var=False).confidence_interval()
    assert (other.ci_low, other.ci_high) == pytest.approx((ends.low, ends.high), **SAME)
    other = stats.compare(FIRST, SECOND, paired=True, alternative="less", seed=2)
    assert (other.p, other.ci_low, other.ci_high, other.smallest_p) == pytest.approx(
        (0.9375, PAIRED["ci_low"], PAIRED["ci_high"], 1 / 64), **SAME
    )


def test_scores_that_differ_by_rounding_alone_tie():
    sums, plain = [0.1 + 0.2, 0.1 + 0.7, 0.3 + 0.6], [0.3, 0.8, 0.9]
    assert sums != plain
    for paired in (True, False):
        found = stats.compare(sums, plain, paired=paired)
        assert (found.p, found.effect) == (1, found.even)


@pytest.mark.parametrize("alternative", stats.ALTERNATIVES)
@pytest.mark.parametrize("n", [1, 3, 10, 30])
def test_paired_is_scipys_exact_test_without_ties(n, alternative):
    first, second = scores(1, n, 0.72), scores(2, n)
    expected = scipy_stats.wilcoxon(first, second, alternative=alternative, method="exact")
    assert stats.compare(first, second, paired=True, alternative=alternative).p == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("sign", [1, -1])
def test_paired_is_exact_with_ties(sign):
    differences = sign * np.array([0.01, 0.01, -0.01, 0.02, 0.03, 0.03, -0.02])
    ranks = np.round(2 * scipy_stats.rankdata(np.abs(differences)))
    observed = ranks @ (differences > 0)
    sums = np.array(list(itertools.product([0, 1], repeat=len(differences)))) @ ranks
    tails = {"less": np.mean(sums <= observed), "greater": np.mean(sums >= observed)}
    tails["two-sided"] = 2 * min(tails.values())
    for alternative, expected in tails.items():
        result = stats.compare(0.5 + differences, np.full(7, 0.5), paired=True, alternative=alternative)
        assert (result.p, result.statistic) == pytest.approx((expected, observed / 2))


def test_paired_ties_survive_rounding():
    first, second = [0.67, 0.67, 0.90], [0.63, 0.71, 0.60]
    assert 0.67 - 0.63 != 0.71 - 0.67
    assert stats.compare(first, second, paired=True).statistic == 4.5  # ranks 1.5, -1.5, 3


def test_paired_leaves_out_pairs_without_difference():
    with_zeros = stats.compare([0.6, 0.7, 0.8, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5, 0.5], paired=True)
    assert with_zeros.p == stats.compare([0.6, 0.7, 0.8], [0.5, 0.5, 0.5], paired=True).p == 0.25
    assert with_zeros.n == 5
    assert with_zeros.difference == pytest.approx(0.12)


def test_paired_sees_what_unpaired_does_not():
    second = np.linspace(0.5, 0.9, 10)
    first = second + np.linspace(0.010, 0.019, 10)
    assert stats.compare(first, second, paired=True).p == pytest.approx(2 / 2**10)
    assert stats.compare(first, second, paired=False).p > 0.5


def test_the_smallest_p_is_that_of_all_arrangements():
    assert [stats.smallest_p(n) for n in (0, 1, 2, 6)] == [1.0, 1.0, 0.5, 2 / 64]
    assert [stats.smallest_p(n, m) for n, m in ((1, 1), (2, 3), (4, 4))] == [1.0, 2 / 10, 2 / 70]
    assert stats.smallest_p(3, alternative="less") == 1 / 8
    assert stats.smallest_p(3, 2, alternative="greater") == 1 / 10


@pytest.mark.parametrize(("n", "smallest"), [(3, 0.1), (4, 2 / 70), (5, 2 / 252), (10, 1.0825e-5)])
def test_separated_arms_reach_the_smallest_p(n, smallest):
    result = stats.compare(np.arange(n) + n, np.arange(n), paired=False)
    assert result.p == pytest.approx(smallest, rel=1e-3)
    assert result.p == pytest.approx(result.smallest_p)
    assert result.effect == 1.0


@pytest.mark.parametrize("alternative", stats.ALTERNATIVES)
@pytest.mark.parametrize("paired", [True, False])
def test_no_p_is_below_the_smallest(paired, alternative):
    first, second = np.arange(4.0) + 10, np.arange(4.0) * 1.1
    if alternative == "less":
        first, second = second, first
    result = stats.compare(first, second, paired=paired, alternative=alternative)
    assert result.p == pytest.approx(result.smallest_p)


@pytest.mark.parametrize("alternative", stats.ALTERNATIVES)
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 3), (10, 7), (30, 30)])
def test_unpaired_is_scipys_exact_test_without_ties(n, m, alternative):
    first, second = scores(1, n, 0.72), scores(2, m)
    expected = scipy_stats.mannwhitneyu(first, second, alternative=alternative, method="exact")
    result = stats.compare(first, second, paired=False, alternative=alternative)
    assert (result.statistic, result.p) == pytest.approx((expected.statistic, expected.pvalue))


@pytest.mark.parametrize(("n", "m"), [(8, 10), (10, 8)])
def test_unpaired_is_exact_with_ties(n, m):
    first, second = np.round(scores(1, n, 0.69 + n / 200), 2), np.round(scores(2, m, 0.69 + m / 200), 2)
    ranks = scipy_stats.rankdata(np.concatenate([first, second]))
    assert len(np.unique(ranks)) < len(ranks)
    sums, observed = np.array([sum(chosen) for chosen in itertools.combinations(ranks, n)]), ranks[:n].sum()
    tails = {"less": np.mean(sums <= observed), "greater": np.mean(sums >= observed)}
    tails["two-sided"] = 2 * min(tails.values())
    for alternative, expected in tails.items():
        assert stats.compare(first, second, paired=False, alternative=alternative).p == pytest.approx(expected)


@pytest.mark.parametrize(("paired", "effect"), [(True, 0.0), (False, 0.5)])
@pytest.mark.parametrize("n", [1, 5])
def test_all_equal_shows_nothing(paired, effect, n):
    result = stats.compare([0.5] * n, [0.5] * n, paired=paired)
    assert (result.p, result.effect, result.difference) == (1.0, effect, 0.0)
    assert n == 1 or (result.ci_low, result.ci_high) == (0.0, 0.0)


@pytest.mark.parametrize("paired", [True, False])
def test_arms_swapped_swap_the_sign_only(paired):
    first, second = scores(1, 12, 0.74), scores(2, 12)
    there, back = (stats.compare(*arms, paired=paired) for arms in ((first, second), (second, first)))
    assert there.p == pytest.approx(back.p)
    assert there.difference == pytest.approx(-back.difference)
    assert there.effect == pytest.approx(-back.effect if paired else 1 - back.effect)
    assert there.ci_low < there.difference < there.ci_high


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([1, 2], [1], {"paired": True}, r"^Expected as many scores in both paired arms\. Received: 2 and 1$"),
        ([], [1], {"paired": False}, r"finite scores\. Received: first=\[\]$"),
        ([1], [], {"paired": False}, r"finite scores\. Received: second=\[\]$"),
        (
            [1],
            [2],
            {"paired": False, "alternative": "more"},
            r"^Expected an alternative out of two-sided, greater, less\. Received: alternative='more'$",
        ),
    ],
)
def test_compare_refuses(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        stats.compare(first, second, **options)


def test_holm_by_hand():
    np.testing.assert_allclose(stats.adjust([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.adjust([0.6, 0.7]), [1.0, 1.0])
    np.testing.assert_allclose(stats.adjust([0.0, 1.0]), [0.0, 1.0])
    assert stats.adjust([0.03]) == [0.03]
    assert stats.adjust([]).shape == stats.adjust([], "bh").shape == (0,)


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(stats.adjust([0.01, 0.04, 0.03, 0.005], "bh"), [0.02, 0.04, 0.04, 0.02])


@pytest.mark.parametrize(
    ("p_values", "method", "message"),
    [
        ([0.1], "bonferroni", r"^Expected a correction out of holm, bh\. Received: method='bonferroni'$"),
        ([0.5, 1.2], "holm", r"^Expected p values from 0 to 1\. Received: p_values=\[0\.5, 1\.2\]$"),
        ([-0.1], "bh", r"Received: p_values=\[-0\.1\]$"),
        ([math.nan], "bh", r"Received: p_values=\[nan\]$"),
    ],
)
def test_adjust_refuses(p_values, method, message):
    with pytest.raises(ValueError, match=message):
        stats.adjust(p_values, method)


def test_a_test_with_so_many_runs_has_the_power():
    count = stats.runs_needed(1.0, 0.8, paired=False)
    generator = np.random.default_rng(0)
    arms = generator.normal(size=(2, 400, count)) + np.array([0.8, 0])[:, None, None]
    assert 0.74 < np.mean(scipy_stats.mannwhitneyu(*arms, axis=-1).pvalue < 0.05) < 0.88


def test_smaller_differences_need_more_runs_and_pairs_fewer():
    assert [stats.runs_needed(1, 0.5, paired=paired) for paired in (False, True)] == [66, 33]
    assert stats.runs_needed(1, -0.5, paired=True) == 33
    assert stats.runs_needed(0.5, 0.5, paired=False) == 17
    options = {"level": 0.01, "power": 0.9}
    assert [stats.runs_needed(0.3, 0.2, paired=paired, **options) for paired in (False, True)] == [71, 36]
    # Fewer cannot reach p <= 0.05, however clear the difference: the smallest exact p of 5 pairs is 1/16.
    assert [stats.runs_needed(0.001, 1, paired=paired) for paired in (False, True)] == [4, 6]
    assert stats.runs_needed(0.001, 1, paired=True, level=1 / 16) == 5  # which 5 pairs do reach
    assert stats.runs_needed(0.001, 1, paired=True, level=0.9) == 2


@pytest.mark.parametrize(
    "bad",
    [(0, 1, 0.05, 0.8), (-1, 1, 0.05, 0.8), (1, 0, 0.05, 0.8), (1, 1, 1, 0.8), (1, 1, 0, 0.8), (1, 1, 0.05, 1)]
    + [(1, 1, 0.05, 0)],
)
def test_no_number_of_runs_for_what_makes_no_sense(bad):
    std, difference, level, power = bad
    received = f"Received: std={std}, difference={difference}, level={level}, power={power}$"
    with pytest.raises(
        ValueError, match=f"^Expected std > 0, a difference, and level and power inside 0..1. {received}"
    ):
        stats.runs_needed(std, difference, paired=True, level=level, power=power)


def test_what_a_plus_minus_means_decides_p():
    names = ("standard deviation", "95 % interval", "standard error")
    p = [stats.p_if((25, 24.5), (0.8, 0.6), 10, name) for name in names]
    assert p == pytest.approx([0.132608705524026, 0.2740123286442851, 0.6236025099808544], rel=1e-9)
    interval = scipy_stats.t.interval(0.95, 29, 25, 2 / 30**0.5)
    same = stats.p_if((25, 24), ((interval[1] - interval[0]) / 2,) * 2, 30, "95 % interval")
    assert same == pytest.approx(stats.p_if((25, 24), (2, 2), 30, "standard deviation"))
    meanings = r"\['standard deviation', 'standard error', '95 % interval'\]"
    with pytest.raises(ValueError, match=f"^Expected a meaning out of {meanings}. Received: 'variance'$"):
        stats.p_if((1, 2), (1, 1), 30, "variance")


def epochs(count, seed=0):
    """Return log-odds of epochs that are all equally good, each with other noise, and the labels of 100 images."""
    labels = np.arange(100) % 2
    return 2 * labels - 1 + np.random.default_rng(seed).normal(size=(count, 100)), labels


def test_known_optimism():
    expected = {"reported": 0.95625, "optimism": 0.03332, "corrected": 0.92293, "nested": 0.89125, "last": 0.8625}
    assert stats.optimism(LOG_ODDS, LABELS) == pytest.approx(expected, **SAME)
    expected = {"reported": 0.85, "optimism": 0.0527, "corrected": 0.7973, "nested": 0.7733, "last": 0.8}
    assert stats.optimism(LOG_ODDS, LABELS, "accuracy", seed=3) == pytest.approx(expected, **SAME)


def test_areas_are_scikit_learns_ties_included():
    found = stats.optimism(LOG_ODDS, LABELS)
    best = np.argmax([accuracy_score(LABELS, row > 0) for row in LOG_ODDS])
    assert found["reported"] == pytest.approx(roc_auc_score(LABELS, LOG_ODDS[best]))
    assert found["last"] == pytest.approx(roc_auc_score(LABELS, LOG_ODDS[-1]))
    assert stats.optimism(LOG_ODDS, LABELS, "accuracy")["last"] == accuracy_score(LABELS, LOG_ODDS[-1] > 0)


@pytest.mark.parametrize("score", ["accuracy", "roc_auc"])
def test_one_epoch_cannot_be_chosen(score):
    found = stats.optimism(*epochs(1), score)
    assert found["reported"] == found["last"]
    assert found["optimism"] == pytest.approx(0, abs=0.01)
    assert found["nested"] == pytest.approx(found["reported"], abs=0.01)


def test_the_best_of_many_equal_epochs_is_flattered_and_the_estimates_say_so():
    rows = [stats.optimism(*epochs(25, seed), "accuracy", seed=seed) for seed in range(5)]
    truth = 0.8413  # of a standard normal variable below 1
    means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    assert means["reported"] > truth + 0.03
    assert 0.02 < means["optimism"] < 0.12
    assert abs(means["corrected"] - truth) < means["reported"] - truth
    assert abs(means["nested"] - truth) < means["reported"] - truth


@pytest.mark.parametrize(
    ("log_odds", "labels", "score", "message"),
    [
        (LOG_ODDS, LABELS, "f1", r"^Expected a score out of \['accuracy', 'roc_auc'\]\. Received: score='f1'$"),
        (
            LOG_ODDS[:, :9],
            LABELS,
            "accuracy",
            r"^Expected finite log-odds \(epochs, n\)\. Received: \(5, 9\) for \(40,\)",
        ),
        (LOG_ODDS[0], LABELS, "accuracy", r"Received: \(40,\) for \(40,\) labels$"),
        (LOG_ODDS[:0], LABELS, "accuracy", r"Received: \(0, 40\) for \(40,\) labels$"),
        (LOG_ODDS * np.nan, LABELS, "accuracy", r"^Expected finite log-odds"),
        (LOG_ODDS, LABELS * 0, "accuracy", r"^Expected two labels or more of both 0 and 1\. Received: \{0: 40\}$"),
        (LOG_ODDS, LABELS * 2, "accuracy", r"both 0 and 1\. Received: \{0: 20, 2: 20\}$"),
        (LOG_ODDS[:, :4], np.array([0, 1, 1, 1]), "accuracy", r"Received: \{0: 1, 1: 3\}$"),
        (LOG_ODDS[:, :4], np.array([0, 0, 0, 1]), "accuracy", r"Received: \{0: 3, 1: 1\}$"),
        (LOG_ODDS[:, :5], np.array([0, 0, 1, 1, 2]), "accuracy", r"Received: \{0: 2, 1: 2, 2: 1\}$"),
    ],
)
def test_optimism_refuses(log_odds, labels, score, message):
    with pytest.raises(ValueError, match=message):
        stats.optimism(log_odds, labels, score)


def test_two_images_of_a_class_are_enough():
    labels = np.array([0, 1, 0, 1])
    found = stats.optimism(2.0 * labels[None] - 1, labels)
    assert found == {"reported": 1.0, "optimism": 0.0, "corrected": 1.0, "nested": 1.0, "last": 1.0}

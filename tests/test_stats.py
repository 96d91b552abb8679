"""Tests of tlkeras.experiments.stats: by known values, by scipy's own exact tests, and at scipy's traps."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tlkeras.experiments import stats


def scores(seed, n, mean=0.7):
    return np.random.default_rng(seed).normal(mean, 0.05, n)


def test_summary_of_known_scores():
    summary = stats.summarize([0.1, 0.2, 0.3, 0.4, 0.5])
    assert summary.mean == pytest.approx(0.3)
    assert summary.std == pytest.approx(np.std([0.1, 0.2, 0.3, 0.4, 0.5], ddof=1))
    assert summary.n == 5
    assert 0.1 < summary.ci_low < 0.3 < summary.ci_high < 0.5


def test_interval_holds_the_mean_about_as_often_as_it_says():
    summaries = [stats.summarize(scores(seed, 30)) for seed in range(100)]
    assert 88 <= sum(summary.ci_low <= 0.7 <= summary.ci_high for summary in summaries) <= 99


def test_higher_confidence_is_wider_and_same_seed_repeats():
    wide, narrow = (stats.summarize(scores(0, 12), confidence=level) for level in (0.99, 0.8))
    assert wide.ci_low < narrow.ci_low < narrow.ci_high < wide.ci_high
    assert stats.summarize(scores(0, 12), seed=3) == stats.summarize(scores(0, 12), seed=3)


@pytest.mark.parametrize("values", [[0.5, 0.5, 0.5], [0.3, 0.1 + 0.2]])
def test_equal_scores_have_an_interval_without_width(values):
    summary = stats.summarize(values)
    assert summary.ci_low == summary.ci_high == pytest.approx(summary.mean)


def test_one_score_has_no_interval():
    summary = stats.summarize([0.67])
    assert (summary.mean, summary.n) == (0.67, 1)
    assert math.isnan(summary.ci_low) and math.isnan(summary.ci_high) and math.isnan(summary.std)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [math.inf], [[0.5]]])
def test_scores_that_are_no_scores(values):
    with pytest.raises(ValueError, match=r"finite scores\. Received: values="):
        stats.summarize(values)


@pytest.mark.parametrize("alternative", stats.ALTERNATIVES)
@pytest.mark.parametrize("n", [1, 3, 10, 30])
def test_paired_is_scipys_exact_test_without_ties(n, alternative):
    first, second = scores(1, n, 0.72), scores(2, n)
    expected = scipy_stats.wilcoxon(first, second, alternative=alternative, method="exact")
    assert stats.compare(first, second, paired=True, alternative=alternative).p == pytest.approx(expected.pvalue)


def test_paired_is_exact_with_ties():
    differences = np.array([0.01, 0.01, -0.01, 0.02, 0.03, 0.03, -0.02])
    ranks = np.round(2 * scipy_stats.rankdata(np.abs(differences)))
    observed = ranks @ (differences > 0)
    signs = np.array(list(itertools.product([0, 1], repeat=len(differences))))
    expected = 2 * np.mean(signs @ ranks >= observed)
    result = stats.compare(0.5 + differences, np.full(7, 0.5), paired=True)
    assert result.p == pytest.approx(expected)
    assert result.statistic == observed / 2


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


def test_unpaired_is_exact_with_ties():
    first, second = np.round(scores(1, 8, 0.74), 2), np.round(scores(2, 10), 2)
    ranks = scipy_stats.rankdata(np.concatenate([first, second]))
    assert len(np.unique(ranks)) < len(ranks)
    sums = np.array([sum(chosen) for chosen in itertools.combinations(ranks, 8)])
    exact = 2 * min(np.mean(sums >= ranks[:8].sum()), np.mean(sums <= ranks[:8].sum()))
    assert stats.compare(first, second, paired=False).p == pytest.approx(exact)


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


def test_false_alarms_are_as_rare_as_promised():
    p_values = [stats.compare(scores(2 * i, 5), scores(2 * i + 1, 5), paired=False).p for i in range(200)]
    assert np.mean(np.array(p_values) < 0.05) <= 0.08


@pytest.mark.parametrize(
    ("first", "second", "options", "message"),
    [
        ([1, 2], [1], {"paired": True}, r"both paired arms\. Received: 2 and 1"),
        ([1], [], {"paired": False}, r"finite scores\. Received: second="),
        ([1], [2], {"paired": False, "alternative": "more"}, r"greater, less\. Received: alternative='more'"),
    ],
)
def test_compare_refuses(first, second, options, message):
    with pytest.raises(ValueError, match=message):
        stats.compare(first, second, **options)


def test_holm_by_hand():
    np.testing.assert_allclose(stats.adjust([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(stats.adjust([0.6, 0.7]), [1.0, 1.0])
    assert stats.adjust([0.03]) == [0.03]
    assert stats.adjust([]).shape == (0,)


def test_benjamini_hochberg_by_hand():
    np.testing.assert_allclose(stats.adjust([0.01, 0.04, 0.03, 0.005], "bh"), [0.02, 0.04, 0.04, 0.02])


@pytest.mark.parametrize(("p_values", "method"), [([0.1], "bonferroni"), ([1.2], "holm"), ([math.nan], "bh")])
def test_adjust_refuses(p_values, method):
    with pytest.raises(ValueError, match=r"Received: "):
        stats.adjust(p_values, method)

"""Numbers of runs: more for smaller differences, fewer for pairs; and they have the power that they promise."""

import numpy as np
import pytest
from scipy import stats

from tlkeras.experiments.stats import p_if, runs_needed


def test_a_test_with_so_many_runs_has_the_power():
    count = runs_needed(1.0, 0.8, paired=False)
    generator = np.random.default_rng(0)
    found = [
        stats.mannwhitneyu(generator.normal(0.8, 1, count), generator.normal(0, 1, count)).pvalue for _ in range(400)
    ]
    assert 0.74 < np.mean(np.array(found) < 0.05) < 0.88


def test_smaller_differences_need_more_and_pairs_fewer():
    assert runs_needed(1, 0.1, paired=False) > 3.9 * runs_needed(1, 0.2, paired=False)
    assert runs_needed(1, 0.5, paired=True) == pytest.approx(runs_needed(1, 0.5, paired=False) / 2, abs=1)
    assert runs_needed(1, -0.5, paired=True) == runs_needed(1, 0.5, paired=True)
    # Fewer cannot reach p <= 0.05, however clear the difference: the smallest exact p of 5 pairs is 1/16.
    assert (runs_needed(0.001, 1, paired=True), runs_needed(0.001, 1, paired=False)) == (6, 4)


@pytest.mark.parametrize("bad", [(0, 1, 0.05, 0.8), (1, 0, 0.05, 0.8), (1, 1, 1.5, 0.8), (1, 1, 0.05, 1)])
def test_bad_input(bad):
    std, difference, level, power = bad
    with pytest.raises(ValueError, match=r"Received: std="):
        runs_needed(std, difference, paired=True, level=level, power=power)


def test_the_wider_the_meaning_the_larger_p():
    p = {
        name: p_if((25, 24), (0.8, 0.6), 30, name) for name in ("standard deviation", "95 % interval", "standard error")
    }
    assert p["standard deviation"] < 1e-4 < p["95 % interval"] < p["standard error"]
    interval = stats.t.interval(0.95, 29, 25, 2 / 30**0.5)
    same = p_if((25, 24), ((interval[1] - interval[0]) / 2,) * 2, 30, "95 % interval")
    assert same == pytest.approx(p_if((25, 24), (2, 2), 30, "standard deviation"))
    with pytest.raises(ValueError, match="Received: 'variance'"):
        p_if((1, 2), (1, 1), 30, "variance")

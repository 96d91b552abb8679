"""Choosing among equal epochs flatters by a known amount; without a choice there is nothing to flatter."""

import numpy as np
import pytest

from tlkeras.experiments import stats
from tlkeras.transfer import evaluation

LABELS = np.arange(100) % 2


def epochs(count, seed=0, signal=1.0):
    """Return log-odds of epochs that are all equally good, each with its own noise."""
    noise = np.random.default_rng(seed).normal(size=(count, len(LABELS)))
    return signal * (2 * LABELS - 1) + noise


@pytest.mark.parametrize("score", ["accuracy", "roc_auc"])
def test_one_epoch_cannot_be_chosen(score):
    found = stats.optimism(epochs(1), LABELS, score)
    assert found["reported"] == found["last"]
    assert found["optimism"] == pytest.approx(0, abs=0.01)
    assert found["nested"] == pytest.approx(found["reported"], abs=0.01)


def test_the_best_of_many_equal_epochs_is_flattered_and_the_estimates_say_so():
    found = [stats.optimism(epochs(25, seed), LABELS, "accuracy", seed=seed) for seed in range(5)]
    truth = 0.8413  # of a standard normal variable below 1
    means = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
    assert means["reported"] > truth + 0.03
    assert 0.02 < means["optimism"] < 0.12
    assert abs(means["corrected"] - truth) < means["reported"] - truth
    assert abs(means["nested"] - truth) < means["reported"] - truth
    assert means["corrected"] == pytest.approx(means["reported"] - means["optimism"])


def test_the_seed_decides():
    curves = epochs(5)
    assert stats.optimism(curves, LABELS) == stats.optimism(curves, LABELS)
    assert stats.optimism(curves, LABELS) != stats.optimism(curves, LABELS, seed=1)


def test_areas_are_scikit_learns_ties_included():
    odds = epochs(1)[0].round(0)
    assert stats.roc_auc_of(LABELS, odds) == pytest.approx(evaluation.roc_auc(LABELS, odds))
    assert stats.accuracy(LABELS, np.where(LABELS, 1.0, -1.0)) == 1


@pytest.mark.parametrize(
    ("curves", "labels", "score", "message"),
    [
        (epochs(2), LABELS, "f1", r"Received: score='f1'$"),
        (epochs(2)[:, :50], LABELS, "accuracy", r"Received: \(2, 50\) for \(100,\) labels"),
        (epochs(2) * np.nan, LABELS, "accuracy", "finite log-odds"),
        (epochs(2), LABELS * 0, "accuracy", r"both 0 and 1\. Received: \{"),
    ],
)
def test_bad_input(curves, labels, score, message):
    with pytest.raises(ValueError, match=message):
        stats.optimism(curves, labels, score)

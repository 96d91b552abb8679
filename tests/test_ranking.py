"""ROC AUC is scikit-learn's, also where probabilities are rounded to 1, and nan where it is undefined."""

import keras
import numpy as np
import pytest
from helpers import images, tiny
from sklearn.metrics import roc_auc_score

from tlkeras.transfer import Phase, evaluation, finetune
from tlkeras.transfer.evaluation import UndefinedMetricWarning

LABELS = np.array([0, 0, 1, 1, 1])
ODDS = np.array([-1.0, 0.5, 0.2, 3.0, 1.0])


def probabilities(log_odds):
    return np.stack([1 / (1 + np.exp(log_odds)), 1 / (1 + np.exp(-log_odds))], axis=1)


def test_it_is_scikit_learns():
    expected = roc_auc_score(LABELS, ODDS)
    assert 0.5 < expected < 1
    assert evaluation.roc_auc(LABELS, ODDS) == evaluation.roc_auc(LABELS, probabilities(ODDS)) == expected


def test_it_ranks_beyond_the_rounding_of_float32():
    odds = np.array([18.0, 20.0, 30.0])
    found = probabilities(odds).astype(np.float32)
    found[:, 0] = np.exp(-odds)
    assert found[1, 1] == found[2, 1] == 1
    np.testing.assert_allclose(evaluation.log_odds(found), odds, rtol=1e-3)
    assert evaluation.roc_auc(np.array([0, 1, 1]), found) == 1


@pytest.mark.parametrize("scores", [np.zeros(5) + np.nan, np.full((5, 2), np.nan)])
def test_no_finite_scores(scores):
    assert np.isnan(evaluation.roc_auc(LABELS, scores))


def test_one_class_only():
    assert np.isnan(evaluation.roc_auc(np.ones(5, int), ODDS))


def test_three_classes():
    with pytest.raises(ValueError, match=r"two classes, \(n, 2\)\. Received: shape=\(5, 3\)"):
        evaluation.roc_auc(LABELS, np.ones((5, 3)))


PHASES = (Phase("first", "head", 2, 0.01), Phase("second", "all", 1, 0.01))


def trained(labels, **options):
    model, pictures = tiny(num_classes=2), images(12)
    train = pictures, np.arange(12, dtype=np.int32) % 2
    history = finetune(
        model,
        train,
        (pictures[: len(labels)], labels),
        PHASES,
        seed=0,
        metrics={"roc_auc": evaluation.roc_auc},
        **options,
    )
    return model, history, pictures[: len(labels)]


def test_it_is_computed_at_each_validation():
    model, history, pictures = trained(np.array([0, 1] * 5), validation_every=2)
    first, second, third = history.metrics["val_roc_auc"]
    assert first is None and 0 <= second <= 1
    outputs = keras.ops.convert_to_numpy(model(pictures))
    assert third == pytest.approx(evaluation.roc_auc(np.array([0, 1] * 5), outputs))
    assert history.curves()["val_roc_auc"] == [None, round(second, 4), round(third, 4)]


def test_undefined_is_none_and_named_once_a_phase_and_training_goes_on():
    with pytest.warns(UndefinedMetricWarning, match=r"val_roc_auc is undefined .* labels \[1\]") as found:
        _, history, _ = trained(np.ones(6, np.int32))
    assert sum(warning.category is UndefinedMetricWarning for warning in found) == len(PHASES)
    assert history.metrics["val_roc_auc"] == [None] * 3
    assert all(np.isfinite(history.val_loss))


def test_the_best_epoch_can_be_that_of_the_largest_area(tmp_path):
    model, history, pictures = trained(np.array([0, 1] * 5), keep="best", checkpoints=tmp_path, monitor="val_roc_auc")
    outputs = keras.ops.convert_to_numpy(model(pictures))
    best = max(history.metrics["val_roc_auc"][2:])
    assert evaluation.roc_auc(np.array([0, 1] * 5), outputs) == pytest.approx(best)

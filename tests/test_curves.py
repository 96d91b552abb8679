"""One panel a curve, one line an arm; what diverges does not flatten the rest."""

import numpy as np
import pytest

from tlkeras.experiments.figures import MOST_OF_A_LOSS, curves_by_arm


def run(arm, seed, **curves):
    return {"arm": arm, "seed": seed, "history": curves}


RUNS = [
    run("full", 0, loss=[90.0, 0.7], val_roc_auc=[0.5, None]),
    run("full", 1, loss=[80.0, 0.5], val_roc_auc=[0.7, None]),
    run("frozen", 0, loss=[0.6, 0.4, 0.3], val_roc_auc=[0.9, 0.95, 0.96]),
]


def test_lines_are_medians_over_the_runs():
    figure = curves_by_arm(RUNS, ["full", "frozen"], ("loss", "val_roc_auc"), labels={"full": "everything"}, title="x")
    losses, areas = figure.axes
    assert [line.get_label() for line in losses.lines] == ["everything", "frozen"]
    np.testing.assert_allclose(losses.lines[0].get_ydata(), [85.0, 0.6])
    np.testing.assert_allclose(areas.lines[0].get_ydata(), [0.6, np.nan])
    assert losses.get_ylim() == (0, MOST_OF_A_LOSS)
    assert areas.get_title("left") == "validation roc auc"


@pytest.mark.parametrize(("arm", "key"), [("last", "loss"), ("full", "val_loss")])
def test_what_is_missing_is_said(arm, key):
    with pytest.raises(ValueError, match=f"'{arm}' with the curve '{key}'"):
        curves_by_arm(RUNS, [arm], (key,))

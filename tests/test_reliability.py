"""A reliability diagram has a diagonal, and a line for each series."""

import pytest

from tlkeras.reports.ants_bees.figures import reliability_diagram

ROWS = [{"predicted": 0.1, "observed": 0.2, "n": 30}, {"predicted": 0.9, "observed": 0.8, "n": 10}]


def test_series_are_drawn_against_the_diagonal():
    (panel,) = reliability_diagram({"before": ROWS, "after": ROWS[:1]}, positive="bees").axes
    diagonal, first, second = panel.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert list(first.get_xdata()) == [0.1, 0.9] and list(second.get_ydata()) == [0.2]
    assert "before (n=40)" in panel.get_legend_handles_labels()[1]
    assert panel.get_xlabel() == "predicted probability of bees"


@pytest.mark.parametrize("bins", [{}, {"before": []}])
def test_nothing_to_draw(bins):
    with pytest.raises(ValueError, match="Expected one series or more"):
        reliability_diagram(bins)

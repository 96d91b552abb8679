"""The figure of accuracy against cost: every arm a point on both panels, the best for their cost joined."""

import pytest

from tlkeras.reports.squeezenet import figures as costs

ROWS = [
    {"arm": "head", "accuracy": 0.4, "seconds": 10.0, "flops": 1e9},
    {"arm": "some", "accuracy": 0.3, "seconds": 20.0, "flops": 5e8},
    {"arm": "all", "accuracy": 0.7, "seconds": 100.0, "flops": 1e12},
]


def test_the_front_leaves_out_what_a_cheaper_arm_beats():
    assert [row["arm"] for row in costs.front(ROWS, "seconds")] == ["head", "all"]
    assert [row["arm"] for row in costs.front(ROWS, "flops")] == ["some", "head", "all"]


def test_each_arm_is_a_point_with_its_name_on_both_panels():
    figure = costs.accuracy_against_cost(
        ROWS, groups={"report": ["head", "all"], "ours": ["some"]}, labels={"all": "A"}
    )
    assert len(figure.axes) == 2
    for panel, key in zip(figure.axes, ("seconds", "flops"), strict=True):
        _, report, ours = panel.lines
        assert list(report.get_xdata()) == [ROWS[0][key], ROWS[2][key]]
        assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([ROWS[1][key]], [0.3])
        assert sorted(text.get_text() for text in panel.texts) == ["A", "head", "some"]
        assert panel.get_xscale() == "log"


def test_an_arm_without_a_row_is_named():
    with pytest.raises(ValueError, match=r"Received: none for \['most'\]"):
        costs.accuracy_against_cost(ROWS, groups={"report": ["most"]})

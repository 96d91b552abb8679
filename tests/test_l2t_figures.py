"""Figures of report 003: what is drawn is what was given, and what does not fit is refused."""

import numpy as np
import pytest

from tlkeras.reports.l2t import figures


def test_every_method_has_its_line_and_what_was_not_run_has_none():
    rows = [
        {"per_class": str(count), "method": method, "reported": 0.2, "mean": mean, "ci_low": mean, "ci_high": mean}
        for count in (5, 10)
        for method, mean in (("scratch", 0.3), ("www", None))
    ]
    (panel,) = figures.accuracy_by_size(rows, "STL-10").axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in panel.lines if line.get_xdata().size}
    assert lines["from scratch, ours"] == [0.3, 0.3] and lines["from scratch, reported"] == [0.2, 0.2]
    assert "L2T-www, ours" not in lines and "L2T-www, reported" in lines
    assert panel.get_xlabel() and panel.get_ylabel()


def test_a_bar_for_every_pair_at_the_start_in_the_middle_and_at_the_end():
    where = np.arange(5 * 15).reshape(5, 15) / 20
    (panel,) = figures.pair_weights(where, [0, 5, 10, 15, 20], [f"pair {i}" for i in range(15)]).axes
    heights = [bar.get_height() for bar in panel.patches]
    assert np.allclose(heights, where[[0, 2, 4]].ravel())


def test_a_mark_for_every_channel_with_its_range_over_the_images():
    what = np.array([[0.1, 0.3, 0.6], [0.3, 0.3, 0.4]])
    (panel,) = figures.channel_weights(what, "a -> b").axes
    assert panel.get_title(loc="left") == "a -> b" and panel.get_xlabel() and panel.get_ylabel()
    assert panel.get_ylim()[0] == 0
    means, alike = panel.lines
    assert np.allclose(means.get_ydata(), [0.2, 0.3, 0.5]) and np.allclose(alike.get_ydata(), 1 / 3)
    assert np.allclose([segment[:, 1] for segment in panel.collections[0].get_segments()], np.sort(what.T))


def test_a_line_for_every_region_and_for_every_weight():
    which = np.random.default_rng(0).uniform(size=(4, 2, 9))
    panels = figures.pixel_weights(which, [0, 1, 2, 3], [0, 7]).axes
    assert [len(panel.lines) for panel in panels] == [9, 9]
    assert np.allclose(panels[1].lines[8].get_ydata(), which[:, 1, 8])
    paths = {"scratch": which[:, 0, :3], "www": which[:, 1, :3]}
    panels = figures.paths(paths, ["a", "b", "c"]).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b", "c", ""]
    assert np.allclose(panels[2].lines[1].get_ydata(), which[:, 1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: figures.accuracy_by_size([]),
        lambda: figures.pair_weights(np.zeros((2, 3)), [0, 1], ["a"]),
        lambda: figures.channel_weights(np.zeros(3)),
        lambda: figures.pixel_weights(np.zeros((2, 1, 8)), [0, 1], [0]),
        lambda: figures.paths({}, ["a"]),
        lambda: figures.paths({"ww": np.zeros((3, 2))}, ["a"]),
    ],
)
def test_bad_input(call):
    with pytest.raises(ValueError, match="Received: "):
        call()

"""Each figure shows every row it is given, where it says, and nothing else is drawn without rows."""

import math

import pytest

from tlkeras.reports.strategies import figures

NAN = math.nan
QUADRANT_ROWS = [
    {"quadrant": quadrant, "target": target, "strategy": strategy, "advised": strategy == "freeze_some",
     "mean": 0.5, "ci_low": low, "ci_high": 0.6}
    for quadrant, target, low in ((2, "cifar10", 0.4), (4, "cifar10", NAN), (4, "stl10", 0.4))
    for strategy in ("train_all", "freeze_some", "freeze_base")
]  # fmt: skip
ENDS = {f"{name}_ci_{end}": 0.5 for name in ("target", "source") for end in ("low", "high")}
RATE_ROWS = [
    {"rate": rate, "target": 0.5 + rate, "source": 0.9 - rate, "source_recalibrated": 0.8, "source_before": 0.92,
     **ENDS, "moved_conv_1": rate, "moved_conv_2": 2 * rate}
    for rate in (1e-3, 1e-2, 1e-1)
]  # fmt: skip
BLOCK_ROWS = [
    {"target": target, "images": images, "block": block, "position": position, "mean": 0.1 * position, "best": position}
    for images in ("50", "1000")
    for target in ("cifar10", "letters")
    for position, block in enumerate(("conv1", "fire2"))
]
NETWORKS = [
    {"name": name, "processor": "cpu", "step_ms": step, "size_mb": 90.0, "top1": 0.7}
    for name, step in (("VGG16", 200.0), ("Xception", 300.0))
]


def marked(panel):
    """Return the positions of the markers of a panel, rings left out."""
    return [
        line.get_xydata().tolist() for line in panel.lines if line.get_marker() in "osD^vPX" and line.get_ls() == "None"
    ]


def test_each_quadrant_shows_its_strategies_and_marks_the_advised():
    figure = figures.quadrants(QUADRANT_ROWS)
    assert len(figure.axes) == 4
    counts = [len({tuple(point[0]) for point in marked(panel)}) for panel in figure.axes]
    assert counts == [0, 3, 0, 6]
    rings = [sum(line.get_label() == "advised" for line in panel.lines) for panel in figure.axes]
    assert rings == [0, 1, 0, 2]
    assert [tick.get_text() for tick in figure.axes[3].get_xticklabels()] == ["cifar10", "stl10"]


def test_rates_show_gain_loss_and_moves():
    accuracy, moves = figures.rates(RATE_ROWS).axes
    lines = {line.get_label(): list(line.get_ydata()) for line in accuracy.lines}
    assert lines["target"] == [0.501, 0.51, 0.6]
    assert lines["source, old head"] == [0.899, 0.89, 0.8]
    assert lines["source, before"] == [0.92, 0.92]
    assert {line.get_label(): list(line.get_ydata()) for line in moves.lines} == {
        "conv 1": [1e-3, 1e-2, 1e-1],
        "conv 2": [2e-3, 2e-2, 2e-1],
    }
    assert (moves.get_xscale(), moves.get_yscale(), accuracy.get_yscale()) == ("log", "log", "linear")


def test_blocks_have_a_line_for_each_target_and_a_mark_at_the_best():
    figure = figures.blocks(BLOCK_ROWS)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["50 images of a class", "1000 images of a class"]
    for panel in figure.axes:
        lines = [line for line in panel.lines if line.get_ls() == "-"]
        assert [list(line.get_ydata()) for line in lines] == [[0.0, 0.1]] * 2
        assert marked(panel) == [[[1.0, 0.1]]] * 2
        assert [tick.get_text() for tick in panel.get_xticklabels()] == ["conv1", "fire2"]


def test_networks_are_named_at_their_cost():
    time, size = figures.applications(NETWORKS).axes
    assert marked(time) == [[[200.0, 0.7]], [[300.0, 0.7]]]
    assert marked(size) == [[[90.0, 0.7]]] * 2
    assert [text.get_text() for text in time.texts] == ["VGG16", "Xception"]
    assert "CPU" in time.get_xlabel()


@pytest.mark.parametrize("draw", [figures.quadrants, figures.rates, figures.blocks, figures.applications])
def test_without_rows_nothing_is_drawn(draw):
    with pytest.raises(ValueError, match=r"at least one row\. Received: none"):
        draw([])

"""Figures of the reports: what is drawn is what was given, where it belongs, and what does not fit is refused."""

import math

import numpy as np
import pytest

from tlkeras.reports.l2t import figures as l2t_figures
from tlkeras.reports.squeezenet import figures as squeezenet_figures
from tlkeras.reports.strategies import figures as strategy_figures
from tlkeras.reports.tominet import growth

NAN = math.nan
COSTS = [
    {"arm": "head", "accuracy": 0.4, "seconds": 10.0, "flops": 1e9},
    {"arm": "some", "accuracy": 0.3, "seconds": 20.0, "flops": 5e8},
    {"arm": "all", "accuracy": 0.7, "seconds": 100.0, "flops": 1e12},
]
QUADRANT_ROWS = [
    {
        "quadrant": quadrant,
        "target": target,
        "strategy": strategy,
        "advised": strategy == "freeze_some",
        "mean": 0.5,
        "ci_low": low,
        "ci_high": 0.6,
    }
    for quadrant, target, low in ((2, "cifar10", 0.4), (4, "cifar10", NAN), (4, "stl10", 0.4))
    for strategy in ("train_all", "freeze_some", "freeze_base")
]
ENDS = {f"{name}_ci_{end}": 0.5 for name in ("target", "source") for end in ("low", "high")}
RATE_ROWS = [
    {
        "rate": rate,
        "target": 0.5 + rate,
        "source": 0.9 - rate,
        "source_recalibrated": 0.8,
        "source_before": 0.92,
        **ENDS,
        "moved_conv_1": rate,
        "moved_conv_2": 2 * rate,
    }
    for rate in (1e-3, 1e-2, 1e-1)
]
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


def test_the_front_leaves_out_what_a_cheaper_arm_beats():
    assert [row["arm"] for row in squeezenet_figures.front(COSTS, "seconds")] == ["head", "all"]
    assert [row["arm"] for row in squeezenet_figures.front(COSTS, "flops")] == ["some", "head", "all"]


def test_each_arm_is_a_point_with_its_name_on_both_panels():
    figure = squeezenet_figures.accuracy_against_cost(
        COSTS, groups={"report": ["head", "all"], "ours": ["some"]}, labels={"all": "A"}
    )
    assert len(figure.axes) == 2
    for panel, key in zip(figure.axes, ("seconds", "flops"), strict=True):
        _, report, ours = panel.lines
        assert list(report.get_xdata()) == [COSTS[0][key], COSTS[2][key]]
        assert (list(ours.get_xdata()), list(ours.get_ydata())) == ([COSTS[1][key]], [0.3])
        assert sorted(text.get_text() for text in panel.texts) == ["A", "head", "some"]
        assert panel.get_xscale() == "log"


def test_an_arm_without_a_row_is_named():
    with pytest.raises(ValueError, match=r"Received: none for \['most'\]"):
        squeezenet_figures.accuracy_against_cost(COSTS, groups={"report": ["most"]})


def marked(panel):
    """Return the positions of the markers of a panel, rings left out."""
    return [
        line.get_xydata().tolist() for line in panel.lines if line.get_marker() in "osD^vPX" and line.get_ls() == "None"
    ]


def test_each_quadrant_shows_its_strategies_and_marks_the_advised():
    figure = strategy_figures.quadrants(QUADRANT_ROWS)
    assert len(figure.axes) == 4
    counts = [len({tuple(point[0]) for point in marked(panel)}) for panel in figure.axes]
    assert counts == [0, 3, 0, 6]
    rings = [sum(line.get_label() == "advised" for line in panel.lines) for panel in figure.axes]
    assert rings == [0, 1, 0, 2]
    assert [tick.get_text() for tick in figure.axes[3].get_xticklabels()] == ["CIFAR-10", "STL-10"]


def test_rates_show_gain_loss_and_moves():
    accuracy, moves = strategy_figures.rates(RATE_ROWS).axes
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
    figure = strategy_figures.blocks(BLOCK_ROWS)
    assert [panel.get_title(loc="left") for panel in figure.axes] == ["50 images of a class", "1000 images of a class"]
    for panel in figure.axes:
        lines = [line for line in panel.lines if line.get_ls() == "-"]
        assert [list(line.get_ydata()) for line in lines] == [[0.0, 0.1]] * 2
        assert marked(panel) == [[[1.0, 0.1]]] * 2
        assert [tick.get_text() for tick in panel.get_xticklabels()] == ["conv1", "fire2"]


def test_networks_are_named_at_their_cost():
    time, size = strategy_figures.applications(NETWORKS).axes
    assert marked(time) == [[[200.0, 0.7], [300.0, 0.7]]]
    assert marked(size) == [[[90.0, 0.7]] * 2]
    assert [text.get_text() for text in time.texts] == ["VGG16", "Xception"]
    assert "CPU" in time.get_xlabel()


def test_every_method_has_its_line_and_what_was_not_run_has_none():
    rows = [
        {"per_class": str(count), "method": method, "reported": 0.2, "mean": mean, "ci_low": mean, "ci_high": mean}
        for count in (5, 10)
        for method, mean in (("scratch", 0.3), ("www", None))
    ]
    rows += [{**row, "method": "probe", "reported": None} for row in rows[:2]]
    (panel,) = l2t_figures.accuracy_by_size(rows, "STL-10").axes
    lines = {line.get_label(): line.get_ydata().tolist() for line in panel.lines if line.get_xdata().size}
    assert lines["from scratch, ours"] == [0.3, 0.3] and lines["from scratch, report"] == [0.2, 0.2]
    assert "L2T-www, ours" not in lines and "L2T-www, report" in lines
    assert "the source's probe, ours" in lines and "the source's probe, report" not in lines
    assert panel.get_xlabel() and panel.get_ylabel()


def test_a_bar_for_every_pair_at_the_start_in_the_middle_and_at_the_end():
    where = np.arange(5 * 15).reshape(5, 15) / 20
    (panel,) = l2t_figures.pair_weights(where, [0, 5, 10, 15, 20], [f"pair {i}" for i in range(15)]).axes
    heights = [bar.get_height() for bar in panel.patches]
    assert np.allclose(heights, where[[0, 2, 4]].ravel())


def test_a_mark_for_every_channel_with_its_range_over_the_images():
    what = np.array([[0.1, 0.3, 0.6], [0.3, 0.3, 0.4]])
    (panel,) = l2t_figures.channel_weights(what, "a -> b").axes
    assert panel.get_title(loc="left") == "a -> b" and panel.get_xlabel() and panel.get_ylabel()
    assert panel.get_ylim()[0] == 0
    means, alike = panel.lines
    assert np.allclose(means.get_ydata(), [0.2, 0.3, 0.5]) and np.allclose(alike.get_ydata(), 1 / 3)
    assert np.allclose([segment[:, 1] for segment in panel.collections[0].get_segments()], np.sort(what.T))


def test_a_line_for_every_region_and_for_every_weight():
    which = np.random.default_rng(0).uniform(size=(4, 2, 9))
    panels = l2t_figures.pixel_weights(which, [0, 1, 2, 3], [0, 7]).axes
    assert [len(panel.lines) for panel in panels] == [9, 9]
    assert np.allclose(panels[1].lines[8].get_ydata(), which[:, 1, 8])
    paths = {"scratch": which[:, 0, :3], "www": which[:, 1, :3]}
    panels = l2t_figures.paths(paths, ["a", "b", "c"]).axes
    assert [panel.get_title(loc="left") for panel in panels] == ["a", "b", "c", ""]
    assert np.allclose(panels[2].lines[1].get_ydata(), which[:, 1, 2])


@pytest.mark.parametrize(
    "call",
    [
        lambda: l2t_figures.pair_weights(np.zeros((2, 3)), [0, 1], ["a"]),
        lambda: l2t_figures.channel_weights(np.zeros(3)),
        lambda: l2t_figures.pixel_weights(np.zeros((2, 1, 8)), [0, 1], [0]),
        lambda: l2t_figures.paths({}, ["a"]),
        lambda: l2t_figures.paths({"ww": np.zeros((3, 2))}, ["a"]),
    ],
)
def test_what_does_not_fit_is_refused(call):
    with pytest.raises(ValueError, match="Received: "):
        call()


def test_growth_is_the_best_time_of_each_size(monkeypatch):
    seconds = iter([9.0, 5.0, 5.0] + [3.0, 2.0, 4.0])
    clock = [0.0]
    monkeypatch.setattr(growth.time, "perf_counter", lambda: clock[0])
    steps = []

    def run(steps_of_run):
        steps.append(steps_of_run)
        clock[0] += next(seconds)

    monkeypatch.setattr(growth, "prepare", lambda model, objective: lambda steps: run(steps))
    monkeypatch.setattr(growth, "ROUNDS", 1)
    assert growth.seconds_by_size([1, 2], [3]) == [
        {"filters": 1, "steps": growth.STEPS, "seconds": 3.0, "varied": "filters"},
        {"filters": 2, "steps": growth.STEPS, "seconds": 2.0, "varied": "filters"},
        {"filters": growth.WIDEST, "steps": 3, "seconds": 4.0, "varied": "steps"},
    ]
    assert steps == [1, 1, 1, growth.STEPS, growth.STEPS, 3]


def test_time_is_drawn_against_what_grows():
    rows = [{"filters": n, "steps": 60, "seconds": n / 8, "varied": "filters"} for n in (16, 32)]
    rows += [{"filters": 16, "steps": n, "seconds": n / 30, "varied": "steps"} for n in (30, 60, 90)]
    filters, steps = growth.time_growth(rows).axes
    for panel, x, seconds in ((filters, [16, 32], [2, 4]), (steps, [30, 60, 90], [1, 2, 3])):
        line, points = panel.get_lines()
        assert points.get_xdata().tolist() == x and points.get_ydata().tolist() == seconds
        np.testing.assert_allclose(line.get_ydata(), [0, seconds[-1]])


@pytest.mark.parametrize(
    "draw",
    [
        strategy_figures.quadrants,
        strategy_figures.rates,
        strategy_figures.blocks,
        strategy_figures.applications,
        l2t_figures.accuracy_by_size,
    ],
)
def test_without_rows_nothing_is_drawn(draw):
    with pytest.raises(ValueError, match=r"at least one row\. Received: none"):
        draw([])

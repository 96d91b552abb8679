"""Figures of report 001: strategies by quadrant, rates and what they lose, blocks, and networks by their cost."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkeras.experiments import figures
from tlkeras.reports.strategies.settings import LABELS

_QUADRANTS = {1: "large, dissimilar", 2: "large, similar", 3: "small, dissimilar", 4: "small, similar"}


@figures.in_style
def quadrants(rows: Sequence[Mapping]) -> Figure:
    """One panel for each quadrant, laid out as on the slide: accuracy of each strategy on each target.

    Args:
        rows: dicts with quadrant (1..4), target, strategy, advised (bool), mean, ci_low, ci_high (nan: no interval).

    Returns:
        A figure with four axes, quadrants 1 to 4; a ring marks the advised strategy.

    Raises:
        ValueError: no rows.
    """
    figures.check_rows(rows)
    figure, panels = figures.subplots(2, 2, height=7.5, sharey=True)
    strategies = list(dict.fromkeys(row["strategy"] for row in rows))
    for panel, (number, title) in zip(panels, _QUADRANTS.items(), strict=True):
        own = [row for row in rows if row["quadrant"] == number]
        targets = list(dict.fromkeys(row["target"] for row in own))
        panel.set_title(f"{number}: {title}", loc="left")
        for offset, (strategy, (color, marker)) in enumerate(zip(strategies, figures.series(), strict=False)):
            for row in (row for row in own if row["strategy"] == strategy):
                place = targets.index(row["target"]) + 0.22 * (offset - 1)
                _estimate(panel, place, row, color=color, marker=marker, label=figures.arm_label(strategy, LABELS))
                if row["advised"]:
                    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": figures.BLACK}
                    ring |= {"markersize": 18, "markeredgewidth": 1.5, "label": "advised"}
                    figures.points(panel, [place], [row["mean"]], **ring)
        panel.set_xticks(range(len(targets)), [figures.arm_label(name, LABELS) for name in targets])
        panel.set_xlim(-0.6, max(len(targets), 1) - 0.4)
    for panel in panels[::2]:
        panel.set_ylabel(figures.axis_label("test_accuracy"))
    figures.legend_below(figure, next(panel for panel in panels if panel.lines))
    return figure


@figures.in_style
def rates(rows: Sequence[Mapping]) -> Figure:
    """Against the rate: accuracy on the target and on the source with its old head; and how far each layer moved.

    Args:
        rows: dicts with rate, target, source, source_recalibrated, source_before, `target_ci_low` and so on, and
            `moved_LAYER` (relative).

    Returns:
        A figure with the axes of accuracy and of moves, both logarithmic in the rate.

    Raises:
        ValueError: no rows.
    """
    figures.check_rows(rows)
    figure, panels = figures.subplots(1, 2, height=5.6)
    x = [row["rate"] for row in rows]
    lines = {"target": "target", "source": "source, old head", "source_recalibrated": "the same, recalibrated"}
    for (key, label), (color, marker) in zip(lines.items(), figures.series(), strict=False):
        panels[0].plot(x, [row[key] for row in rows], color=color, marker=marker, label=label)
        if f"{key}_ci_low" in rows[0]:
            low, high = ([row[f"{key}_ci_{end}"] for row in rows] for end in ("low", "high"))
            panels[0].fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)
    before = rows[0]["source_before"]
    panels[0].axhline(before, color=figures.GREY, linestyle=":", linewidth=1, label="source, before")
    panels[0].set_ylabel(figures.axis_label("accuracy"))
    moved = [key for key in rows[0] if key.startswith("moved_")]
    for key, (color, marker) in zip(moved, figures.series(), strict=False):
        values = [row[key] for row in rows]
        panels[1].plot(x, values, color=color, marker=marker, label=figures.words(key.removeprefix("moved_")))
    panels[1].set_yscale("log")
    panels[1].set_ylabel("weights moved (relative to their length)")
    for panel in panels:
        panel.set_xscale("log")
        panel.set_xlabel("learning rate (Adam)")
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
    return figure


@figures.in_style
def blocks(rows: Sequence[Mapping]) -> Figure:
    """Accuracy on the features of each block, a line for each target; the best block is filled in black.

    Args:
        rows: dicts with target, images, block, position, mean, ci_low, ci_high, best (bool).

    Returns:
        A figure with one axes for each number of images.

    Raises:
        ValueError: no rows.
    """
    figures.check_rows(rows)
    counts = list(dict.fromkeys(row["images"] for row in rows))
    figure, panels = figures.subplots(1, len(counts), height=4.6, sharey=True)
    targets = dict(zip(dict.fromkeys(row["target"] for row in rows), figures.series(), strict=False))
    for panel, count in zip(panels, counts, strict=True):
        for target, (color, marker) in targets.items():
            own = [row for row in rows if (row["images"], row["target"]) == (count, target)]
            values = [row["mean"] for row in own]
            panel.plot(range(len(own)), values, color=color, marker=marker, label=figures.arm_label(target, LABELS))
            best = [row for row in own if row["best"]]
            figures.points(
                panel, [r["position"] for r in best], [r["mean"] for r in best], marker=marker, color="black"
            )
        names = [row["block"] for row in rows if (row["images"], row["target"]) == (count, rows[0]["target"])]
        panel.set_xticks(range(len(names)), names, rotation=90)
        panel.set_title(f"{count} images of a class", loc="left")
    panels[0].set_ylabel(figures.axis_label("test_accuracy"))
    figures.legend_below(figure, panels[0])
    return figure


@figures.in_style
def applications(rows: Sequence[Mapping]) -> Figure:
    """Published accuracy against the time measured here and against size, one point for each network.

    Args:
        rows: of `applications.table`.

    Returns:
        A figure with the axes of time (logarithmic) and of size.

    Raises:
        ValueError: no rows.
    """
    figures.check_rows(rows)
    figure, panels = figures.subplots(2, 1, height=9.0)
    titles = {
        "step_ms": f"time for a step on this {rows[0]['processor'].upper()} (ms)",
        "size_mb": "size of the weights (MB)",
    }
    panels[0].set_xscale("log")
    for panel, (key, title) in zip(panels, titles.items(), strict=True):
        x, y = [row[key] for row in rows], [row["top1"] for row in rows]
        figures.points(panel, x, y, color=figures.BLUE, marker="o", markersize=10)
        panel.set_xlabel(title)
        panel.set_ylabel("top-1 accuracy on ImageNet (published)")
        panel.margins(x=0.15, y=0.1)
    for panel, key in zip(panels, titles, strict=True):
        x, y = [row[key] for row in rows], [row["top1"] for row in rows]
        figures.label_points(panel, x, y, [row["name"] for row in rows], size=10)
    return figure


def _estimate(panel: Axes, place: float, row: Mapping, *, color: str, marker: str, label: str) -> None:
    if np.isfinite([row["ci_low"], row["ci_high"]]).all():
        panel.plot([place, place], [row["ci_low"], row["ci_high"]], color=color)
    figures.points(panel, [place], [row["mean"]], color=color, marker=marker, markersize=8, label=label)

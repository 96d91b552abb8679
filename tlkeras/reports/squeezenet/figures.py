"""What the arms of report 000 reach, against what they cost."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tlkeras.experiments import figures

_COSTS = {"seconds": "training time (s)", "flops": "training cost (floating-point operations)"}


@figures.in_style
def accuracy_against_cost(
    rows: Sequence[Mapping], *, groups: Mapping[str, Sequence[str]], labels: Mapping[str, str] | None = None
) -> Figure:
    """One point for each arm on logarithmic axes of cost; a line joins the arms that no cheaper one beats.

    Args:
        rows: dicts with `arm`, `accuracy` (fraction of images), `seconds` and `flops`.
        groups: name of a group -> its arms; each group has a colour and a marker.
        labels: short texts for arms, by name.

    Returns:
        A figure with the axes of seconds and of operations.

    Raises:
        ValueError: an arm of a group without a row.
    """
    by_arm = {row["arm"]: row for row in rows}
    missing = [arm for arms in groups.values() for arm in arms if arm not in by_arm]
    if missing:
        raise ValueError(f"Expected a row for each arm of the groups. Received: none for {missing}")
    figure, panels = figures.subplots(1, 2, height=5.0, sharey=True)
    shown = [by_arm[arm] for arms in groups.values() for arm in arms]
    names = [figures.arm_label(row["arm"], labels) for row in shown]
    for panel, (key, title) in zip(panels, _COSTS.items(), strict=True):
        best = front(shown, key)
        panel.plot(*_places(best, key), color=figures.GREY, linewidth=1, linestyle=":", label="best for its cost")
        for (group, arms), (color, marker) in zip(groups.items(), figures.series(), strict=False):
            x, y = _places([by_arm[arm] for arm in arms], key)
            figures.points(panel, x, y, color=color, marker=marker, markersize=10, label=group)
        panel.set_xscale("log")
        panel.margins(x=0.18, y=0.1)
        panel.set_xlabel(title)
    panels[0].set_ylabel(figures.axis_label("test_accuracy"))
    figures.legend_below(figure, panels[0])
    for panel, key in zip(panels, _COSTS, strict=True):
        figures.label_points(panel, *_places(shown, key), names)
    return figure


def front(rows: Sequence[Mapping], cost: str) -> list[Mapping]:
    """Return the rows that are more accurate than every cheaper one, by cost.

    Args:
        rows: dicts with `accuracy` and the key `cost`.
        cost: "seconds" or "flops".
    """
    ordered = sorted(rows, key=lambda row: (row[cost], -row["accuracy"]))
    best = np.maximum.accumulate([-1.0, *(row["accuracy"] for row in ordered)])[:-1]
    return [row for row, before in zip(ordered, best, strict=True) if row["accuracy"] > before]


def _places(rows: Sequence[Mapping], cost: str) -> tuple[list[float], list[float]]:
    return [row[cost] for row in rows], [row["accuracy"] for row in rows]

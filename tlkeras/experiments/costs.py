"""Accuracy against what it cost to train: seconds and floating-point operations, side by side."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tlkeras.experiments import _style

COLUMNS = {"seconds": "training time (s)", "flops": "training cost (floating-point operations)"}


@matplotlib.rc_context(_style.STYLE)
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
    figure, panels = _style.subplots(1, 2, height=5.0, sharey=True)
    for panel, (key, title) in zip(panels, COLUMNS.items(), strict=True):
        _draw_front(panel, [row for arms in groups.values() for row in (by_arm[arm] for arm in arms)], key)
        for (group, arms), (color, marker) in zip(groups.items(), _style.series(), strict=False):
            shown = [by_arm[arm] for arm in arms]
            _style.points(
                panel, [row[key] for row in shown], [row["accuracy"] for row in shown], color=color, marker=marker,
                markersize=10, label=group,
            )  # fmt: skip
            for row in shown:
                text = _style.label(row["arm"], labels)
                panel.annotate(text, (row[key], row["accuracy"]), (0, 8), textcoords="offset points", ha="center")
        panel.set_xscale("log")
        panel.margins(x=0.18, y=0.1)
        panel.set_xlabel(title)
    panels[0].set_ylabel(_style.axis_label("test_accuracy"))
    _style.legend_below(figure, panels[0])
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


def _draw_front(panel: Axes, rows: Sequence[Mapping], key: str) -> None:
    kept = front(rows, key)
    values = ([row[key] for row in kept], [row["accuracy"] for row in kept])
    panel.plot(*values, color=_style.GREY, linewidth=1, linestyle=":", label="best for its cost")

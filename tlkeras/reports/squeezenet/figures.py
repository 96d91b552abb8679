"""Which blocks of a network are frozen, drawn as a row of boxes: figures 1, 3 and 5 of report 000."""

from __future__ import annotations  # Keras is not needed to draw

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlkeras.experiments import figures

if TYPE_CHECKING:
    import keras
from collections.abc import Sequence

import numpy as np

TRAINED = {"facecolor": figures.ORANGE, "edgecolor": figures.BLACK}
FROZEN = {"facecolor": "#E8E8E8", "edgecolor": figures.GREY, "hatch": "///"}


def blocks(model: keras.Model) -> dict[str, int]:
    """Count the parameters of each block with weights: `fire2_squeeze1x1` and its like together are `fire2`.

    Args:
        model: a flat model whose layers are named `block` or `block_part`.
    """
    counted: dict[str, int] = {}
    for layer in model.layers:
        if layer.weights:
            name = layer.name.split("_")[0]
            counted[name] = counted.get(name, 0) + layer.count_params()
    return counted


@matplotlib.rc_context(figures.STYLE)
def frozen_blocks(counts: Mapping[str, int], trained: Mapping[str, Collection[str]]) -> Figure:
    """One row of boxes for each way to train: trained blocks filled, frozen ones hatched, with their parameters.

    Args:
        counts: parameters of each block, from the image to the classes (see `blocks`).
        trained: title of a row -> names of the blocks that it trains.

    Returns:
        A figure with one axes a row.

    Raises:
        ValueError: no rows, or a block that is not in `counts`.
    """
    unknown = sorted({name for names in trained.values() for name in names} - set(counts))
    if unknown or not trained:
        raise ValueError(f"Expected rows of blocks out of {list(counts)}. Received: {unknown or 'no rows'}")
    figure, panels = figures.subplots(len(trained), 1, height=1.75 * len(trained) + 0.4)
    total = sum(counts.values())
    for panel, (title, names) in zip(panels, trained.items(), strict=True):
        own = sum(counts[name] for name in names)
        panel.set_title(f"{title}: {own:,} of {total:,} parameters trained ({own / total:.1%})", loc="left")
        _draw(panel, counts, names)
    figures.legend_below(figure, panels[0])
    return figure


def _draw(panel: Axes, counts: Mapping[str, int], names: Collection[str]) -> None:
    for column, (name, count) in enumerate(counts.items()):
        kind = TRAINED if name in names else FROZEN
        label = "trained" if name in names else "frozen"
        panel.add_patch(Rectangle((column + 0.06, 0), 0.88, 1, label=label, **kind))
        box = {"facecolor": kind["facecolor"], "edgecolor": "none", "pad": 1.5}
        panel.text(column + 0.5, 0.68, name, ha="center", va="center", bbox=box)
        panel.text(column + 0.5, 0.28, _short(count), ha="center", va="center", bbox=box)
    panel.set_xlim(0, len(counts))
    panel.set_ylim(-0.05, 1.05)
    panel.axis("off")


def _short(count: int) -> str:
    return f"{count / 1000:.1f}k" if count < 100_000 else f"{count / 1000:.0f}k"


COLUMNS = {"seconds": "training time (s)", "flops": "training cost (floating-point operations)"}


@matplotlib.rc_context(figures.STYLE)
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
    for panel, (key, title) in zip(panels, COLUMNS.items(), strict=True):
        _draw_front(panel, [row for arms in groups.values() for row in (by_arm[arm] for arm in arms)], key)
        for (group, arms), (color, marker) in zip(groups.items(), figures.series(), strict=False):
            shown = [by_arm[arm] for arm in arms]
            figures.points(
                panel, [row[key] for row in shown], [row["accuracy"] for row in shown], color=color, marker=marker,
                markersize=10, label=group,
            )  # fmt: skip
            for row in shown:
                text = figures.arm_label(row["arm"], labels)
                panel.annotate(text, (row[key], row["accuracy"]), (0, 8), textcoords="offset points", ha="center")
        panel.set_xscale("log")
        panel.margins(x=0.18, y=0.1)
        panel.set_xlabel(title)
    panels[0].set_ylabel(figures.axis_label("test_accuracy"))
    figures.legend_below(figure, panels[0])
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
    panel.plot(*values, color=figures.GREY, linewidth=1, linestyle=":", label="best for its cost")

"""Which blocks of a network are frozen, drawn as a row of boxes: figures 1, 3 and 5 of report 000."""

from __future__ import annotations  # Keras is not needed to draw

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from tlkeras.experiments import _style

if TYPE_CHECKING:
    import keras

TRAINED = {"facecolor": _style.ORANGE, "edgecolor": _style.BLACK}
FROZEN = {"facecolor": "#E8E8E8", "edgecolor": _style.GREY, "hatch": "///"}


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


@matplotlib.rc_context(_style.STYLE)
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
    figure, panels = _style.subplots(len(trained), 1, height=1.75 * len(trained) + 0.4)
    total = sum(counts.values())
    for panel, (title, names) in zip(panels, trained.items(), strict=True):
        own = sum(counts[name] for name in names)
        panel.set_title(f"{title}: {own:,} of {total:,} parameters trained ({own / total:.1%})", loc="left")
        _draw(panel, counts, names)
    _style.legend_below(figure, panels[0])
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

"""The look that all figures share: colours, sizes, and the few parts they are drawn from.

Reference: Okabe and Ito 2008, Color universal design (the palette).
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILLION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#666666"
WIDTH = 8.0  # inches; with 12 point text still readable at half this size
FONT = 12.0
LETTERS = 88  # of this size, side by side across the width
STYLE = {
    "font.size": FONT,
    "axes.titlesize": FONT,
    "figure.titlesize": FONT,
    "axes.labelsize": FONT,
    "legend.fontsize": FONT,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "lines.linewidth": 2.0,
}


def series() -> Iterator[tuple[str, str]]:
    """Colour and marker of one series after the other, without end."""
    return itertools.cycle(zip((BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY, BLACK), "osD^vPX", strict=True))


def subplots(rows: int, columns: int, *, height: float, **options) -> tuple[Figure, list[Axes]]:
    """A figure of the common width, `height` inches high, and its axes row by row; pyplot doesn't keep it."""
    figure, panels = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, **options
    )
    plt.close(figure)
    for panel in panels.flat:
        panel.tick_params(labelsize=FONT)  # ticks made later, when drawing, would take the caller's size
    return figure, list(panels.flat)


def points(panel: Axes, x: Sequence[float], y: Sequence[float], *, marker: str = "o", **style) -> None:
    """Draw separate markers at x and y, both of shape `(n,)`."""
    panel.plot(x, y, linestyle="none", marker=marker, **{"markeredgewidth": 0, **style})


def legend_below(figure: Figure, panel: Axes) -> None:
    """One entry for each label of the panel, in one row where that fits, else in two."""
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    fits = sum(len(label) + 7 for label in unique) <= LETTERS  # 7: the handle and its gaps
    columns = len(unique) if fits else math.ceil(len(unique) / 2)
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def label(arm: str, labels: Mapping[str, str] | None) -> str:
    """The text for an arm: its entry in `labels`, else its name."""
    return (labels or {}).get(arm, arm)


def axis_label(metric: str) -> str:
    """Name and unit of a metric."""
    units = {"accuracy": "fraction of images", "loss": "cross-entropy", "seconds": "s"}
    unit = next((f" ({unit})" for name, unit in units.items() if name in metric), "")
    return words(metric) + unit


def words(name: str) -> str:
    """A name as it is written in text."""
    return name.replace("_", " ")

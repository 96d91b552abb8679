"""How the time of activation maximisation grows with filters and with steps (report 002, EJ4): measured, and drawn."""

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from tlkeras.experiments import figures
from tlkeras.models import tominet
from tlkeras.visualize import objectives, prepare
from tlkeras.visualize.ascent import WIDEST

LAYER, STEPS, ROUNDS = "conv_2", 60, 5


def seconds_by_size(filters: Sequence[int], steps: Sequence[int]) -> list[dict]:
    """Time more and more filters at `STEPS` steps, then more and more steps of 16 filters.

    Args:
        filters: how many, of a TomiNet that has as many in conv_2, with new weights.
        steps: how many.

    Returns:
        Rows of `filters`, `steps`, `seconds` (best of `ROUNDS`, without tracing) and `varied`, the one that grows.
    """
    model = tominet(10, weights=None, filters=(32, max(*filters, WIDEST)))
    sizes = [(count, STEPS, "filters") for count in filters] + [(WIDEST, count, "steps") for count in steps]
    runs = {count: prepare(model, objectives.channel(LAYER, range(count))) for count in {*filters, WIDEST}}
    seconds = [math.inf] * len(sizes)
    for turn in range(ROUNDS + 1):  # in turn, so that other work on the machine disturbs all alike; the first warms up
        for index, (count, length, _) in enumerate(sizes):
            started = time.perf_counter()
            runs[count](steps=length if turn else 1)
            seconds[index] = min(seconds[index], time.perf_counter() - started if turn else math.inf)
    return [
        {"filters": count, "steps": length, "seconds": found, "varied": varied}
        for (count, length, varied), found in zip(sizes, seconds, strict=True)
    ]


@figures.in_style
def time_growth(rows: Sequence[Mapping]) -> Figure:
    """Draw seconds against the number of filters, and against the number of steps, with a line through the origin.

    Args:
        rows: `filters`, `steps`, `seconds`, and in `varied` which of the two grows.

    Returns:
        A figure of two panels. The dashed line is time in proportion, fitted by least squares.
    """
    figure, panels = figures.subplots(1, 2, height=3.4)
    for panel, name in zip(panels, ("filters", "steps"), strict=True):
        own = [row for row in rows if row["varied"] == name]
        x, seconds = (np.array([row[key] for row in own]) for key in (name, "seconds"))
        ends = np.array([0, x.max()])
        panel.plot(ends, ends * (x @ seconds) / (x @ x), "--", color=figures.GREY, label="in proportion")
        figures.points(panel, x, seconds, color=figures.BLUE, markersize=9, label="measured")
        panel.set_xlabel(name)
        panel.set_ylim(bottom=0)
    panels[0].set_ylabel("time (s)")
    figures.legend_below(figure, panels[0])
    return figure

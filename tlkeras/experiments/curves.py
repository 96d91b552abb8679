"""Curves of several arms in one panel, as report 004 compares its four ways."""

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tlkeras.experiments import _style

MOST_OF_A_LOSS = 3.0  # nats; a diverging arm must not flatten the others


@matplotlib.rc_context(_style.STYLE)
def curves_by_arm(
    runs: Sequence[Mapping],
    arms: Sequence[str],
    keys: Sequence[str] = ("loss", "val_loss", "val_roc_auc"),
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw one panel for each curve, and in it one line for each arm: the median over its runs.

    Args:
        runs: stored runs of one profile.
        arms: names of the arms.
        keys: curves out of a run's history; losses are drawn up to 3 nats.
        labels: texts for arms, by name.
        title: above the panels.

    Returns:
        A figure with one axes for each key.

    Raises:
        ValueError: an arm without runs, or a curve that its runs do not have.
    """
    figure, panels = _style.subplots(1, len(keys), height=4.2)
    for panel, key in zip(panels, keys, strict=True):
        for arm, (color, marker) in zip(arms, _style.series(), strict=False):
            values = _median(runs, arm, key)
            epochs = np.arange(1, len(values) + 1)
            label = _style.label(arm, labels)
            panel.plot(epochs, values, color=color, marker=marker, markersize=4, linewidth=1.5, label=label)
        if "loss" in key:
            panel.set_ylim(0, min(MOST_OF_A_LOSS, panel.get_ylim()[1]))
        panel.set_title(_style.words(key).replace("val ", "validation "), loc="left")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("epoch")
    if title:
        figure.suptitle(title)
    _style.legend_below(figure, panels[0])
    return figure


def _median(runs: Sequence[Mapping], arm: str, key: str) -> np.ndarray:
    """Return the median of each epoch that a run of the arm reached; nan where none of them has a value."""
    curves = [run["history"].get(key) for run in runs if run["arm"] == arm]
    if not curves or not all(curves):
        raise ValueError(f"Expected runs of {arm!r} with the curve {key!r}. Received: {len(curves)} runs")
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = np.array(curve, np.float64)  # None becomes nan
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians

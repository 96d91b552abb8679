"""Figures of report 003: accuracy by images of a class, weights of pairs and pixels over training, paths of weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tlkeras.experiments import figures
from tlkeras.reports.l2t.settings import LABELS, METHODS, SOURCE_ALONE

_LEGEND = {method: LABELS[method] for method in (*METHODS, *SOURCE_ALONE)}


@figures.in_style
def accuracy_by_size(rows: Sequence[Mapping], title: str = "") -> Figure:
    """Accuracy against the images of a class, a line for each method: ours with its interval, the report's dashed.

    Args:
        rows: dicts with per_class, method, reported, mean, ci_low, ci_high; what is missing is None or nan.
        title: above the axes.

    Returns:
        A figure with one axes (figure 34 of the report).

    Raises:
        ValueError: no rows.
    """
    figures.check_rows(rows)
    figure, (panel,) = figures.subplots(1, 1, height=4.6)
    for method, (color, marker) in zip(_LEGEND, figures.series(), strict=False):
        own = [row for row in rows if row["method"] == method]
        x = [int(row["per_class"]) for row in own]
        reported, mean, low, high = (
            np.array([row[key] for row in own], float) for key in ("reported", "mean", "ci_low", "ci_high")
        )
        label = _LEGEND[method]
        if np.isfinite(reported).any():
            panel.plot(x, reported, color=color, linestyle="--", linewidth=1, label=f"{label}, report")
        if np.isfinite(mean).any():
            panel.plot(x, mean, color=color, marker=marker, label=f"{label}, ours")
            panel.vlines(x, low, high, color=color)
    panel.set_xscale("log")
    ticks = sorted({int(row["per_class"]) for row in rows})
    panel.set_xticks(ticks, [str(tick) for tick in ticks])
    panel.minorticks_off()
    panel.set_xlabel("training images of a class")
    panel.set_ylabel(figures.axis_label("test_accuracy"))
    panel.set_title(title, loc="left")
    figures.legend_below(figure, panel)
    return figure


@figures.in_style
def pair_weights(where: Sequence[Sequence[float]], epochs: Sequence[int], pairs: Sequence[str]) -> Figure:
    """How much each pair of layers counts, a bar each: before the training, in its middle, and after it.

    Args:
        where: `(looks, pairs)`, 0..6.
        epochs: `(looks,)`, how many had passed.
        pairs: their names.

    Returns:
        A figure with one axes.

    Raises:
        ValueError: looks, epochs and pairs that do not fit together.
    """
    weights = np.asarray(where, float)
    if weights.shape != (len(epochs), len(pairs)) or not len(pairs):
        raise ValueError(f"Expected weights ({len(epochs)}, {len(pairs)}). Received: shape={weights.shape}")
    figure, (panel,) = figures.subplots(1, 1, height=5.0)
    looks = sorted({0, len(epochs) // 2, len(epochs) - 1})
    width = 0.8 / len(looks)
    for place, (look, (color, _)) in enumerate(zip(looks, figures.series(), strict=False)):
        x = np.arange(len(pairs)) + (place - (len(looks) - 1) / 2) * width
        panel.bar(x, weights[look], width, color=color, label=f"after {epochs[look]} epochs")
    panel.set_xticks(range(len(pairs)), pairs, rotation=60, ha="right")
    panel.set_ylabel("weight of the pair (0..6)")
    figures.legend_below(figure, panel)
    return figure


@figures.in_style
def channel_weights(what: np.ndarray, title: str = "") -> Figure:
    """How much each channel of the source counts for one pair: means over images, and the range over them.

    Args:
        what: `(images, channels)`, each row adds up to 1.
        title: above the axes.

    Returns:
        A figure with one axes; a dashed line where all channels would weigh the same.

    Raises:
        ValueError: no images, or other dimensions.
    """
    what = np.asarray(what, float)
    if what.ndim != 2 or not what.size:
        raise ValueError(f"Expected weights (images, channels). Received: shape={what.shape}")
    figure, (panel,) = figures.subplots(1, 1, height=3.8)
    color, marker = next(iter(figures.series()))
    x = np.arange(what.shape[1])
    panel.vlines(x, what.min(0), what.max(0), color=color, label="range over the images")
    panel.plot(x, what.mean(0), color=color, marker=marker, linestyle="", label="mean")
    panel.axhline(1 / len(x), color="black", linestyle="--", linewidth=1, label="all alike")
    panel.set_ylim(0, 1.2 * what.max())  # from zero, so that small differences look small
    panel.set_xlabel("channel of the source")
    panel.set_ylabel("weight of the channel")
    panel.set_title(title, loc="left")
    figures.legend_below(figure, panel)
    return figure


@figures.in_style
def pixel_weights(which: np.ndarray, epochs: Sequence[int], channels: Sequence[int]) -> Figure:
    """How the weights of a map's nine regions change, a panel for each channel (figure 35 of the report).

    Args:
        which: `(looks, channels, 9)`, above 0.
        epochs: `(looks,)`, how many had passed.
        channels: their numbers.

    Returns:
        A figure with one axes a channel.

    Raises:
        ValueError: looks, epochs and channels that do not fit together.
    """
    which = np.asarray(which, float)
    if which.shape != (len(epochs), len(channels), 9):
        raise ValueError(f"Expected weights ({len(epochs)}, {len(channels)}, 9). Received: shape={which.shape}")
    figure, panels = figures.subplots(1, len(channels), height=3.8, sharey=True)
    for number, (panel, channel) in enumerate(zip(panels, channels, strict=True)):
        for region, (color, marker) in zip(range(9), figures.series(), strict=False):
            style: dict[str, Any] = {"color": color, "marker": marker, "linestyle": "-" if region < 7 else "--"}
            style |= {"markevery": (region, 9), "markersize": 5, "linewidth": 1.5}
            panel.plot(epochs, which[:, number, region], label=f"row {region // 3}, column {region % 3}", **style)
        panel.set_title(f"channel {channel}", loc="left")
        panel.set_xlabel("epoch")
    panels[0].set_ylabel("weight of the region")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@figures.in_style
def paths(weights: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Single weights of the target over training, a panel each, a line for each method (figure 36 of the report).

    Args:
        weights: by method, `(epochs + 1, weights)`.
        names: of the weights.

    Returns:
        A figure with one axes a weight, two in a row.

    Raises:
        ValueError: no methods, or other than one name a weight.
    """
    arrays = {method: np.asarray(values, float) for method, values in weights.items()}
    if not arrays or any(values.ndim != 2 or values.shape[1] != len(names) for values in arrays.values()):
        shapes = {method: values.shape for method, values in arrays.items()}
        raise ValueError(f"Expected paths (epochs + 1, {len(names)}) by method. Received: {shapes}")
    rows = -(-len(names) // 2)
    figure, panels = figures.subplots(rows, 2, height=2.6 * rows + 0.8, sharex=True)
    for panel in panels[len(names) :]:
        panel.axis("off")
    for number, (panel, name) in enumerate(zip(panels, names, strict=False)):
        for (method, values), (color, _), line in zip(
            arrays.items(), figures.series(), ("-", ":", "-.", "--"), strict=False
        ):
            panel.plot(values[:, number], line, color=color, linewidth=1.5, label=_LEGEND.get(method, method))
        panel.set_title(name, loc="left")
        panel.set_ylabel("value of the weight")
    for panel in panels[-2:]:
        panel.set_xlabel("epoch")
    figures.legend_below(figure, panels[0])
    return figure

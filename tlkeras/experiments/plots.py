"""Figures of stored runs. Each function returns a matplotlib figure that pyplot no longer holds.

In a notebook let the figure be the last value of the cell, or call `display(figure)`: it is then shown once, and
figures don't pile up. Nothing global is changed: the look lies in `_style`, for the time of the call.
"""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats as scipy_stats

from tlkeras.experiments import _style, stats, tables

FEW_EPOCHS = 15  # up to here each epoch gets a point


@matplotlib.rc_context(_style.STYLE)
def learning_curves(
    runs_or_history: Mapping | Sequence[Mapping], *, title: str = "", phase_boundaries: bool = True
) -> Figure:
    """Accuracy and loss against the epoch, training and validation, as in the reports' figures.

    Args:
        runs_or_history: a history (`accuracy`, `loss`, `val_accuracy`, `val_loss`, `phase`: lists with one entry an
            epoch), a run, or several runs of one arm, drawn as their median and a band from the 10th to the 90th
            percentile.
        title: above both panels.
        phase_boundaries: whether to mark where the phase of training changes, and name the phases.

    Returns:
        A figure with the axes accuracy and loss. Epochs without validation (None) are left out of its line.

    Raises:
        ValueError: for no runs at all, or none with a history.
    """
    histories = _histories(runs_or_history)
    figure, panels = _style.subplots(1, 2, height=4.0)
    if title:
        figure.suptitle(title)
    for panel, metric in zip(panels, ("accuracy", "loss"), strict=True):
        _draw_curve(panel, histories, metric, label="training", color=_style.BLUE, linestyle="-")
        _draw_curve(panel, histories, f"val_{metric}", label="validation", color=_style.VERMILLION, linestyle="--")
        panel.set_xlabel("epoch")
        panel.set_ylabel(_style.axis_label(metric))
        if phase_boundaries:
            _mark_phases(panel, max((history.get("phase", ()) for history in histories), key=len))
    if len(histories) > 1:
        panels[0].fill_between(
            [], [], [], color=_style.GREY, alpha=0.25, label=f"median, 10 to 90 % of {len(histories)} runs"
        )
    _style.legend_below(figure, panels[0])
    return figure


@matplotlib.rc_context(_style.STYLE)
def accuracy_by_arm(
    runs: Sequence[Mapping],
    arms: Sequence[str],
    metric: str,
    *,
    reference: Mapping[tuple[str, str], Mapping] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """One row for each arm: every run a light dot, their mean with its 95 % interval, and the number of the report.

    Args:
        runs: stored runs of one profile.
        arms: names of the arms, from top to bottom.
        metric: name of the metric on the x axis.
        reference: the report's numbers, `{(arm, metric): {"value": 0.67}}`.
        labels: texts for arms, by name; an arm without one keeps its name.

    Returns:
        A figure with one axes; the row of arm i lies at y = i.

    Raises:
        ValueError: as `tables.metric_by_seed` does.
    """
    figure, (panel,) = _style.subplots(1, 1, height=1.6 + 0.7 * len(arms))
    ticks = []
    for row, arm in enumerate(arms):
        values = list(tables.metric_by_seed(runs, arm, metric).values())
        _draw_row(panel, row, values)
        if number := (reference or {}).get((arm, metric)):
            style = {"color": _style.VERMILLION, "marker": "D", "markersize": 10, "zorder": 4}
            _style.points(panel, [number["value"]], [row], label="report (n=1)", **style)
        ticks.append(f"{_style.label(arm, labels)}\n(n={len(values)})")
    panel.set_yticks(range(len(arms)), ticks)
    panel.set_ylim(len(arms) - 0.5, -0.5)
    panel.set_xlabel(_style.axis_label(metric))
    _style.legend_below(figure, panel)
    return figure


@matplotlib.rc_context(_style.STYLE)
def draw_effect(
    runs: Sequence[Mapping], arms: Sequence[str], metric: str, *, labels: Mapping[str, str] | None = None
) -> Figure:
    """Which draws of the training examples are bad for every arm: the metric of each draw, sorted by the first arm.

    Args:
        runs: stored runs of one profile, where equal seeds mean equal draws.
        arms: names of the arms; the first one orders the draws.
        metric: name of the metric on the y axis.
        labels: texts for arms, by name.

    Returns:
        A figure with the axes of the draws and, from two arms on, the axes of Spearman's rank correlations between
        arms. Only draws that all arms have are shown.

    Raises:
        ValueError: where the arms share fewer than two draws, and as `tables.metric_by_seed` does.
    """
    by_arm = [tables.metric_by_seed(runs, arm, metric) for arm in arms]
    seeds = sorted(set.intersection(*map(set, by_arm)), key=by_arm[0].get)
    if len(seeds) < 2:
        raise ValueError(f"Expected at least two seeds that all of {', '.join(arms)} have. Received: {seeds}")
    scores = np.array([[values[seed] for seed in seeds] for values in by_arm])
    names = [_style.label(arm, labels) for arm in arms]
    figure, panels = _style.subplots(1, min(len(arms), 2), height=4.2, width_ratios=[2.2, 1][: len(arms)])
    draws = np.arange(1, len(seeds) + 1)
    panels[0].vlines(draws, scores.min(axis=0), scores.max(axis=0), color=_style.GREY, linewidth=0.8, alpha=0.5)
    for name, values, (color, marker) in zip(names, scores, _style.series(), strict=False):
        _style.points(panels[0], draws, values, color=color, marker=marker, markersize=7, label=name)
    panels[0].set_xlim(0.3, len(seeds) + 0.7)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_xlabel(f'draw, sorted by "{names[0]}"')
    panels[0].set_ylabel(_style.axis_label(metric))
    if len(arms) > 1:
        _draw_correlations(panels[1], scores)
    _style.legend_below(figure, panels[0])
    return figure


@matplotlib.rc_context(_style.STYLE)
def metric_pairs(
    runs: Sequence[Mapping],
    arms: Sequence[str],
    metric_before: str,
    metric_after: str,
    *,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Two metrics of the same runs, one panel for each arm: a thin line for each run, a thick one for the mean.

    Args:
        runs: stored runs of one profile.
        arms: names of the arms, from left to right.
        metric_before, metric_after: names of the metrics at the left and right end of the lines.
        labels: texts for arms, by name.

    Returns:
        A figure with one axes for each arm, on one scale; the last line of each is the mean.

    Raises:
        ValueError: as `tables.metric_by_seed` does.
    """
    figure, panels = _style.subplots(1, len(arms), height=4.2, sharey=True)
    for panel, arm, (color, _) in zip(panels, arms, _style.series(), strict=False):
        before, after = (tables.metric_by_seed(runs, arm, metric) for metric in (metric_before, metric_after))
        pairs = np.array([[before[seed], after[seed]] for seed in before if seed in after])
        panel.plot([0, 1], pairs.T, color=color, linewidth=0.8, alpha=0.4)
        panel.plot([0, 1], pairs.mean(axis=0), color=color, linewidth=4, marker="o", markersize=9)
        name = textwrap.fill(_style.label(arm, labels), int(_style.LETTERS / len(arms)))
        panel.set_title("{}\n{:.2f} \N{RIGHTWARDS ARROW} {:.2f}\n(n={})".format(name, *pairs.mean(axis=0), len(pairs)))
        panel.set_xticks([0, 1], ["before", "after"])
        panel.set_xlim(-0.5, 1.5)
    panels[0].set_ylabel(_style.axis_label(metric_before))
    before, after = map(_style.words, (metric_before, metric_after))
    figure.supxlabel(f"before: {before}, after: {after}", fontsize=_style.FONT)
    return figure


def _histories(runs_or_history: Mapping | Sequence[Mapping]) -> list[Mapping]:
    records = [runs_or_history] if isinstance(runs_or_history, Mapping) else runs_or_history
    histories = [record.get("history", record) for record in records]
    if not any(history.get("loss") for history in histories):
        raise ValueError(f"Expected a history, or runs with one, of at least one epoch. Received: {histories!r}")
    return histories


def _draw_curve(panel: Axes, histories: Sequence[Mapping], key: str, **style) -> None:
    curves = [np.array(history.get(key, ()), dtype=np.float64) for history in histories]  # None becomes nan
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = np.where(np.isfinite(curve), curve, np.nan)
    kept = np.isfinite(values).any(axis=0)
    if not kept.any():
        return
    epochs, values = np.flatnonzero(kept) + 1, values[:, kept]
    panel.plot(epochs, np.nanmedian(values, axis=0), marker="o" if len(epochs) <= FEW_EPOCHS else "", **style)
    if len(curves) > 1:
        low, high = np.nanpercentile(values, [10, 90], axis=0)
        panel.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _mark_phases(panel: Axes, phases: Sequence[str]) -> None:
    groups = [(name, len(list(epochs))) for name, epochs in itertools.groupby(phases)]
    if len(groups) < 2:
        return
    ends = 0.5 + np.cumsum([0, *(length for _, length in groups)])
    for boundary in ends[1:-1]:
        panel.axvline(boundary, color=_style.GREY, linewidth=1, linestyle=":")
    style = {"color": _style.GREY, "ha": "center", "va": "bottom", "transform": panel.get_xaxis_transform()}
    for (name, length), end in zip(groups, ends[1:], strict=True):
        panel.text(end - length / 2, 1.01, _style.words(name), **style)


def _draw_row(panel: Axes, row: int, values: Sequence[float]) -> None:
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    summary = stats.summarize(values)
    _style.points(panel, values, row + jitter, color=_style.SKY, markersize=7, alpha=0.7, label="one run")
    interval = [summary.ci_low, summary.ci_high]
    panel.plot(interval, [row, row], color=_style.BLACK, linewidth=4, label="mean, 95 % interval")
    _style.points(panel, [summary.mean], [row], color=_style.BLACK, marker="|", markersize=20, markeredgewidth=3)


def _draw_correlations(panel: Axes, scores: np.ndarray) -> None:
    """A triangle of numbers; the marker of each arm on the diagonal says what row and column mean."""
    count = len(scores)
    matrix = np.full((count, count), np.nan)
    for row, column in itertools.combinations(range(count), 2):
        matrix[column, row] = _spearman(scores[row], scores[column])
        panel.text(row, column, f"{matrix[column, row]:.2f}", ha="center", va="center")
    panel.imshow(matrix, cmap="PuOr_r", vmin=-1, vmax=1, alpha=0.5)
    for index, (color, marker) in zip(range(count), _style.series(), strict=False):
        _style.points(panel, [index], [index], color=color, marker=marker, markersize=10)
    panel.set_title(f"rank correlation\n(Spearman, n={scores.shape[1]})")
    panel.axis("off")


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(scipy_stats.spearmanr(first, second).statistic)

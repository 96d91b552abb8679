"""The look that all figures share: colours, sizes, and the few parts they are drawn from.

Reference: Okabe and Ito 2008, Color universal design (the palette).
"""

import itertools
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy import stats as scipy_stats

from tlkeras.experiments import stats
from tlkeras.experiments.runs import Runs

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
    fits = sum(len(arm_label) + 7 for arm_label in unique) <= LETTERS  # 7: the handle and its gaps
    columns = len(unique) if fits else math.ceil(len(unique) / 2)
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def arm_label(arm: str, labels: Mapping[str, str] | None) -> str:
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


pass

MOST_OF_A_LOSS = 3.0  # nats; a diverging arm must not flatten the others


@matplotlib.rc_context(STYLE)
def curves_by_arm(
    runs: Runs,
    arms: Sequence[str],
    keys: Sequence[str] = ("loss", "val_loss", "val_roc_auc"),
    *,
    labels: Mapping[str, str] | None = None,
    title: str = "",
) -> Figure:
    """Draw one panel for each curve, and in it one line for each arm: the median over its runs.

    Args:
        runs: runs of one profile.
        arms: names of the arms.
        keys: curves out of a run's history; losses are drawn up to 3 nats.
        labels: texts for arms, by name.
        title: above the panels.

    Returns:
        A figure with one axes for each key.

    Raises:
        ValueError: an arm without runs, or a curve that its runs do not have.
    """
    figure, panels = subplots(1, len(keys), height=4.2)
    for panel, key in zip(panels, keys, strict=True):
        for arm, (color, marker) in zip(arms, series(), strict=False):
            values = _median(runs, arm, key)
            epochs = np.arange(1, len(values) + 1)
            label = arm_label(arm, labels)
            panel.plot(epochs, values, color=color, marker=marker, markersize=4, linewidth=1.5, label=label)
        if "loss" in key:
            panel.set_ylim(0, min(MOST_OF_A_LOSS, panel.get_ylim()[1]))
        panel.set_title(words(key).replace("val ", "validation "), loc="left")
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))
        panel.set_xlabel("epoch")
    if title:
        figure.suptitle(title)
    legend_below(figure, panels[0])
    return figure


def _median(runs: Runs, arm: str, key: str) -> np.ndarray:
    """Return the median of each epoch that a run of the arm reached; nan where none of them has a value."""
    curves = [run.history.get(key) for run in runs.of(arm)]
    if not curves or not all(curves):
        raise ValueError(f"Expected runs of {arm!r} with the curve {key!r}. Received: {len(curves)} runs")
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = np.array(curve, np.float64)  # None becomes nan
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians


FEW_EPOCHS = 15  # up to here each epoch gets a point


@matplotlib.rc_context(STYLE)
def learning_curves(runs_or_history: Runs | Mapping, *, title: str = "", phase_boundaries: bool = True) -> Figure:
    """Accuracy and loss against the epoch, training and validation, as in the reports' figures.

    Args:
        runs_or_history: runs of one arm, drawn as their median and a band from the 10th to the 90th percentile; or
            a single history (`accuracy`, `loss`, `val_accuracy`, `val_loss`, `phase`: lists with one entry an epoch).
        title: above both panels.
        phase_boundaries: whether to mark where the phase of training changes, and name the phases.

    Returns:
        A figure with the axes accuracy and loss. Epochs without validation (None) are left out of its line.

    Raises:
        ValueError: for no runs at all, or none with a history.
    """
    histories = _histories(runs_or_history)
    figure, panels = subplots(1, 2, height=4.0)
    if title:
        figure.suptitle(title)
    for panel, metric in zip(panels, ("accuracy", "loss"), strict=True):
        _draw_curve(panel, histories, metric, label="training", color=BLUE, linestyle="-")
        _draw_curve(panel, histories, f"val_{metric}", label="validation", color=VERMILLION, linestyle="--")
        panel.set_xlabel("epoch")
        panel.set_ylabel(axis_label(metric))
        if phase_boundaries:
            _mark_phases(panel, max((history.get("phase", ()) for history in histories), key=len))
    if len(histories) > 1:
        panels[0].fill_between([], [], [], color=GREY, alpha=0.25, label=f"median, 10 to 90 % of {len(histories)} runs")
    legend_below(figure, panels[0])
    return figure


@matplotlib.rc_context(STYLE)
def accuracy_by_arm(
    runs: Runs,
    arms: Sequence[str],
    metric: str,
    *,
    reference: Mapping[tuple[str, str], Mapping] | None = None,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """One row for each arm: every run a light dot, their mean with its 95 % interval, and the number of the report.

    Args:
        runs: runs of one profile.
        arms: names of the arms, from top to bottom.
        metric: name of the metric on the x axis.
        reference: the report's numbers, `{(arm, metric): {"value": 0.67}}`.
        labels: texts for arms, by name; an arm without one keeps its name.

    Returns:
        A figure with one axes; the row of arm i lies at y = i.

    Raises:
        ValueError: as `Runs.scores` does.
    """
    figure, (panel,) = subplots(1, 1, height=1.6 + 0.7 * len(arms))
    ticks = []
    for row, arm in enumerate(arms):
        values = list(runs.scores(arm, metric).values())
        _draw_row(panel, row, values)
        if number := (reference or {}).get((arm, metric)):
            style = {"color": VERMILLION, "marker": "D", "markersize": 10, "zorder": 4}
            points(panel, [number["value"]], [row], label="report (n=1)", **style)
        ticks.append(f"{arm_label(arm, labels)}\n(n={len(values)})")
    panel.set_yticks(range(len(arms)), ticks)
    panel.set_ylim(len(arms) - 0.5, -0.5)
    panel.set_xlabel(axis_label(metric))
    legend_below(figure, panel)
    return figure


@matplotlib.rc_context(STYLE)
def draw_effect(runs: Runs, arms: Sequence[str], metric: str, *, labels: Mapping[str, str] | None = None) -> Figure:
    """Which draws of the training examples are bad for every arm: the metric of each draw, sorted by the first arm.

    Args:
        runs: runs of one profile, where equal seeds mean equal draws.
        arms: names of the arms; the first one orders the draws.
        metric: name of the metric on the y axis.
        labels: texts for arms, by name.

    Returns:
        A figure with the axes of the draws and, from two arms on, the axes of Spearman's rank correlations between
        arms. Only draws that all arms have are shown.

    Raises:
        ValueError: where the arms share fewer than two draws, and as `Runs.scores` does.
    """
    by_arm = [runs.scores(arm, metric) for arm in arms]
    seeds = sorted(set.intersection(*map(set, by_arm)), key=by_arm[0].get)
    if len(seeds) < 2:
        raise ValueError(f"Expected at least two seeds that all of {', '.join(arms)} have. Received: {seeds}")
    scores = np.array([[values[seed] for seed in seeds] for values in by_arm])
    names = [arm_label(arm, labels) for arm in arms]
    figure, panels = subplots(1, min(len(arms), 2), height=4.2, width_ratios=[2.2, 1][: len(arms)])
    draws = np.arange(1, len(seeds) + 1)
    panels[0].vlines(draws, scores.min(axis=0), scores.max(axis=0), color=GREY, linewidth=0.8, alpha=0.5)
    for name, values, (color, marker) in zip(names, scores, series(), strict=False):
        points(panels[0], draws, values, color=color, marker=marker, markersize=7, label=name)
    panels[0].set_xlim(0.3, len(seeds) + 0.7)
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_xlabel(f'draw, sorted by "{names[0]}"')
    panels[0].set_ylabel(axis_label(metric))
    if len(arms) > 1:
        _draw_correlations(panels[1], scores)
    legend_below(figure, panels[0])
    return figure


@matplotlib.rc_context(STYLE)
def metric_pairs(
    runs: Runs,
    arms: Sequence[str],
    metric_before: str,
    metric_after: str,
    *,
    labels: Mapping[str, str] | None = None,
) -> Figure:
    """Two metrics of the same runs, one panel for each arm: a thin line for each run, a thick one for the mean.

    Args:
        runs: runs of one profile.
        arms: names of the arms, from left to right.
        metric_before, metric_after: names of the metrics at the left and right end of the lines.
        labels: texts for arms, by name.

    Returns:
        A figure with one axes for each arm, on one scale; the last line of each is the mean.

    Raises:
        ValueError: as `Runs.scores` does.
    """
    figure, panels = subplots(1, len(arms), height=4.2, sharey=True)
    for panel, arm, (color, _) in zip(panels, arms, series(), strict=False):
        before, after = (runs.scores(arm, metric) for metric in (metric_before, metric_after))
        pairs = np.array([[before[seed], after[seed]] for seed in before if seed in after])
        panel.plot([0, 1], pairs.T, color=color, linewidth=0.8, alpha=0.4)
        panel.plot([0, 1], pairs.mean(axis=0), color=color, linewidth=4, marker="o", markersize=9)
        name = textwrap.fill(arm_label(arm, labels), int(LETTERS / len(arms)))
        panel.set_title("{}\n{:.2f} \N{RIGHTWARDS ARROW} {:.2f}\n(n={})".format(name, *pairs.mean(axis=0), len(pairs)))
        panel.set_xticks([0, 1], ["before", "after"])
        panel.set_xlim(-0.5, 1.5)
    panels[0].set_ylabel(axis_label(metric_before))
    before, after = map(words, (metric_before, metric_after))
    figure.supxlabel(f"before: {before}, after: {after}", fontsize=FONT)
    return figure


def _histories(runs_or_history: Runs | Mapping) -> list[Mapping]:
    if isinstance(runs_or_history, Runs):
        histories: list[Mapping] = [run.history for run in runs_or_history]
    else:
        histories = [runs_or_history.get("history", runs_or_history)]  # of a weight file's record, too
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
        panel.axvline(boundary, color=GREY, linewidth=1, linestyle=":")
    style = {"color": GREY, "ha": "center", "va": "bottom", "transform": panel.get_xaxis_transform()}
    for (name, length), end in zip(groups, ends[1:], strict=True):
        panel.text(end - length / 2, 1.01, words(name), **style)


def _draw_row(panel: Axes, row: int, values: Sequence[float]) -> None:
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, len(values))
    summary = stats.summarize(values)
    points(panel, values, row + jitter, color=SKY, markersize=7, alpha=0.7, label="one run")
    interval = [summary.ci_low, summary.ci_high]
    panel.plot(interval, [row, row], color=BLACK, linewidth=4, label="mean, 95 % interval")
    points(panel, [summary.mean], [row], color=BLACK, marker="|", markersize=20, markeredgewidth=3)


def _draw_correlations(panel: Axes, scores: np.ndarray) -> None:
    """A triangle of numbers; the marker of each arm on the diagonal says what row and column mean."""
    count = len(scores)
    matrix = np.full((count, count), np.nan)
    for row, column in itertools.combinations(range(count), 2):
        matrix[column, row] = _spearman(scores[row], scores[column])
        panel.text(row, column, f"{matrix[column, row]:.2f}", ha="center", va="center")
    panel.imshow(matrix, cmap="PuOr_r", vmin=-1, vmax=1, alpha=0.5)
    for index, (color, marker) in zip(range(count), series(), strict=False):
        points(panel, [index], [index], color=color, marker=marker, markersize=10)
    panel.set_title(f"rank correlation\n(Spearman, n={scores.shape[1]})")
    panel.axis("off")


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return math.nan
    return float(scipy_stats.spearmanr(first, second).statistic)

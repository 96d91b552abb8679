"""Figures of runs and networks, and the look and the parts that all figures share.

Reference: Okabe and Ito 2008, Color universal design (the palette).
"""

from __future__ import annotations

import base64
import io
import itertools
import math
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from PIL import Image
from scipy.stats import spearmanr

from tlkeras.experiments import stats
from tlkeras.experiments.runs import Run, Runs

if TYPE_CHECKING:
    import keras  # drawing does without

BLACK = "#000000"
ORANGE = "#E69F00"
SKY = "#56B4E9"
_GREEN = "#009E73"
BLUE = "#0072B2"
VERMILLION = "#D55E00"
_PURPLE = "#CC79A7"
GREY = "#666666"
_LIGHT_GREY = "#E8E8E8"
WIDTH = 8.0  # inches; with 12 point text still readable at half this size
FONT = 12.0  # points
_LETTERS = 88  # of this size, side by side across the width
_STYLE: Any = {
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
_SIDES = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1))  # where a point's label may be
_HORIZONTAL = {-1: "right", 0: "center", 1: "left"}  # alignment of a label on such a side
_VERTICAL = {-1: "top", 0: "center", 1: "bottom"}
_TEXT_COST = 3  # points that a label covers rather than a text or the frame
_GAP = 8.0  # points between a point and its label
_MARKER = 12.0  # points, across
_DPI = 100  # of the picture that a notebook stores
_GREYS, _COLOURS = 32, 128  # of such a picture

Numbers = Sequence[float] | np.ndarray
in_style = matplotlib.rc_context(_STYLE)  # decorates each function that draws, so that nothing global changes

_FEW_EPOCHS = 15  # up to here each epoch gets a marker
MOST_OF_A_LOSS = 3.0  # nats; an arm that diverges must not flatten the others
_TRAINED: dict[str, Any] = {"facecolor": ORANGE, "edgecolor": BLACK}
FROZEN: dict[str, Any] = {"facecolor": _LIGHT_GREY, "edgecolor": GREY, "hatch": "///"}


class _Drawing(Figure):
    """A figure that a notebook stores as a picture of few colours, a quarter as large and the same to the eye."""

    def _ipython_display_(self) -> None:  # Jupyter's own way to draw figures would come before any other method
        from IPython.display import display  # only where IPython asks

        picture = base64.b64encode(_small_picture(self)).decode("ascii")
        display({"image/png": picture, "text/plain": repr(self)}, raw=True)


def _small_picture(figure: Figure) -> bytes:
    """Return a figure as a PNG of `_COLOURS`, or of `_GREYS` where nothing is coloured."""
    drawn, stored = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.1)
    picture = Image.open(drawn).convert("RGB")
    red, green, blue = (band.tobytes() for band in picture.split())
    picture.quantize(_GREYS if red == green == blue else _COLOURS, dither=Image.Dither.NONE).save(
        stored, "PNG", optimize=True
    )
    return stored.getvalue()


def series() -> Iterator[tuple[str, str]]:
    """Colour and marker of one series after the other, without end."""
    return itertools.cycle(zip((BLUE, VERMILLION, _GREEN, _PURPLE, ORANGE, SKY, BLACK), "osD^vPX", strict=True))


def subplots(rows: int, columns: int, *, height: float, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the common width, `height` inches high, and its axes row by row; pyplot doesn't keep it."""
    figure, panels = plt.subplots(
        rows, columns, figsize=(WIDTH, height), layout="constrained", squeeze=False, FigureClass=_Drawing, **options
    )
    plt.close(figure)
    for panel in panels.flat:
        panel.tick_params(labelsize=FONT)  # ticks made later, when drawing, would take the caller's size
    return figure, list(panels.flat)


def points(panel: Axes, x: Numbers, y: Numbers, *, marker: str = "o", **style: Any) -> None:
    """Draw separate markers at x and y, both of shape `(n,)`."""
    panel.plot(x, y, linestyle="none", marker=marker, **{"markeredgewidth": 0, **style})


def label_points(panel: Axes, x: Numbers, y: Numbers, texts: Sequence[str], *, size: float = FONT) -> None:
    """Write a text beside each point, on the side where it covers the fewest points and earlier texts.

    Call it when everything is drawn, the legend too, and the scales are set, since places depend on the axes.

    Args:
        panel: with the points.
        x, y: of the points, shapes `(n,)`.
        texts: one a point; empty for none.
        size: of the letters, in points.
    """
    panel.autoscale_view()
    figure: Any = panel.get_figure(root=True)
    figure.draw_without_rendering()  # the layout moves the axes
    scale = 72 / figure.dpi  # points a pixel
    low, high = panel.bbox.get_points() * scale
    boxes = [(place, np.full(2, _MARKER), 1) for place in panel.transData.transform(np.column_stack([x, y])) * scale]
    for (place, *_), text, *position in zip(tuple(boxes), texts, x, y, strict=True):
        if text:
            extent = size * np.array([0.6 * len(text), 1.2])
            centres = [place + side * (_GAP + extent / 2) for side in np.array(_SIDES)]
            costs = [
                _TEXT_COST * bool(np.any(centre - extent / 2 < low) or np.any(centre + extent / 2 > high))
                + sum(cost for other, sides, cost in boxes if np.all(np.abs(centre - other) < (extent + sides) / 2))
                for centre in centres
            ]
            best = int(np.argmin(costs))
            boxes.append((centres[best], extent, _TEXT_COST))
            across, along = _SIDES[best]
            style: dict[str, Any] = {"ha": _HORIZONTAL[across], "va": _VERTICAL[along], "fontsize": size}
            panel.annotate(text, tuple(position), (_GAP * across, _GAP * along), textcoords="offset points", **style)


def legend_below(figure: Figure, panel: Axes) -> None:
    """One entry for each label of the panel, in as few rows as the width allows."""
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    widths = [len(label) + 7 for label in unique]  # in letters; 7: the handle and its gaps
    columns = next(
        count
        for count in (math.ceil(len(widths) / rows) for rows in itertools.count(1))
        if count == 1 or sum(max(column) for column in np.array_split(widths, count)) <= _LETTERS
    )
    figure.legend(unique.values(), unique.keys(), loc="outside lower center", ncols=columns)


def arm_label(arm: str, labels: Mapping[str, str] | None) -> str:
    """The text for an arm: its entry in `labels`, else its name in words."""
    return (labels or {}).get(arm, words(arm))


def plain(text: str) -> str:
    """Return text, such as a name that somebody else gave, in which Matplotlib sees no formula."""
    return text.replace("$", r"\$")


def axis_label(metric: str) -> str:
    """Name and unit of a metric."""
    units = {"accuracy": "fraction of images", "loss": "cross-entropy", "seconds": "s"}
    unit = next((f" ({unit})" for name, unit in units.items() if name in metric), "")
    return words(metric).replace("val ", "validation ").replace("roc auc", "ROC AUC") + unit


def words(name: str) -> str:
    """A name as it is written in text."""
    return name.replace("_", " ")


def check_rows(rows: Sequence[Mapping]) -> None:
    """Refuse to draw nothing.

    Raises:
        ValueError: no rows.
    """
    if not rows:
        raise ValueError("Expected at least one row. Received: none")


@in_style
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


@in_style
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
            values = _median_curve(runs, arm, key)
            epochs = np.arange(1, len(values) + 1)
            label = arm_label(arm, labels)
            panel.plot(epochs, values, color=color, marker=marker, markersize=4, linewidth=1.5, label=label)
        if "loss" in key:
            panel.set_ylim(0, min(MOST_OF_A_LOSS, panel.get_ylim()[1]))
        panel.set_ylabel(axis_label(key))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        panel.set_xlabel("epoch")
    if title:
        figure.suptitle(title)
    legend_below(figure, panels[0])
    return figure


@in_style
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
            style: dict[str, Any] = {"color": VERMILLION, "markersize": 10, "zorder": 4}
            points(panel, [number["value"]], [row], marker="D", label="report (n=1)", **style)
        ticks.append(f"{arm_label(arm, labels)}\n(n={len(values)})")
    panel.set_yticks(range(len(arms)), ticks)
    panel.set_ylim(len(arms) - 0.5, -0.5)
    panel.set_xlabel(axis_label(metric))
    legend_below(figure, panel)
    return figure


@in_style
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
    seeds = sorted(set.intersection(*map(set, by_arm)), key=by_arm[0].__getitem__)
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


@in_style
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
        name = textwrap.fill(arm_label(arm, labels), int(_LETTERS / len(arms)))
        panel.set_title("{}\n{:.2f} \N{RIGHTWARDS ARROW} {:.2f}\n(n={})".format(name, *pairs.mean(axis=0), len(pairs)))
        panel.set_xticks([0, 1], ["before", "after"])
        panel.set_xlim(-0.5, 1.5)
    panels[0].set_ylabel(axis_label(metric_before))
    figure.supxlabel(f"before: {words(metric_before)}, after: {words(metric_after)}", fontsize=FONT)
    return figure


def parameters_by_block(model: keras.Model) -> dict[str, int]:
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


@in_style
def frozen_blocks(counts: Mapping[str, int], trained: Mapping[str, Collection[str]]) -> Figure:
    """One row of boxes for each way to train: trained blocks filled, frozen ones hatched, with their parameters.

    Args:
        counts: parameters of each block, from the image to the classes (see `parameters_by_block`).
        trained: title of a row -> names of the blocks that it trains.

    Returns:
        A figure with one axes a row.

    Raises:
        ValueError: no rows, or a block that is not in `counts`.
    """
    unknown = sorted({name for names in trained.values() for name in names} - set(counts))
    if unknown or not trained:
        raise ValueError(f"Expected rows of blocks out of {list(counts)}. Received: {unknown or 'no rows'}")
    figure, panels = subplots(len(trained), 1, height=1.75 * len(trained) + 0.4)
    total = sum(counts.values())
    for panel, (title, names) in zip(panels, trained.items(), strict=True):
        own = sum(counts[name] for name in names)
        panel.set_title(f"{title}: {own:,} of {total:,} parameters trained ({own / total:.1%})", loc="left")
        _draw_blocks(panel, counts, names)
    legend_below(figure, panels[0])
    return figure


@in_style
def reliability_diagram(bins: Mapping[str, Sequence[Mapping]], *, positive: str = "class 1") -> Figure:
    """Draw the frequency of a class against its predicted probability, bin by bin; reliable ones lie on the diagonal.

    Args:
        bins: name of a series -> rows with `predicted`, `observed` (0..1) and `n`; the larger n, the larger the marker.
        positive: name of the class.

    Returns:
        A figure with one axes.

    Raises:
        ValueError: no series, or one without rows.
    """
    if not bins or not all(bins.values()):
        received = {name: len(rows) for name, rows in bins.items()}
        raise ValueError(f"Expected one series or more, with rows. Received: {received}")
    figure, (panel,) = subplots(1, 1, height=5.5)
    panel.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=":", label="reliable")
    for (name, rows), (color, marker) in zip(bins.items(), series(), strict=False):
        x, y = ([row[key] for row in rows] for key in ("predicted", "observed"))
        panel.plot(x, y, color=color, linewidth=1)
        total = sum(row["n"] for row in rows)
        sizes = [20 + 400 * row["n"] / total for row in rows]
        panel.scatter(x, y, s=sizes, color=color, marker=marker, label=f"{name} (n={total})")
    panel.set_xlabel(f"predicted probability of {positive}")
    panel.set_ylabel(f"fraction that are {positive}")
    panel.set_aspect("equal")
    legend_below(figure, panel)
    return figure


def _histories(runs_or_history: Iterable[Run] | Mapping) -> list[Mapping]:
    if isinstance(runs_or_history, Mapping):
        histories = [runs_or_history.get("history", runs_or_history)]  # of a weight file's record, too
    else:
        histories = [run.history for run in runs_or_history]
    if not any(history.get("loss") for history in histories):
        raise ValueError(f"Expected a history, or runs with one, of at least one epoch. Received: {histories!r}")
    return histories


def _by_epoch(curves: Sequence[Sequence[float | None]]) -> np.ndarray:
    """Return curves as `(runs, epochs)`; nan where a run has ended, or has no finite value."""
    values = np.full((len(curves), max(map(len, curves))), np.nan)
    for row, curve in zip(values, curves, strict=True):
        row[: len(curve)] = np.array(curve, np.float64)  # None becomes nan
    values[~np.isfinite(values)] = np.nan
    return values


def _draw_curve(panel: Axes, histories: Sequence[Mapping], key: str, **style: Any) -> None:
    values = _by_epoch([history.get(key, ()) for history in histories])
    kept = np.isfinite(values).any(axis=0)
    if not kept.any():
        return
    epochs, values = np.flatnonzero(kept) + 1, values[:, kept]
    panel.plot(epochs, np.nanmedian(values, axis=0), marker="o" if len(epochs) <= _FEW_EPOCHS else "", **style)
    if len(histories) > 1:
        low, high = np.nanpercentile(values, [10, 90], axis=0)
        panel.fill_between(epochs, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _mark_phases(panel: Axes, phases: Sequence[str]) -> None:
    groups = [(name, len(list(epochs))) for name, epochs in itertools.groupby(phases)]
    if len(groups) < 2:
        return
    ends = 0.5 + np.cumsum([0, *(length for _, length in groups)])
    for boundary in ends[1:-1]:
        panel.axvline(boundary, color=GREY, linewidth=1, linestyle=":")
    style: dict[str, Any] = {"color": GREY, "ha": "center", "va": "bottom", "transform": panel.get_xaxis_transform()}
    for (name, length), end in zip(groups, ends[1:], strict=True):
        panel.text(end - length / 2, 1.01, words(name), **style)


def _median_curve(runs: Runs, arm: str, key: str) -> np.ndarray:
    """Return the median of each epoch that a run of the arm reached; nan where none of them has a value."""
    curves = [run.history.get(key) or [] for run in runs.of(arm)]
    if not curves or not all(curves):
        raise ValueError(f"Expected runs of {arm!r} with the curve {key!r}. Received: {len(curves)} runs")
    values = _by_epoch(curves)
    known = np.isfinite(values).any(axis=0)
    medians = np.full(values.shape[1], np.nan)
    medians[known] = np.nanmedian(values[:, known], axis=0)
    return medians


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
    return float(spearmanr(first, second).statistic)


def _draw_blocks(panel: Axes, counts: Mapping[str, int], names: Collection[str]) -> None:
    for column, (name, count) in enumerate(counts.items()):
        kind = _TRAINED if name in names else FROZEN
        label = "trained" if name in names else "frozen"
        panel.add_patch(Rectangle((column + 0.06, 0), 0.88, 1, label=label, **kind))
        box = {"facecolor": kind["facecolor"], "edgecolor": "none", "pad": 1.5}
        panel.text(column + 0.5, 0.68, name, ha="center", va="center", bbox=box)
        panel.text(column + 0.5, 0.28, _thousands(count), ha="center", va="center", bbox=box)
    panel.set_xlim(0, len(counts))
    panel.set_ylim(-0.05, 1.05)
    panel.axis("off")


def _thousands(count: int) -> str:
    return f"{count / 1000:.1f}k" if count < 100_000 else f"{count / 1000:.0f}k"

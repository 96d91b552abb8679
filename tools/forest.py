"""The one picture of the README: each report's headline numbers, theirs and ours with intervals.

Two files are written, for light and for dark pages. Both carry the numbers that they show as their description, by
which a test tells whether they are up to date; the drawing itself depends on Matplotlib's version.
"""

import dataclasses
import math
import re
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from tlkeras.experiments import environment, figures, runs, stats
from tlkeras.reports import REPORTS

FOLDER = environment.REPOSITORY / "docs" / "figures"
FILES = {"light": FOLDER / "headline.svg", "dark": FOLDER / "headline-dark.svg"}
INK = {"light": "#1f2328", "dark": "#e6edf3"}
OURS = {"light": figures.BLUE, "dark": figures.SKY}
THEIRS = {"light": figures.VERMILLION, "dark": figures.ORANGE}
ARMS = {  # report -> (heading, metric, arm -> words)
    "tominet": (
        "002: digits, 100 of them labelled",
        "test_accuracy",
        {
            "scratch_150": "no transfer, 150 epochs",
            "fashion": "clothes first",
            "letters": "letters first",
            "letters_best": "letters first, augmented (ours)",
        },
    ),
    "squeezenet": (
        "000: CIFAR-10, more and more trained",
        "test_accuracy",
        {
            "head": "conv10 alone",
            "fire8_up": "from fire8 up",
            "all": "all layers",
            "head_160": "conv10 alone, 160 pixels (ours)",
        },
    ),
    "strategies": (
        "001: CIFAR-10, 50 images of a class",
        "test_accuracy",
        {
            "cifar10_small_freeze_base": "frozen base (advised)",
            "cifar10_small_freeze_some": "some layers frozen",
            "cifar10_small_train_all": "all layers trained",
        },
    ),
    "ants_bees": (
        "004: ants or bees (ROC AUC)",
        "validation_roc_auc",
        {
            "alexnet_full": "AlexNet, all layers",
            "alexnet_frozen": "AlexNet, frozen features",
            "vgg16_probe": "VGG16, probe of features (ours)",
        },
    ),
    "l2t": (
        "003: STL-10, 10 images of a class",
        "test_accuracy",
        {
            "stl10_10_scratch": "no transfer",
            "stl10_10_ufm": "imitation of all maps alike",
            "stl10_10_ww": "L2T: what and where",
            "stl10_10_www": "L2T: what, where and which",
            "stl10_10_probe": "probe of the source (ours)",
        },
    ),
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One arm: words, the report's number if it has one, and our estimate with a 95 % interval (None: one run)."""

    words: str
    reported: float | None
    estimate: stats.Summary

    @property
    def text(self) -> str:
        """The numbers of the row in one phrase."""
        interval = (
            f" [{self.estimate.ci_low:.3f}, {self.estimate.ci_high:.3f}]" if math.isfinite(self.estimate.ci_low) else ""
        )
        reported = "" if self.reported is None else f", reported {self.reported:.3f}"
        return f"{self.words}: {self.estimate.mean:.3f}{interval} n={self.estimate.n}{reported}"


def rows() -> dict[str, list[Row]]:
    """Return the rows of each heading, from the recorded paper runs."""
    found = {}
    for name, (heading, metric, arms) in ARMS.items():
        report = REPORTS[name]
        recorded = runs.load_runs(report, "paper", list(arms))
        found[heading] = [
            Row(
                words,
                report.reference.get((arm, metric), {}).get("value"),
                stats.summarize(list(recorded.scores(arm, metric).values())),
            )
            for arm, words in arms.items()
        ]
    return found


def description(shown: dict[str, list[Row]]) -> str:
    """Return all numbers of the picture as text."""
    return "; ".join(f"{heading}: {', '.join(row.text for row in own)}" for heading, own in shown.items())


@figures.in_style
def draw(shown: dict[str, list[Row]], theme: str) -> Figure:
    """Draw the picture, on a transparent ground.

    Args:
        shown: of `rows`.
        theme: "light" or "dark", of the page.
    """
    ink = INK[theme]
    colors = {f"{part}.color": ink for part in ("text", "xtick", "ytick")}
    with matplotlib.rc_context({**colors, "axes.edgecolor": ink, "axes.labelcolor": ink, "svg.hashsalt": "tlkeras"}):
        count = sum(len(own) + 1 for own in shown.values())
        figure, (panel,) = figures.subplots(1, 1, height=0.9 + 0.33 * count)
        figure.patch.set_alpha(0)
        panel.patch.set_alpha(0)
        ticks, place = [], 0
        for heading, own in shown.items():
            title = panel.text(0.01, place, heading, va="center", fontweight="bold")
            title.set_in_layout(False)  # else the axes would shrink to make room for it
            for row in own:
                place += 1
                ticks.append((place, f"{row.words}, n={row.estimate.n}"))
                _draw_row(panel, place, row, theme)
            place += 1
        panel.set_yticks(*zip(*ticks, strict=True))
        panel.set_ylim(place - 0.3, -0.6)
        panel.set_xlim(0, 1)
        panel.grid(axis="x", color=ink, alpha=0.15)
        panel.tick_params(axis="y", length=0)
        panel.set_xlabel("test accuracy (fraction of images), or ROC AUC")
        figures.legend_below(figure, panel)
    return figure


def _draw_row(panel: matplotlib.axes.Axes, place: int, row: Row, theme: str) -> None:
    if math.isfinite(row.estimate.ci_low):
        panel.plot([row.estimate.ci_low, row.estimate.ci_high], [place, place], color=OURS[theme], linewidth=4)
    ours = "ours, with the 95 % interval of the mean"
    figures.points(panel, [row.estimate.mean], [place], color=OURS[theme], markersize=8, label=ours)
    if row.reported is not None:
        style: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": THEIRS[theme], "markeredgewidth": 2}
        panel.plot(
            [row.reported], [place], linestyle="none", marker="D", markersize=9, label="as reported", zorder=4, **style
        )


def write() -> None:
    """Write both files, unless they show these numbers already."""
    shown = rows()
    FOLDER.mkdir(parents=True, exist_ok=True)
    for theme, path in FILES.items():
        if path.exists() and stored_description(path) == description(shown):
            continue
        about = {"Description": description(shown), "Date": None, "Creator": None}
        with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "tlkeras"}):
            draw(shown, theme).savefig(path, metadata=about)


def stored_description(path: Path) -> str:
    """Return the numbers that a file says it shows; empty where it says nothing."""
    found = re.search(r"<dc:description>(.*?)</dc:description>", path.read_text(encoding="utf-8"), re.DOTALL)
    return found[1] if found else ""

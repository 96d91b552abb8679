"""Figures of a study of one's own photographs, and report.html, which stands alone."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from string import Template
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from tlkeras.experiments import figures, galleries
from tlkeras.own_images.findings import Adapted, log_odds
from tlkeras.transfer.probe import reliability_bins
from tlkeras.visualize import grad_cam

_MISTAKES = 8  # shown
_HEADS = {"ci_low": "from", "ci_high": "to (95 %)", "difference": "to the cheapest", "logme": "LogME"}
_WORDS = {True: "yes", False: ""}
_MOST_CLASSES = 20  # whose names are written at the confusion matrix


@figures.in_style
def accuracy_by_candidate(rows: Sequence[Mapping]) -> Figure:
    """Draw the accuracy of each candidate with its 95 % interval; the chosen one is filled.

    Args:
        rows: of `comparison.decide`.
    """
    figure, (panel,) = figures.subplots(1, 1, height=0.8 + 0.5 * len(rows))
    for place, row in enumerate(rows):
        color = figures.VERMILLION if row["chosen"] else figures.BLUE
        panel.plot([row["ci_low"], row["ci_high"]], [place, place], color=color, linewidth=2)
        figures.points(panel, [row["accuracy"]], [place], color=color, markersize=9)
    panel.set_yticks(range(len(rows)), [row["candidate"] + (" (chosen)" if row["chosen"] else "") for row in rows])
    panel.invert_yaxis()
    panel.set_xlabel("accuracy on images not trained on (fraction, 95 % interval)")
    return figure


@figures.in_style
def confusion(labels: np.ndarray, predicted: np.ndarray, class_names: Sequence[str]) -> Figure:
    """Draw how many images of each class are taken for which, as a table of counts shaded by the share of the class.

    Args:
        labels: `(n,)`.
        predicted: `(n,)`.
        class_names: of the classes.
    """
    counts = np.zeros((len(class_names), len(class_names)), int)
    np.add.at(counts, (labels, predicted), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    figure, (panel,) = figures.subplots(1, 1, height=min(7.5, 2.5 + 0.4 * len(class_names)))
    panel.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(class_names) <= _MOST_CLASSES:
        names = [figures.plain(name) for name in class_names]
        panel.set_xticks(range(len(names)), names, rotation=90 if len(names) > 4 else 0)
        panel.set_yticks(range(len(names)), names)
        for (row, column), count in np.ndenumerate(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            panel.text(column, row, str(count), ha="center", va="center", color=color)
    panel.set_xlabel("predicted class")
    panel.set_ylabel("true class")
    return figure


@figures.in_style
def growth(curve: Mapping[str, Any]) -> Figure:
    """Draw the accuracy of a probe against the number of training images, and the forecast for twice as many."""
    figure, (panel,) = figures.subplots(1, 1, height=4)
    images, accuracies = ([row[key] for row in curve["rows"]] for key in ("images", "accuracy"))
    panel.plot(images, accuracies, "o-", color=figures.BLUE, label=f"measured of a {curve['of']}, mean of five folds")
    ahead = curve["forecast"]
    panel.plot([images[-1], ahead["images"]], [accuracies[-1], ahead["accuracy"]], ":", color=figures.GREY)
    panel.errorbar(
        [ahead["images"]],
        [ahead["accuracy"]],
        [[ahead["accuracy"] - ahead["ci_low"]], [ahead["ci_high"] - ahead["accuracy"]]],
        fmt="D",
        color=figures.VERMILLION,
        label="forecast for twice as many, rough range over the folds",
    )
    panel.set_xscale("log")
    panel.set_xticks([*images, ahead["images"]], [str(count) for count in (*images, ahead["images"])])
    panel.minorticks_off()
    panel.set_xlabel("training images")
    panel.set_ylabel("accuracy (fraction of images)")
    figures.legend_below(figure, panel)
    return figure


def calibration(adapted: Adapted) -> Figure:
    """Draw how often the model is right against how sure it says it is."""
    two = len(adapted.collection.class_names) == 2
    positive = adapted.collection.class_names[1] if two else "the class that is predicted"
    rows = reliability_bins(log_odds(adapted.probabilities), adapted.labels, 10 if len(adapted.labels) >= 200 else 5)
    return figures.reliability_diagram({adapted.chosen.name: rows}, positive=figures.plain(positive))


def mistakes(adapted: Adapted) -> list[int]:
    """Return the indices of the training images that are wrong with the greatest certainty, the most certain first."""
    predicted = adapted.probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != adapted.labels)
    certainty = adapted.probabilities[wrong, predicted[wrong]]
    return [int(index) for index in wrong[np.argsort(-certainty)][:_MISTAKES]]


def mistakes_with_heat(adapted: Adapted) -> Figure | None:
    """Draw the most certain mistakes beside what speaks for the wrong class (Grad-CAM of the finished model).

    The finished model has been trained on these images; the wrong class is that of the models that had not.

    Returns:
        The figure; None where there is no mistake.
    """
    chosen, names = mistakes(adapted), adapted.collection.class_names
    if not chosen:
        return None
    images = adapted.collection.train.squares(adapted.chosen.side)[chosen]
    predicted = adapted.probabilities.argmax(1)[chosen]
    titles = [
        figures.plain(f"{names[adapted.labels[i]]}, taken for {names[p]} ({adapted.probabilities[i, p]:.0%})")
        for i, p in zip(chosen, predicted, strict=True)
    ]
    try:
        heats = grad_cam(adapted.model, images.astype(np.float32), predicted)
    except ValueError:  # several networks side by side have no one last map
        return galleries.gallery(images, columns=4, titles=titles)
    return galleries.overlays(images, heats, columns=2, titles=titles)


def summary(adapted: Adapted) -> str:
    """Say in two or three sentences what came of it."""
    row = next(row for row in adapted.rows if row["chosen"])
    others = [other for other in adapted.rows if other["accuracy"] > row["accuracy"]]
    said = (
        f"Chosen: {adapted.chosen.name}. It is right on {row['accuracy']:.1%} of the "
        f"images that it was not trained on (95 % interval {row['ci_low']:.1%} to {row['ci_high']:.1%}, "
        f"n = {len(adapted.labels)})."
    )
    if others:
        best = max(others, key=lambda other: other["accuracy"])
        said += (
            f" Higher scored: {best['candidate']} ({best['accuracy']:.1%}), but that it is better than the cheapest "
            f"is not decided (p = {best['p']:.2f})."
        )
    held_out = adapted.held_out_accuracy()
    if held_out:
        said += (
            f" On the {held_out['n']} images held out it is right on {held_out['accuracy']:.1%} "
            f"({held_out['ci_low']:.1%} to {held_out['ci_high']:.1%})."
        )
    return said


def remarks(adapted: Adapted) -> list[str]:
    """Return what a reader should know before trusting the numbers."""
    collection, found = adapted.collection, []
    if collection.stand_in:
        found.append("These are embedded patches of photographs, which stand in for data that cannot be had here.")
    for backbone in adapted.backbones:
        if backbone.stand_in:
            found.append(f"The weights of {backbone.network} are a stand-in, trained on small images, not ImageNet's.")
    found += [f"{name} was left out: {reason}" for name, reason in {**adapted.missing, **adapted.skipped}.items()]
    if collection.scarce():
        few = ", ".join(f"{name} ({count})" for name, count in collection.scarce().items())
        found.append(f"Classes with so few images that their own accuracy says little: {few}.")
    if adapted.duplicates:
        pairs = "; ".join(f"{pair['first']} and {pair['second']}" for pair in adapted.duplicates[:5])
        count = f"{adapted.duplicate_count:,}"
        found.append(f"{count} pairs of images show nearly the same, so scores may flatter: {pairs}.")
    found += [f"Left out: {problem}" for problem in collection.problems[:20]]
    return found


def render(adapted: Adapted, record: Mapping[str, Any]) -> str:
    """Return report.html: one file with its figures in it, which opens without a network."""
    predicted = adapted.probabilities.argmax(1)
    names = adapted.collection.class_names
    drawn = {
        "How the ways compare": accuracy_by_candidate(adapted.rows),
        "Which classes are taken for which": confusion(adapted.labels, predicted, names),
        "Can its certainty be trusted?": calibration(adapted),
        "The most certain mistakes, and what speaks for them": mistakes_with_heat(adapted),
        f"What twice as many images would bring a {adapted.curve['of']}": growth(adapted.curve),
    }
    advice = adapted.advice
    return _PAGE.substitute(
        title=html.escape(f"{adapted.collection.name}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"),
        summary=html.escape(summary(adapted)),
        remarks="".join(f"<li>{html.escape(remark)}</li>" for remark in remarks(adapted)) or "<li>Nothing.</li>",
        candidates=_table(adapted.rows),
        transferability=_table(adapted.transferability),
        advice=html.escape(f"quadrant {advice.quadrant}, {advice.strategy.replace('_', ' ')}. {advice.reason}"),
        figures="".join(
            f"<h2>{html.escape(name)}</h2><img alt='{html.escape(name)}' src='{_image(figure)}'>"
            for name, figure in drawn.items()
            if figure is not None
        ),
        command=html.escape(record["command"]),
        facts=html.escape(f"{record['device']}; {record['date']}; {adapted.seconds:.0f} s; {record['versions']}"),
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    worded = [
        {key: _WORDS.get(value, value) if isinstance(value, bool) else value for key, value in row.items()}
        for row in rows
    ]
    frame = pd.DataFrame(worded).rename(columns=lambda name: _HEADS.get(name, name.replace("_", " ")))
    return frame.to_html(index=False, float_format="{:.3f}".format, na_rep="", border=0)


def _image(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<style>
body { margin: 0 auto; padding: 2rem 1rem; max-width: 52rem; font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
img { max-width: 100%; background: #fff; border-radius: .25rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .9rem; }
td, th { padding: .25rem .75rem; text-align: right; border-bottom: 1px solid #8886; }
td:first-child, th:first-child { text-align: left; }
code { overflow-wrap: anywhere; } footer { margin-top: 2rem; font-size: .85rem; opacity: .75; }
</style>
</head>
<body>
<h1>$title</h1>
<p><strong>$summary</strong></p>
<h2>Before you trust it</h2>
<ul>$remarks</ul>
<h2>The ways that were compared</h2>
<p>Cheapest first. The cheapest is chosen unless another is better at p &lt; 0.05: a t-test on the differences in the
same folds, corrected for their common training images, and by Holm for the number of ways.</p>
<div class="wide">$candidates</div>
<p>What the features promise without any training (LogME: more is better; similarity: 0 to 1):</p>
<div class="wide">$transferability</div>
<p>What the slides of report 001 advise for so many images of such similarity: $advice</p>
$figures
<footer>
<p>Once more: <code>$command</code></p>
<p>$facts</p>
</footer>
</body>
</html>
""")

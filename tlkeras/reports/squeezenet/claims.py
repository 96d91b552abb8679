"""What report 000 concludes, put to the test on stored runs, and which rates collapse."""

import numpy as np

from tlkeras.experiments.claims import Claim, judge
from tlkeras.experiments.runs import Runs
from tlkeras.reports.squeezenet.settings import FAITHFUL, RATE_ARMS, REFERENCE

PATIENCES = (1, 2, 3)  # epochs; the report says "enough to stabilise the accuracy", and no number

CLAIMS = (
    Claim("fire8, fire9 and conv10 trained beat conv10 alone", (("fire8_up", "head", "test_accuracy"),)),
    Claim("all layers trained beat fire8, fire9 and conv10", (("all", "fire8_up", "test_accuracy"),)),
)


def findings(runs: Runs) -> list[dict]:
    """Judge "the more parameters are trained, the better the model"; see `claims.judge`.

    Mann-Whitney, unpaired: all runs have the same images, and a seed (new conv10, order) is no common fate of two arms.
    """
    return judge(runs, CLAIMS, paired=False)


def collapses(runs: Runs) -> list[dict]:
    """Count the collapsed runs of each regime, preprocessing and rate.

    Returns:
        Rows with arm, learning_rate, preprocessing, collapsed, n, test_accuracy (mean).
    """
    rows = []
    for arm in RATE_ARMS:
        if own := runs.of(arm):
            settings, metrics = own[0].settings, [run.metrics for run in own]
            rows.append(
                {
                    "arm": arm,
                    "learning_rate": f"{settings['learning_rate']:g}",
                    "preprocessing": settings["preprocessing"],
                    "collapsed": f"{sum(m['collapsed'] for m in metrics):.0f} of {len(own)}",
                    "test_accuracy": float(np.mean([m["test_accuracy"] for m in metrics])),
                }
            )
    return rows


def patience_rows(runs: Runs) -> list[dict]:
    """Read "epochs enough to stabilise" as early stopping: where does it end, and does it give the report's accuracy?

    A training ends once so many epochs in a row bring no better validation accuracy; the best epoch until then counts.

    Returns:
        Rows with arm, patience, epochs (mean number until the end), all_ended (whether every run ended before its
        planned epochs were over), validation_accuracy (mean, of the kept epoch), reported (test accuracy), n.
    """
    rows = []
    for arm in FAITHFUL:
        curves = [run.history["val_accuracy"] for run in runs.of(arm)]
        for patience in PATIENCES if curves else ():
            ends = [_end(curve, patience) for curve in curves]
            kept = [max(curve[:end]) for curve, end in zip(curves, ends, strict=True)]
            rows.append(
                {
                    "arm": arm,
                    "patience": patience,
                    "epochs": float(np.mean(ends)),
                    "all_ended": all(end < len(curve) for curve, end in zip(curves, ends, strict=True)),
                    "validation_accuracy": float(np.mean(kept)),
                    "reported": REFERENCE[arm, "test_accuracy"]["value"],
                    "n": len(curves),
                }
            )
    return rows


def _end(curve: list[float], patience: int) -> int:
    """Return after how many epochs a training with this patience ends: all, if it never does before."""
    best = 0
    for epoch, value in enumerate(curve):
        best = epoch if value > curve[best] else best
        if epoch - best >= patience:
            return epoch + 1
    return len(curve)

"""What report 000 concludes, put to the test on stored runs, and which rates collapse."""

import numpy as np

from tlkeras.experiments.claims import Claim, judge
from tlkeras.experiments.runs import Runs
from tlkeras.reports.squeezenet.settings import RATE_ARMS

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

"""What report 000 concludes, put to the test on stored runs, and what each arm cost to train."""

from collections.abc import Mapping, Sequence

import numpy as np

from tlkeras.experiments import tables
from tlkeras.reports.squeezenet import run as report

CLAIMS = {  # (first, second): the sentence of the report; the first should be the better one
    ("fire8_up", "head"): "fire8, fire9 and conv10 trained beat conv10 alone",
    ("all", "fire8_up"): "all layers trained beat fire8, fire9 and conv10",
}


def findings(runs: Sequence[Mapping]) -> list[dict]:
    """Test "the more parameters are trained, the better the model", p values Holm-adjusted over both steps.

    Mann-Whitney, unpaired: all runs have the same images, and a seed (new conv10, order) is no common fate of two arms.

    Returns:
        Rows with claim, difference of test accuracy, ci_low, ci_high, effect, effect_name, p_adjusted, n, held:
        "held", "not shown", "did not hold", "not decided (n too small)".
    """
    rows = tables.comparison_rows(runs, list(CLAIMS), "test_accuracy", paired=False)
    keys = ("difference", "ci_low", "ci_high", "effect", "effect_name", "p_adjusted", "n")
    held = {"first better": "held", "second better": "did not hold", "no difference shown": "not shown"}
    return [
        {"claim": claim, **{key: row[key] for key in keys}, "held": held.get(row["verdict"], row["verdict"])}
        for claim, row in zip(CLAIMS.values(), rows, strict=True)
    ]


def collapses(runs: Sequence[Mapping], regimes: Sequence[str] = ("fire8_up", "all", "scratch")) -> list[dict]:
    """Count the collapsed runs of each regime, preprocessing and rate.

    Returns:
        Rows with arm, learning_rate, preprocessing, collapsed, n, test_accuracy (mean).
    """
    rows = []
    kinds = ("{0}", "{0}_{1}", "{0}_caffe_{1}")
    names = dict.fromkeys(kind.format(regime, rate) for regime in regimes for kind in kinds for rate in report.RATES)
    for arm in names:
        own = [run for run in runs if run["arm"] == arm]
        if own:
            settings, metrics = own[0]["settings"], [run["metrics"] for run in own]
            rows.append({
                "arm": arm, "learning_rate": f"{settings['learning_rate']:g}",
                "preprocessing": settings["preprocessing"],
                "collapsed": f"{sum(m['collapsed'] for m in metrics):.0f} of {len(own)}",
                "test_accuracy": float(np.mean([m["test_accuracy"] for m in metrics])),
            })  # fmt: skip
    return rows


def costs(runs: Sequence[Mapping], arms: Sequence[str]) -> list[dict]:
    """Say what each arm costs, beside what it reaches.

    Returns:
        Rows with arm; trained (parameters); accuracy (mean over its runs); seconds of its fastest run, since others
        may have shared their core, but where features are cached of the first, which computes them for the others;
        flops, counted (`transfer.cost`) for the epochs that each run trained (mean); n.
    """
    rows = []
    for arm in arms:
        own = [run for run in runs if run["arm"] == arm]
        if own:
            rows.append({
                "arm": arm, "trained": report.TRAINABLE[own[0]["settings"]["train"]],
                "accuracy": float(np.mean([run["metrics"]["test_accuracy"] for run in own])),
                "seconds": _seconds(own),
                "flops": float(np.mean([flops(run) for run in own])), "n": len(own),
            })  # fmt: skip
    return rows


def _seconds(own: Sequence[Mapping]) -> float:
    seconds = [sum(run["details"]["seconds"].values()) for run in sorted(own, key=lambda run: run["seed"])]
    return seconds[0] if all(own[0]["details"]["cached"].values()) else min(seconds)


def flops(run: Mapping) -> int:
    """Count the floating-point operations of the training of a stored run, all phases."""
    from tlkeras.models import squeezenet
    from tlkeras.transfer import cost

    settings = report.Settings(**run["settings"])
    side = settings.resolution
    model = squeezenet(10, (side, side, 3), weights=None, pool_first=settings.pool_first)
    train = {"head": "head", "main": settings.train}
    epochs = {name: run["history"]["phase"].count(name) for name in run["details"]["cached"]}
    return sum(
        cost.training_flops(model, train[name], settings.train_count, epochs[name], cached=cached)
        for name, cached in run["details"]["cached"].items()
    )

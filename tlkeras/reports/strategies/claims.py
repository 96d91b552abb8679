"""What report 001 advises, put to the test on stored runs."""

from collections.abc import Mapping, Sequence

import numpy as np

from tlkeras.experiments import stats, tables
from tlkeras.reports.strategies import features, quadrants, rates
from tlkeras.reports.strategies.targets import SIMILAR

ACCURACY = "test_accuracy"
FEWEST = 5  # draws; the bootstrap interval of fewer is little more than their range


def findings(runs: Sequence[Mapping]) -> list[dict]:
    """Say for each target and size whether the advised strategy is the best, or not worse within the interval.

    The advised one is compared with each of the other two on the same draws. `held` is decided against the better of
    the two, by the 95 % interval of the mean difference: "best" (above zero), "not worse" (zero in it), "worse"
    (below), "not decided (n too small)" with fewer than five draws, of which a bootstrap says nothing. p is adjusted
    (Holm) over all comparisons; few seeds cannot make it small.

    Returns:
        Rows with quadrant, target, size, advised, accuracy, rival, rival_accuracy, difference, ci_low, ci_high,
        p_adjusted, n, held; only cells of which all three strategies have runs.
    """
    cells = _complete(runs)
    pairs = [(arm, other) for arm, others, *_ in cells for other in others]
    tested = iter(tables.comparison_rows(runs, pairs, ACCURACY))
    rows = []
    for arm, others, advice, dataset, size in cells:
        own = {other: next(tested) for other in others}
        rival = max(others, key=lambda name: _mean(runs, name))
        row = own[rival]
        rows.append({
            "quadrant": advice.quadrant, "target": dataset, "size": size, "advised": advice.strategy,
            "accuracy": _mean(runs, arm), "rival": rival.removeprefix(f"{dataset}_{size}_"),
            "rival_accuracy": _mean(runs, rival),
            **{key: row[key] for key in ("difference", "ci_low", "ci_high", "p_adjusted", "n")},
            "held": _held(row),
        })  # fmt: skip
    return sorted(rows, key=lambda row: row["quadrant"])


def _complete(runs: Sequence[Mapping]) -> list[tuple]:
    """Return (advised arm, other arms, advice, target, size) of the cells with runs of all three strategies."""
    from tlkeras.transfer.strategies import recommend

    there, found = {run["arm"] for run in runs}, []
    for (dataset, size), (per_class, *_) in quadrants.CELLS.items():
        advice = recommend(per_class, float(SIMILAR[dataset]))
        arms = [quadrants.arm_name(dataset, size, strategy) for strategy in quadrants.STRATEGIES]
        advised = quadrants.arm_name(dataset, size, advice.strategy)
        if there.issuperset(arms):
            found.append((advised, [arm for arm in arms if arm != advised], advice, dataset, size))
    return found


def _held(row: Mapping) -> str:
    if row["n"] < FEWEST or not np.isfinite([row["ci_low"], row["ci_high"]]).all():
        return "not decided (n too small)"
    if row["ci_low"] > 0:
        return "best"
    return "not worse" if row["ci_high"] >= 0 else "worse"


def strategy_rows(runs: Sequence[Mapping]) -> list[dict]:
    """Return the mean accuracy of every strategy, target and size, with its interval.

    Returns:
        Rows with quadrant, target, size, strategy, advised (bool), mean, ci_low, ci_high, n, seconds (median), and
        collapsed.
    """
    rows = []
    for advised, others, advice, dataset, size in _complete(runs):
        for arm in sorted([advised, *others], key=list(quadrants.ARMS).index):
            own = [run for run in runs if run["arm"] == arm]
            rows.append({
                "quadrant": advice.quadrant, "target": dataset, "size": size,
                "strategy": arm.removeprefix(f"{dataset}_{size}_"), "advised": arm == advised,
                **_summary(tables.metric_by_seed(runs, arm, ACCURACY).values()),
                "seconds": float(np.median([sum(run["details"]["seconds"].values()) for run in own])),
                "collapsed": f"{sum(run['metrics']['collapsed'] for run in own):.0f} of {len(own)}",
            })  # fmt: skip
    return rows


def similarity_rows(runs: Sequence[Mapping]) -> list[dict]:
    """Lay the similarity estimated from data (LogME) beside our judgement, and beside what was measured.

    `frozen_share` is the truth that a similarity should foretell: the accuracy on frozen features as a share of the
    best of the three strategies, on the small draws.

    Returns:
        Rows with target, judged (similar or dissimilar), estimated (0..1), logme, quadrant_by_estimate,
        advised_by_estimate, best (strategy), frozen_share.
    """
    from tlkeras.transfer.strategies import recommend

    means = {(row["target"], row["strategy"]): row["mean"] for row in strategy_rows(runs) if row["size"] == "small"}
    rows = []
    for dataset, similar in SIMILAR.items():
        arm = f"blocks_{dataset}_few"
        own = {name: mean for (target, name), mean in means.items() if target == dataset}
        if own and any(run["arm"] == arm for run in runs):
            estimated, logme = (_mean(runs, arm, metric) for metric in ("similarity", "logme"))
            advice = recommend(quadrants.SMALL, estimated)
            rows.append({
                "target": dataset, "judged": "similar" if similar else "dissimilar", "estimated": estimated,
                "logme": logme, "quadrant_by_estimate": advice.quadrant, "advised_by_estimate": advice.strategy,
                "best": max(own, key=own.get), "frozen_share": own["freeze_base"] / max(own.values()),
            })  # fmt: skip
    return rows


def rate_rows(runs: Sequence[Mapping]) -> list[dict]:
    """Return what each rate reaches on the target, keeps of the source, and how far it moves each layer.

    Returns:
        Rows with rate, target, target_ci_low, target_ci_high, source, source_ci_low, source_ci_high,
        source_recalibrated, source_before, n, and `moved_LAYER`: means over the seeds, by rate.
    """
    rows = []
    for arm, settings in rates.ARMS.items():
        own = [run for run in runs if run["arm"] == arm]
        if own:
            row: dict = {"rate": settings.learning_rate}
            for name, metric in (("target", ACCURACY), ("source", "source_accuracy")):
                found = _summary(tables.metric_by_seed(runs, arm, metric).values())
                row |= {name: found["mean"], f"{name}_ci_low": found["ci_low"], f"{name}_ci_high": found["ci_high"]}
            for name in ("source_accuracy_recalibrated", "source_accuracy_before"):
                row[name.replace("accuracy_", "")] = _mean(runs, arm, name)
            moved = [name for name in own[0]["metrics"] if name.startswith("moved_")]
            rows.append(row | {"n": len(own)} | {name: _mean(runs, arm, name) for name in moved})
    return rows


def classifier_rows(runs: Sequence[Mapping]) -> list[dict]:
    """Return accuracy, parameters and fitting time of each classifier on the same frozen features.

    Returns:
        Rows with target, images (of a class), classifier, mean (accuracy), ci_low, ci_high, n, parameters, seconds.
    """
    return [
        {
            "target": settings.dataset, "images": str(settings.per_class),
            "classifier": kind, **_summary(tables.metric_by_seed(runs, arm, f"{kind}_accuracy").values()),
            "parameters": int(_mean(runs, arm, f"{kind}_parameters")), "seconds": _mean(runs, arm, f"{kind}_seconds"),
        }
        for arm, settings in _feature_arms(runs, "classifiers")
        for kind in ("fully_connected", "global_average", "linear_svm")
    ]  # fmt: skip


def block_rows(runs: Sequence[Mapping]) -> list[dict]:
    """Return the accuracy of a linear SVM on the averaged features of each block.

    Returns:
        Rows with target, images (of a class), block, position (from 0 up), mean, ci_low, ci_high, n, best (bool).
    """
    names = [block.removesuffix("_concat") for block in features.BLOCKS]
    rows = []
    for arm, settings in _feature_arms(runs, "blocks"):
        found = [_summary(tables.metric_by_seed(runs, arm, f"{name}_accuracy").values()) for name in names]
        best = max(summary["mean"] for summary in found)
        rows += [
            {"target": settings.dataset, "images": str(settings.per_class), "block": name, "position": position,
             **summary, "best": summary["mean"] == best}
            for position, (name, summary) in enumerate(zip(names, found, strict=True))
        ]  # fmt: skip
    return rows


def _feature_arms(runs: Sequence[Mapping], task: str) -> list[tuple[str, features.Settings]]:
    there = {run["arm"]: run["settings"] for run in runs}
    return [
        (arm, features.Settings(**there[arm]))
        for arm, own in features.ARMS.items()
        if own.task == task and arm in there
    ]


def _mean(runs: Sequence[Mapping], arm: str, metric: str = ACCURACY) -> float:
    return float(np.mean(list(tables.metric_by_seed(runs, arm, metric).values())))


def _summary(values: Sequence[float]) -> dict:
    found = stats.summarize(list(values))
    return {key: getattr(found, key) for key in ("mean", "ci_low", "ci_high", "n")}

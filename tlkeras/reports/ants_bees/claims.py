"""What report 004 concludes, put to the test on stored runs; what choosing the epoch flatters; what training costs."""

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from tlkeras.experiments import stats, tables
from tlkeras.reports.ants_bees import run as report

AUC, GAP, SECONDS = "validation_roc_auc", "gap_loss", "training_seconds"
NAMES = {AUC: "validation ROC AUC", GAP: "gap of the losses", SECONDS: "training seconds an epoch"}
# A conclusion holds if the first arm is better in each of its comparisons.
CLAIMS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "AlexNet: full training and thawed last layers overfit": (
        ("alexnet_frozen", "alexnet_full", AUC),
        ("alexnet_frozen", "alexnet_full", GAP),
        ("alexnet_frozen", "alexnet_last", AUC),
        ("alexnet_frozen", "alexnet_last", GAP),
    ),
    "AlexNet: frozen features and smaller rates on the first layers succeed": (
        ("alexnet_frozen", "alexnet_full", AUC),
        ("alexnet_graded", "alexnet_full", AUC),
    ),
    "VGG16: full training overfits too": (
        ("vgg16_frozen", "vgg16_full", AUC),
        ("vgg16_frozen", "vgg16_full", GAP),
    ),
    "VGG16: thawed last layers, frozen features and smaller first rates succeed": (
        ("vgg16_last", "vgg16_full", AUC),
        ("vgg16_frozen", "vgg16_full", AUC),
        ("vgg16_graded", "vgg16_full", AUC),
    ),
    "VGG16: frozen features cost the least, and full training is costly without a good result": (
        ("vgg16_frozen", "vgg16_full", SECONDS),
        ("vgg16_frozen", "vgg16_graded", SECONDS),
        ("vgg16_frozen", "vgg16_full", AUC),
    ),
}


def findings(runs: Sequence[Mapping]) -> list[dict]:
    """Say of each of the five conclusions whether it held.

    Mann-Whitney, unpaired: a seed is no common fate of two arms. A conclusion has the largest p of its comparisons,
    since it asks for all of them (Berger 1982), and these p values are Holm-adjusted over the conclusions. Seconds are
    compared by epoch. Where an arm was not run, both sides are those of few epochs, and named so.

    Returns:
        Rows with claim, held, weakest (the comparison of the largest p), difference (of its means, first - second),
        effect (chance that first is higher), n, p_adjusted. `held` is "held", "did not hold" (a comparison that is
        decided the other way), "not shown", "not decided (n too small)", or "not run".
    """
    tested = {claim: _tested(runs, comparisons) for claim, comparisons in CLAIMS.items()}
    complete = [claim for claim, rows in tested.items() if rows]
    adjusted = stats.adjust([max(row["p"] for row in tested[claim]) for claim in complete])
    reachable = stats.adjust([max(row["smallest_p"] for row in tested[claim]) for claim in complete])
    p_values = dict(zip(complete, zip(adjusted, reachable, strict=True), strict=True))
    return [_finding(claim, rows, *p_values.get(claim, (None, None))) for claim, rows in tested.items()]


def _tested(runs: Sequence[Mapping], comparisons: Sequence[tuple[str, str, str]]) -> list[dict]:
    """Return a row for each comparison, or none at all where an arm was not run."""
    rows = []
    for first, second, metric in comparisons:
        arms = _recorded(runs, (first, second))
        scores = [_scores(runs, arm, metric) for arm in arms]
        if not all(scores):
            return []
        result = stats.compare(*scores, paired=False)
        lower_is_better = metric.endswith(tables.LOWER_IS_BETTER)
        better = result.effect < 0.5 if lower_is_better else result.effect > 0.5
        rows.append({
            "comparison": f"{arms[0]} against {arms[1]}, {NAMES[metric]}", "better": better, "p": result.p,
            "smallest_p": result.smallest_p, "difference": result.difference, "effect": result.effect, "n": result.n,
        })  # fmt: skip
    return rows


def _recorded(runs: Sequence[Mapping], arms: Sequence[str]) -> list[str]:
    """Return the arms if all of them were run, else their short versions: a few epochs are compared with a few."""
    there = {run["arm"] for run in runs}
    return list(arms) if set(arms) <= there else [f"{arm}_short" for arm in arms]


def _scores(runs: Sequence[Mapping], arm: str, metric: str) -> list[float]:
    own = [run for run in runs if run["arm"] == arm and metric in run["metrics"]]
    epochs = {run["seed"]: run["settings"]["epochs"] if metric == SECONDS else 1 for run in own}
    return [value / epochs[seed] for seed, value in tables.metric_by_seed(own, arm, metric).items()] if own else []


def _finding(claim: str, rows: Sequence[Mapping], p: float | None, smallest: float | None) -> dict:
    empty = {"weakest": "", "difference": None, "effect": None, "n": 0, "p_adjusted": None}
    if not rows:
        return {"claim": claim, "held": "not run", **empty}
    against = [row for row in rows if not row["better"] and row["p"] < tables.LEVEL]
    weakest = min(against or rows, key=lambda row: (row["better"], -row["p"]))
    if against:
        held = "did not hold"
    elif p < tables.LEVEL:
        held = "held"
    else:
        held = "not shown" if smallest < tables.LEVEL else "not decided (n too small)"
    numbers = {key: weakest[key] for key in ("difference", "effect", "n")}
    return {"claim": claim, "held": held, "weakest": weakest["comparison"], **numbers, "p_adjusted": float(p)}


def times(runs: Sequence[Mapping]) -> list[dict]:
    """Put the training times beside the report's: another machine, so also relative to full training, by epoch.

    Returns:
        Rows with network, way, reported (s), reported_relative, seconds_per_epoch (median), relative, n. The numbers
        of ways that were not run are None.
    """
    rows = []
    for network in report.NETWORKS:
        arms = _recorded(runs, [f"{network}_{way}" for way in report.WAYS])
        medians = {way: _per_epoch(runs, arm) for way, arm in zip(report.WAYS, arms, strict=True)}
        full = medians["full"][0]
        whole = report.REFERENCE[f"{network}_full", SECONDS]["value"]
        for way, (seconds, count) in medians.items():
            reported = report.REFERENCE[f"{network}_{way}", SECONDS]["value"]
            rows.append({
                "network": network, "way": way, "reported": reported, "reported_relative": reported / whole,
                "seconds_per_epoch": seconds, "relative": seconds / full if seconds and full else None, "n": count,
            })  # fmt: skip
    return rows


def _per_epoch(runs: Sequence[Mapping], arm: str) -> tuple[float | None, int]:
    seconds = _scores(runs, arm, SECONDS)
    return (statistics.median(seconds), len(seconds)) if seconds else (None, 0)


def optimism(runs: Sequence[Mapping], score: str = "roc_auc") -> list[dict]:
    """Say what choosing the epoch by the images that score it adds to the score: means over the runs of an arm.

    Returns:
        Rows with arm, reported, optimism, corrected, nested, last (see `selection.optimism`), n; runs that ended in
        numbers that are not finite, or kept the last epoch, are left out.
    """
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        own = [run for run in runs if run["arm"] == arm and run["settings"]["keep"] == "best"]
        curves = [(np.array(run["details"]["log_odds"]), np.array(run["details"]["labels"])) for run in own]
        found = [
            stats.optimism(log_odds, labels, score)
            for log_odds, labels in curves
            if np.isfinite(log_odds).all() and len(np.unique(labels)) == 2
        ]
        if found:
            means = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
            rows.append({"arm": arm, **means, "n": len(found)})
    return rows


def hardest(runs: Sequence[Mapping], count: int = 8) -> list[dict]:
    """Return the validation images on which the runs agree least with the label, hardest first.

    Returns:
        Rows with image (its place in the validation set), label, missed (share of runs), log_odds (median, of the
        true class); of runs on the same images only.
    """
    labels = np.array(runs[0]["details"]["labels"])
    own = [run for run in runs if run["details"]["labels"] == labels.tolist()]
    kept = np.array([run["details"]["log_odds"][int(run["metrics"].get("best_epoch", 1)) - 1] for run in own])
    towards = np.where(labels == 1, 1, -1) * kept[np.isfinite(kept).all(axis=1)]
    order = np.lexsort((np.median(towards, axis=0), -np.mean(towards <= 0, axis=0)))[:count]
    return [
        {"image": int(image), "label": int(labels[image]), "missed": float(np.mean(towards[:, image] <= 0)),
         "log_odds": float(np.median(towards[:, image]))}
        for image in order
    ]  # fmt: skip

"""What report 004 concludes, put to the test on stored runs; what choosing the epoch flatters; what training costs."""

import statistics
from collections.abc import Sequence

import numpy as np

from tlkeras.experiments import stats
from tlkeras.experiments.claims import Claim, judge
from tlkeras.experiments.runs import Run, Runs
from tlkeras.reports.ants_bees.settings import NETWORKS, REFERENCE, WAYS

AUC, GAP, SECONDS = "validation_roc_auc", "gap_loss", "training_seconds"
EPOCH_SECONDS = "epoch_seconds"
INSTEAD = {f"vgg16_{way}": f"vgg16_{way}_short" for way in WAYS}  # a few epochs are compared with a few

CLAIMS = (
    Claim(
        "AlexNet: full training and thawed last layers overfit",
        (
            ("alexnet_frozen", "alexnet_full", AUC),
            ("alexnet_frozen", "alexnet_full", GAP),
            ("alexnet_frozen", "alexnet_last", AUC),
            ("alexnet_frozen", "alexnet_last", GAP),
        ),
    ),
    Claim(
        "AlexNet: frozen features and smaller rates on the first layers succeed",
        (("alexnet_frozen", "alexnet_full", AUC), ("alexnet_graded", "alexnet_full", AUC)),
    ),
    Claim(
        "VGG16: full training overfits too",
        (("vgg16_frozen", "vgg16_full", AUC), ("vgg16_frozen", "vgg16_full", GAP)),
    ),
    Claim(
        "VGG16: thawed last layers, frozen features and smaller first rates succeed",
        (
            ("vgg16_last", "vgg16_full", AUC),
            ("vgg16_frozen", "vgg16_full", AUC),
            ("vgg16_graded", "vgg16_full", AUC),
        ),
    ),
    Claim(
        "VGG16: frozen features cost the least, and full training is costly without a good result",
        (
            ("vgg16_frozen", "vgg16_full", EPOCH_SECONDS),
            ("vgg16_frozen", "vgg16_graded", EPOCH_SECONDS),
            ("vgg16_frozen", "vgg16_full", AUC),
        ),
    ),
)


def findings(runs: Runs) -> list[dict]:
    """Judge each of the five conclusions; see `claims.judge`.

    Mann-Whitney, unpaired: a seed is no common fate of two arms. Seconds are compared by epoch. Where an arm was not
    run, both sides are those of few epochs, and named so.
    """
    return judge(_with_epoch_seconds(runs), CLAIMS, paired=False, instead=INSTEAD)


def _with_epoch_seconds(runs: Runs) -> Runs:
    """Return the runs with the seconds of one epoch of training as a metric; a probe has none."""

    def seconds(run: Run) -> float | None:
        return run.metrics[SECONDS] / run.settings["epochs"] if SECONDS in run.metrics else None

    return runs.with_metric(EPOCH_SECONDS, seconds)


def times(runs: Runs) -> list[dict]:
    """Put the training times beside the report's: another machine, so also relative to full training, by epoch.

    Returns:
        Rows with network, way, reported (s), reported_relative, relative (median over the runs that have one of full
        training with the same seed and as many threads, since a busy machine made some runs slower), n (these runs).
        What was not run is None.
    """
    runs = _with_epoch_seconds(runs)
    rows: list[dict] = []
    for network in NETWORKS:
        arms = [f"{network}_{way}" for way in WAYS]
        if not runs.have(arms):
            arms = [INSTEAD.get(arm, arm) for arm in arms]
        of_way = {way: _seconds(runs, arm) for way, arm in zip(WAYS, arms, strict=True)}
        whole = REFERENCE[f"{network}_full", SECONDS]["value"]
        for way, seconds in of_way.items():
            full = of_way["full"]
            ratios = [seconds[place] / full[place] for place in seconds.keys() & full.keys()]
            reported = REFERENCE[f"{network}_{way}", SECONDS]["value"]
            rows.append(
                {
                    "network": network,
                    "way": way,
                    "reported": reported,
                    "reported_relative": reported / whole,
                    "relative": statistics.median(ratios) if ratios else None,
                    "n": len(ratios),
                }
            )
    return rows


def _seconds(runs: Runs, arm: str) -> dict[tuple[int, int | None], float]:
    """Return the seconds of an epoch by seed and threads."""
    return {(run.seed, run.threads): run.metrics[EPOCH_SECONDS] for run in runs.of(arm) if EPOCH_SECONDS in run.metrics}


def optimism(runs: Runs, score: str = "roc_auc") -> list[dict]:
    """Say what choosing the epoch by the images that score it adds to the score: means over the runs of an arm.

    Returns:
        Rows with arm, reported, optimism, corrected, nested, last (see `stats.optimism`), n; runs that ended in
        numbers that are not finite, or kept the last epoch, are left out.
    """
    rows = []
    for arm in runs.arms:
        own = runs.of(arm).where(lambda run: run.settings["keep"] == "best")
        curves = [(np.array(run.details["log_odds"]), np.array(run.details["labels"])) for run in own]
        found = [
            stats.optimism(log_odds, labels, score)
            for log_odds, labels in curves
            if np.isfinite(log_odds).all() and len(np.unique(labels)) == 2
        ]
        if found:
            means = {key: float(np.mean([row[key] for row in found])) for key in found[0]}
            rows.append({"arm": arm, **means, "n": len(found)})
    return rows


def hardest(runs: Runs, count: int = 8) -> list[dict]:
    """Return the validation images on which the runs agree least with the label, hardest first.

    Returns:
        Rows with image (its place in the validation set), label, missed (share of runs), log_odds (median, of the
        true class); of runs on the same images only.
    """
    labels = np.array(runs[0].details["labels"])
    own = runs.where(lambda run: run.details["labels"] == labels.tolist())
    kept = np.array([_kept_log_odds(run) for run in own])
    towards = np.where(labels == 1, 1, -1) * kept[np.isfinite(kept).all(axis=1)]
    order = np.lexsort((np.median(towards, axis=0), -np.mean(towards <= 0, axis=0)))[:count]
    return [
        {
            "image": int(image),
            "label": int(labels[image]),
            "missed": float(np.mean(towards[:, image] <= 0)),
            "log_odds": float(np.median(towards[:, image])),
        }
        for image in order
    ]


def without_seen(runs: Runs, seen: Sequence[int]) -> list[dict]:
    """Score the arms on all validation images, and on those that their networks are not known to be trained on.

    Args:
        runs: stored runs; those on other images than the first are left out, as those without finite log-odds are.
        seen: the places of the validation images that ImageNet's training images have, see `runs.shared_images`.

    Returns:
        Rows with arm, seen (how many are left out), all, without (mean ROC AUC), n; the best without first.
    """
    rows = []
    for arm in runs.arms:
        scores = []
        for run in runs.of(arm).where(lambda run: run.details["labels"] == runs[0].details["labels"]):
            labels, log_odds = np.array(run.details["labels"]), _kept_log_odds(run)
            kept = np.setdiff1d(np.arange(len(labels)), seen)
            if np.isfinite(log_odds).all():
                scores.append((stats.roc_auc(labels, log_odds), stats.roc_auc(labels[kept], log_odds[kept])))
        if scores:
            every, rest = np.mean(scores, axis=0).tolist()
            rows.append({"arm": arm, "seen": str(len(seen)), "all": every, "without": rest, "n": len(scores)})
    return sorted(rows, key=lambda row: -row["without"])


def _kept_log_odds(run: Run) -> np.ndarray:
    """Return the log-odds of the validation images after the epoch whose weights were kept."""
    return np.array(run.details["log_odds"][int(run.metrics.get("best_epoch", 1)) - 1])

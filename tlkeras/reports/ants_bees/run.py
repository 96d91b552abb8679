"""One run of report 004: a network trained in one of four ways, or a probe on its features."""

import functools
import math
import tempfile
import warnings

import keras
import numpy as np

from tlkeras.experiments.report import Inputs, Result
from tlkeras.reports.ants_bees import photographs, probe
from tlkeras.reports.ants_bees.networks import build, pretrained
from tlkeras.reports.ants_bees.settings import TRAINABLE, Settings, networks
from tlkeras.transfer import Phase, evaluation, finetune, phases
from tlkeras.transfer.batches import random_crop
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.finetune import History


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    return {
        "data": [photographs.images().provenance()],
        "weights": [pretrained(name, arm.width) for name in networks(arm)],
    }


def phase(arm: Settings, model: keras.Model) -> Phase:
    """Return the training as the report plans it."""
    return Phase(
        "main",
        arm.train,
        arm.epochs,
        arm.learning_rate,
        "step",
        drop_every=arm.drop_every,
        expect=TRAINABLE[arm.network, arm.train] if (arm.side, arm.width) in ((224, 1), (244, 1)) else None,
        augment=not arm.views,
        multipliers=None if arm.first_rate == 1 else phases.graded(model, arm.first_rate),
    )


def run(arm: Settings, seed: int) -> Result:
    """Run one arm from one seed; a pure function of its arguments (and of the data and weights), but for seconds.

    Returns:
        Metrics of the kept epoch on the validation images: ROC AUC (left out where it is undefined) and accuracy
        (0..1), loss (nats); which epoch that was; the ROC AUC of the last epoch; the accuracy on the training images
        and the distance of the two losses (nats) in the last one; seconds; whether the classifier collapsed. Of a
        probe: the first three, and its calibration. Details hold the log-odds of each validation image.
    """
    if arm.probe:
        return probe.run(arm, seed)
    _, history, log_odds, collapsed_at = train(arm, seed)
    scores, best = history.metrics["val_roc_auc"], kept(arm, history)
    accuracies, losses = (np.array(curve, np.float64) for curve in (history.val_accuracy, history.val_loss))
    metrics = {
        "validation_roc_auc": scores[best],
        "validation_accuracy": float(accuracies[best]),
        "validation_loss": float(losses[best]),
        "best_epoch": best + 1,
        "last_roc_auc": scores[-1],
        "training_accuracy": history.accuracy[-1],
        "gap_loss": float(losses[-1]) - history.loss[-1],
        "training_seconds": history.seconds["main"],
        "collapsed": float(collapsed_at is not None),
    }
    details = {
        "trainable": history.trainable,
        "cached": history.cached,
        "collapsed_at": collapsed_at,
        "log_odds": log_odds,
        "labels": photographs.validation(arm)[1].tolist(),
    }
    known = {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
    return Result(known, history.curves(), details)


def train(arm: Settings, seed: int) -> tuple[keras.Model, History, list[list[float]], int | None]:
    """Train one arm from one seed.

    Returns:
        The model with the weights that are kept, the curves, the log-odds of class 1 of each validation image after
        each epoch, and the epoch by which the classifier had collapsed, or None.
    """

    keras.utils.set_random_seed(seed)
    model, held_out = build(arm.network, arm), photographs.validation(arm)
    log_odds: list[list[float]] = []
    detector = CollapseDetector(model, held_out[0][:: max(1, len(held_out[0]) // 8)])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model,
            photographs.training(arm, seed),
            held_out,
            [phase(arm, model)],
            seed=seed,
            batch_size=arm.batch_size,
            keep=arm.keep,
            checkpoints=folder if arm.keep == "best" else None,
            cache=photographs.cache(),
            augment=random_crop(arm.side),
            callbacks=lambda: [detector],
            metrics={"roc_auc": functools.partial(_recorded_roc_auc, log_odds)},
        )
    return model, history, log_odds, detector.collapsed_at


def kept(arm: Settings, history: History) -> int:
    """Return the epoch, from 0, whose weights the model has."""
    values = np.nan_to_num(np.array(history.val_accuracy, np.float64), nan=-1)
    return int(np.argmax(values)) if arm.keep == "best" else len(values) - 1


def _recorded_roc_auc(log_odds: list[list[float]], labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return ROC AUC, and keep what it is computed from: selection is judged by it later."""
    log_odds.append(evaluation.log_odds(probabilities).round(3).tolist())
    return evaluation.roc_auc(labels, probabilities)

"""The runs of report 004: a network trained in one of four ways, or a calibrated linear probe on its features."""

import functools
import math
import tempfile
import warnings

import keras
import numpy as np

from tlkeras.experiments.report import Inputs, Result, once
from tlkeras.models import alexnet, records, vgg16
from tlkeras.models.alexnet import FILTERS
from tlkeras.models.vgg import VGG16_BLOCKS
from tlkeras.reports.ants_bees import photographs
from tlkeras.reports.ants_bees.settings import TRAINABLE, Settings, networks
from tlkeras.transfer import Phase, evaluation, features, finetune, freeze, phases
from tlkeras.transfer.batches import random_crop
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.finetune import History
from tlkeras.transfer.probe import Probe, fit_probe, reliability, unit_rows


@once
def pretrained(network: str, width: float = 1.0) -> dict:
    """Return which weights there are: ImageNet's, as torchvision has them, else random ones, named as such."""
    try:
        if width != 1:
            raise records.WeightsUnavailableError("Expected the published widths.")
        found = records.best_available(network)
    except records.WeightsUnavailableError:
        return {"name": f"{network}, random", "fingerprint": f"random {network}", "stand_in": True}
    return {"name": f"{network}, {found.name}", "fingerprint": found.fingerprint, "stand_in": False}


def build(network: str, arm: Settings) -> keras.Model:
    """Return a network with one new fully connected layer, and the weights that there are."""
    weights = None if pretrained(network, arm.width)["stand_in"] else "imagenet"
    classes, shape = photographs.images().num_classes, (arm.side, arm.side, 3)
    if network == "alexnet":
        return alexnet(classes, shape, filters=tuple(round(arm.width * n) for n in FILTERS), weights=weights)
    blocks = tuple(tuple(round(arm.width * n) for n in block) for block in VGG16_BLOCKS)
    return vgg16(classes, shape, blocks=blocks, weights=weights)


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
        return _run_probe(arm, seed)
    _, history, log_odds, collapsed_at = train(arm, seed)
    scores, best = history.metrics["val_roc_auc"], _kept(arm, history)
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


def _kept(arm: Settings, history: History) -> int:
    """Return the epoch, from 0, whose weights the model has."""
    values = np.nan_to_num(np.array(history.val_accuracy, np.float64), nan=-1)
    return int(np.argmax(values)) if arm.keep == "best" else len(values) - 1


def _recorded_roc_auc(log_odds: list[list[float]], labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return ROC AUC, and keep what it is computed from: selection is judged by it later."""
    log_odds.append(evaluation.log_odds(probabilities).round(3).tolist())
    return evaluation.roc_auc(labels, probabilities)


def _run_probe(arm: Settings, seed: int) -> Result:
    """Fit a probe and judge it on the validation images.

    Returns:
        ROC AUC (left out where it is undefined), accuracy, and loss, Brier score and calibration error before and
        after the temperature; the log-odds of each image, calibrated, as the one entry of details.
    """
    probe, log_odds, labels = judge_probe(arm, seed)
    calibrated = log_odds / probe.temperature
    metrics = {
        "validation_roc_auc": evaluation.roc_auc(labels, calibrated),
        "validation_accuracy": float(np.mean((calibrated > 0) == labels)),
        **{f"validation_{name}": value for name, value in reliability(calibrated, labels).items()},
        **{f"uncalibrated_{name}": value for name, value in reliability(log_odds, labels).items()},
        "strength": probe.strength,
        "temperature": probe.temperature,
    }
    details = {"features": len(probe.weights), "log_odds": [calibrated.round(3).tolist()], "labels": labels.tolist()}
    return Result({k: v for k, v in metrics.items() if not math.isnan(v)}, details=details)


def judge_probe(arm: Settings, seed: int) -> tuple[Probe, np.ndarray, np.ndarray]:
    """Return the probe, and of the validation images its log-odds before calibration and their labels."""
    inside, labels = photographs.training(arm, seed)
    outside, held_out = photographs.validation(arm, arm.judged)
    known, new = cached_features(inside, arm, arm.views), cached_features(outside, arm, arm.judged)
    probe = fit_probe(_joined(known), labels[: len(known[0][0])], seed=seed, judged=arm.judged)
    return probe, probe.log_odds(_joined(new)), held_out[: len(new[0][0])]


def cached_features(images: np.ndarray, arm: Settings, count: int) -> list[list[np.ndarray]]:
    """Return the features of `count` views of images, one after the other: by part, then by view, `(n, features)`.

    A part is a network; or, of pooled features, the mean or the largest value of each channel of a network. The cache
    is shared with the arms that train the new layer on the same views.
    """
    found = []
    for network in networks(arm):
        keras.utils.set_random_seed(0)  # of random weights, where no others are to be had
        model = build(network, arm)
        freeze(model, "head")
        halves = features.split(model)
        assert halves, "a model of which the head alone is trained has a frozen part"
        base, _ = halves
        pooled = arm.probe == "pooled"
        computed = photographs.cache().features(_pooled(base) if pooled else base, images, copy=False)
        parts = np.split(computed, 2 if pooled else 1, axis=1)
        found += [np.split(part, count) for part in parts]
    return found


def _pooled(base: keras.Model) -> keras.Model:
    """Return a model of the mean, then the largest value, of each channel of the map that `base` makes flat."""
    maps = base.layers[-1].input
    both = [keras.layers.GlobalAveragePooling2D()(maps), keras.layers.GlobalMaxPooling2D()(maps)]
    return keras.Model(base.input, keras.layers.Concatenate()(both))


def _joined(by_part: list[list[np.ndarray]]) -> list[np.ndarray]:
    """Return each view with all parts of its features side by side, each part scaled to length 1."""
    return [np.concatenate([unit_rows(part) for part in parts], axis=1) for parts in zip(*by_part, strict=True)]

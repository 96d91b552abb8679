"""Past report 004: a calibrated linear probe on the cached features of fixed views."""

import math

import keras
import numpy as np

from tlkeras.experiments.report import Result
from tlkeras.reports.ants_bees import photographs
from tlkeras.reports.ants_bees.networks import build
from tlkeras.reports.ants_bees.settings import Settings, networks
from tlkeras.transfer import evaluation, features, freeze
from tlkeras.transfer.probe import Probe, fit_probe, reliability, unit_rows


def run(arm: Settings, seed: int) -> Result:
    """Fit a probe and judge it on the validation images.

    Returns:
        ROC AUC (left out where it is undefined), accuracy, and loss, Brier score and calibration error before and
        after the temperature; the log-odds of each image, calibrated, as the one entry of details.
    """
    probe, log_odds, labels = judge(arm, seed)
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


def judge(arm: Settings, seed: int) -> tuple[Probe, np.ndarray, np.ndarray]:
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
        computed = photographs.cache().features(_pooled(base) if pooled else base, images)
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

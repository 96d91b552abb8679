"""Report 004: ants or bees, AlexNet and VGG16, four ways to transfer."""

from __future__ import annotations  # Keras is imported where it is needed: tables of stored runs do without

import dataclasses
import functools
import math
import tempfile
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tlkeras.experiments.runs import Result
from tlkeras.reports.ants_bees import photographs

if TYPE_CHECKING:
    import keras

    from tlkeras.transfer import Phase
    from tlkeras.transfer.finetune import History


NAME = "ants_bees"
TITLE = "Ants or bees: AlexNet and VGG16, four ways to transfer (report 004)"
NETWORKS = ("alexnet", "vgg16")
LAST = 3  # the last layers with weights: AlexNet's "5 of 12 layers" hold two convolutions, and the new layer
TRAINABLE = {  # at 224 pixels; 9,216 and 25,088 features into the new layer, as the report says
    ("alexnet", "head"): 18_434,
    ("alexnet", 2): 608_514,
    ("alexnet", LAST): 1_493_506,
    ("alexnet", "all"): 2_488_130,
    ("vgg16", "head"): 50_178,
    ("vgg16", LAST): 4_769_794,
    ("vgg16", "all"): 14_764_866,
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    network: str = "alexnet"  # or "vgg16"; for a probe also "both"
    train: str | int = "all"  # the four ways: all, head, the last layers, all at graded rates
    first_rate: float = 1.0  # multiplier at the first layer, rising to 1 at the last; not stated
    epochs: int = 25
    learning_rate: float = 1e-3  # not stated; Adam's default in PyTorch, and the rate of the tutorial it names
    drop_every: int = 7  # epochs; then the rate is multiplied by 0.1
    batch_size: int = 4
    side: int = 224  # pixels of the crop; the report says 244, its source and its networks 224
    resize: int = 256  # pixels of the square that is cropped; not stated, as in the tutorial
    mirrored: bool = True  # half of the training images are mirrored and added
    keep: str = "best"  # by validation accuracy, as in the tutorial; "last" is ours
    views: int = 0  # ours: so many fixed crops and mirror images, cached, instead of random crops
    probe: bool | str = False  # ours: logistic regression on the cached features, or on their "pooled" channels
    judged: int = 1  # ours: views of a validation image over which a probe averages
    width: float = 1.0  # of the layers; narrow networks are for tests, and have random weights
    train_count: int = 244
    validation_count: int = 153


WAYS = {
    "full": Settings(),
    "frozen": Settings(train="head"),
    "last": Settings(train=LAST),
    "graded": Settings(first_rate=0.01),
}
FAITHFUL = {
    f"{network}_{way}": dataclasses.replace(settings, network=network)
    for network in NETWORKS
    for way, settings in WAYS.items()
}
SHORT = {  # what two processor cores do in an hour or two: three epochs, at 1e-3, 1e-4 and 1e-5
    f"vgg16_{way}_short": dataclasses.replace(FAITHFUL[f"vgg16_{way}"], epochs=3, drop_every=1) for way in WAYS
}
ONE_CHANGE = {
    "alexnet_frozen_244": dataclasses.replace(FAITHFUL["alexnet_frozen"], side=244),
    "alexnet_last_1": dataclasses.replace(FAITHFUL["alexnet_last"], train=2),
    "alexnet_last_1e-4": dataclasses.replace(FAITHFUL["alexnet_last"], learning_rate=1e-4),
    "alexnet_full_1e-4": dataclasses.replace(FAITHFUL["alexnet_full"], learning_rate=1e-4),
    "alexnet_full_1e-5": dataclasses.replace(FAITHFUL["alexnet_full"], learning_rate=1e-5),
    "alexnet_graded_1e-3": dataclasses.replace(FAITHFUL["alexnet_graded"], first_rate=1e-3),
}
FIXED = Settings(train="head", views=10, mirrored=False, keep="last", epochs=5, drop_every=2)
PROBE = dataclasses.replace(FIXED, probe=True)
POOLED = dataclasses.replace(PROBE, network="vgg16", side=320, resize=320, views=2, judged=2, probe="pooled")
IMPROVED = {
    **{f"{name}_views": dataclasses.replace(FIXED, network=name) for name in NETWORKS},
    **{f"{name}_probe": dataclasses.replace(PROBE, network=name) for name in NETWORKS},
    **{f"{name}_probe_10": dataclasses.replace(PROBE, network=name, judged=10) for name in (*NETWORKS, "both")},
    "vgg16_probe_320": POOLED,  # its size and pooling were chosen out of twelve after looking at the validation images
}
ARMS: dict[str, Settings] = {**FAITHFUL, **SHORT, **ONE_CHANGE, **IMPROVED}

_ALEXNET, _VGG16 = "AlexNet, conclusion 3: about 2 minutes each", "VGG16, conclusion 4; on a GPU of Colab"
SECONDS = {"full": 600, "frozen": 336, "last": 360, "graded": 617}
REFERENCE = {
    **{(f"alexnet_{way}", "training_seconds"): {"value": 120, "source": _ALEXNET} for way in WAYS},
    **{(f"vgg16_{way}", "training_seconds"): {"value": SECONDS[way], "source": _VGG16} for way in WAYS},
}
HIGHLIGHTS = (*FAITHFUL, *SHORT, *IMPROVED)  # the arms of the README's table
HEADLINE = ("validation_roc_auc", "validation_accuracy")  # its metrics
SEEDS = {"smoke": 1, "quick": 1, "paper": 5}
REDUCED = {
    "smoke": {"side": 64, "resize": 72, "width": 1 / 16, "train_count": 16, "validation_count": 16, "epochs": 2},
    "quick": {"side": 96, "resize": 110, "train_count": 48, "validation_count": 60, "epochs": 2, "drop_every": 1},
    "paper": {},
}


def seeds(profile: str) -> int:
    """Return the number of seeds of a profile."""
    return SEEDS[profile]


def settings(arm: str, profile: str) -> Settings:
    """Return the settings of an arm, reduced as the profile says."""
    return dataclasses.replace(ARMS[arm], **REDUCED[profile])


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    return {
        "data": [photographs.images().provenance()],
        "weights": [pretrained(name, arm.width) for name in networks(arm)],
    }


def networks(arm: Settings) -> tuple[str, ...]:
    """Return the networks of an arm: one, or both under a probe."""
    return NETWORKS if arm.network == "both" else (arm.network,)


@functools.cache
def pretrained(network: str, width: float = 1.0) -> dict:
    """Return which weights there are: ImageNet's, as torchvision has them, else random ones, named as such."""
    from tlkeras.models import records

    try:
        if width != 1:
            raise records.WeightsUnavailableError("Expected the published widths.")
        records.fetch(network)
    except records.WeightsUnavailableError:
        return {"name": f"{network}, random", "fingerprint": f"random {network}", "stand_in": True}
    record = records.RECORDS[network]
    return {"name": f"{network}, imagenet", "fingerprint": record.checksum[:16], "stand_in": False}


def build(network: str, arm: Settings) -> keras.Model:
    """Return a network with one new fully connected layer, and the weights that there are."""
    from tlkeras.models import alexnet, vgg16
    from tlkeras.models.alexnet import FILTERS
    from tlkeras.models.vgg import VGG16_BLOCKS

    options = {"weights": None if pretrained(network, arm.width)["stand_in"] else "imagenet"}
    classes, shape = photographs.images().num_classes, (arm.side, arm.side, 3)
    if network == "alexnet":
        return alexnet(classes, shape, filters=tuple(round(arm.width * n) for n in FILTERS), **options)
    blocks = tuple(tuple(round(arm.width * n) for n in block) for block in VGG16_BLOCKS)
    return vgg16(classes, shape, blocks=blocks, **options)


def phase(arm: Settings, model: keras.Model) -> Phase:
    """Return the training as the report plans it."""
    from tlkeras.transfer import Phase, phases

    return Phase(
        "main", arm.train, arm.epochs, arm.learning_rate, "step", drop_every=arm.drop_every,
        expect=TRAINABLE[arm.network, arm.train] if (arm.side, arm.width) in ((224, 1), (244, 1)) else None,
        augment=not arm.views, multipliers=None if arm.first_rate == 1 else phases.graded(model, arm.first_rate),
    )  # fmt: skip


def run(arm: Settings, seed: int) -> Result:
    """Run one arm from one seed; a pure function of its arguments (and of the data and weights), but for seconds.

    Returns:
        Metrics of the kept epoch on the validation images: ROC AUC (left out where it is undefined) and accuracy
        (0..1), loss (nats); which epoch that was; the ROC AUC of the last epoch; the accuracy on the training images
        and the distance of the two losses (nats) in the last one; seconds; whether the classifier collapsed. Of a
        probe: the first three, and its calibration. Details hold the log-odds of each validation image.
    """
    if arm.probe:
        from tlkeras.reports.ants_bees import probe as ants_bees_probe

        return ants_bees_probe.run(arm, seed)
    _, history, log_odds, collapsed_at = train(arm, seed)
    scores, best = history.metrics["val_roc_auc"], kept(arm, history)
    metrics = {
        "validation_roc_auc": scores[best],
        "validation_accuracy": history.val_accuracy[best],
        "validation_loss": history.val_loss[best],
        "best_epoch": best + 1,
        "last_roc_auc": scores[-1],
        "training_accuracy": history.accuracy[-1],
        "gap_loss": history.val_loss[-1] - history.loss[-1],
        "training_seconds": history.seconds["main"],
        "collapsed": float(collapsed_at is not None),
    }
    details = {
        "trainable": history.trainable, "cached": history.cached, "collapsed_at": collapsed_at,
        "log_odds": log_odds, "labels": photographs.validation(arm)[1].tolist(),
    }  # fmt: skip
    known = {name: value for name, value in metrics.items() if value is not None and math.isfinite(value)}
    return Result(known, history.curves(), details)


def train(arm: Settings, seed: int) -> tuple[keras.Model, History, list[list[float]], int | None]:
    """Train one arm from one seed.

    Returns:
        The model with the weights that are kept, the curves, the log-odds of class 1 of each validation image after
        each epoch, and the epoch by which the classifier had collapsed, or None.
    """
    import keras

    from tlkeras.transfer import finetune
    from tlkeras.transfer.batches import random_crop
    from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector

    keras.utils.set_random_seed(seed)
    model, held_out, log_odds = build(arm.network, arm), photographs.validation(arm), []
    detector = CollapseDetector(model, held_out[0][:: max(1, len(held_out[0]) // 8)])
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model, photographs.training(arm, seed), held_out, [phase(arm, model)],
            seed=seed, batch_size=arm.batch_size, keep=arm.keep, checkpoints=folder if arm.keep == "best" else None,
            cache=photographs.cache(), augment=random_crop(arm.side), callbacks=lambda: [detector],
            metrics={"roc_auc": functools.partial(_recorded_roc_auc, log_odds)},
        )  # fmt: skip
    return model, history, log_odds, detector.collapsed_at


def kept(arm: Settings, history: History) -> int:
    """Return the epoch, from 0, whose weights the model has."""
    values = [-1 if math.isnan(value) else value for value in history.val_accuracy]
    return int(np.argmax(values)) if arm.keep == "best" else len(values) - 1


def _recorded_roc_auc(log_odds: list[list[float]], labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return ROC AUC, and keep what it is computed from: selection is judged by it later."""
    from tlkeras.transfer import evaluation

    log_odds.append(evaluation.log_odds(probabilities).round(3).tolist())
    return evaluation.roc_auc(labels, probabilities)

"""Report 000 (Shams): SqueezeNet with a new conv10 on CIFAR-10, more and more of it trained."""

from __future__ import annotations  # Keras is imported where it is needed: tables of stored runs do without

import dataclasses
import functools
import tempfile
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tlkeras import data
from tlkeras.experiments.runs import Result

if TYPE_CHECKING:
    import keras

    from tlkeras.transfer import Phase


NAME = "squeezenet"
TITLE = "SqueezeNet on CIFAR-10, more and more of it trained (report 000)"
FIRE8_UP = 7  # the last layers with weights: three each of fire8 and fire9, and conv10
TRAINABLE = {"head": 5_130, FIRE8_UP: 391_306, "all": 727_626}  # page 1 and 2 of the report


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    train: str | int = "head"  # figures 1, 3 and 5: the head, fire8 and up, all
    epochs: int = 20  # "enough to stabilise the accuracy"
    learning_rate: float = 1e-3  # not stated; Adam's default in Keras
    preprocessing: str = "unit"  # not stated; 0..1 gives the report's numbers
    weights: str | None = "imagenet"
    dropout: float = 0.5  # not stated; the original's, before conv10
    head_relu: bool = False  # not stated; the original has one, which costs the head alone some points
    batch_size: int = 32  # page 1
    train_count: int = 40_000  # page 1; validation and test 10,000 each
    validation_count: int = 10_000
    test_count: int = 10_000
    resolution: int = 32  # images are enlarged inside the model
    pool_first: bool = False  # ours: average before conv10, the same logits
    head_epochs: int = 0  # ours: the head alone, before anything else moves
    schedule: str = "constant"  # "cosine" is ours
    augment: bool = False  # ours: mirror and crop


FAITHFUL = {
    "head": Settings("head", 20),
    "fire8_up": Settings(FIRE8_UP, 15),
    "all": Settings("all", 12),
}
CAFFE = {arm: dataclasses.replace(settings, preprocessing="caffe") for arm, settings in FAITHFUL.items()}
RATES = {"1e-2": 1e-2, "3e-3": 3e-3, "1e-3": 1e-3, "3e-4": 3e-4}
ONE_CHANGE = {
    **{f"{arm}_no_dropout": dataclasses.replace(settings, dropout=0.0) for arm, settings in FAITHFUL.items()},
    "all_3_epochs": dataclasses.replace(FAITHFUL["all"], epochs=3),
    "all_4_epochs": dataclasses.replace(FAITHFUL["all"], epochs=4),
    "scratch_1e-3": dataclasses.replace(FAITHFUL["all"], weights=None),
    "scratch_3e-4": dataclasses.replace(FAITHFUL["all"], weights=None, learning_rate=3e-4),
    "head_relu": dataclasses.replace(FAITHFUL["head"], head_relu=True),
    "head_caffe_1e-3": CAFFE["head"],
    **{
        f"{arm}_caffe_{name}": dataclasses.replace(CAFFE[arm], learning_rate=rate)
        for arm in ("fire8_up", "all")
        for name, rate in RATES.items()
    },
}
LINEAR = Settings(
    "head", epochs=40, learning_rate=3e-3, preprocessing="caffe", batch_size=128, pool_first=True, schedule="cosine",
)  # fmt: skip
WHOLE = Settings(
    "all", epochs=10, learning_rate=3e-4, preprocessing="caffe", batch_size=64, pool_first=True, head_epochs=3,
    schedule="cosine", augment=True,
)  # fmt: skip
IMPROVED = {
    **{f"head_{side}": dataclasses.replace(LINEAR, resolution=side) for side in (96, 160, 224)},
    **{f"all_{side}": dataclasses.replace(WHOLE, resolution=side) for side in (32, 96, 128)},
}
ARMS: dict[str, Settings] = {**FAITHFUL, **ONE_CHANGE, **IMPROVED}

REFERENCE = {
    ("head", "test_accuracy"): {"value": 0.384, "source": "page 1, model 1"},
    ("head", "test_loss"): {"value": 1.733, "source": "page 1, model 1"},
    ("fire8_up", "test_accuracy"): {"value": 0.494, "source": "page 2, model 2"},
    ("fire8_up", "test_loss"): {"value": 1.485, "source": "page 2, model 2"},
    ("all", "test_accuracy"): {"value": 0.677, "source": "page 2, model 3"},
    ("all", "test_loss"): {"value": 1.085, "source": "page 2, model 3"},
}
HIGHLIGHTS = (*FAITHFUL, "all_4_epochs", *IMPROVED)  # the arms of the README's table
HEADLINE = ("test_accuracy", "test_loss")  # its metrics
SEEDS = {"smoke": 1, "quick": 2, "paper": 3}
REDUCED = {
    "smoke": {"train_count": 64, "validation_count": 32, "test_count": 64, "epochs": 1, "resolution": 32},
    "quick": {"train_count": 4_000, "validation_count": 1_000, "test_count": 2_000, "epochs": 4, "resolution": 32},
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
    return {"data": [images().provenance()], "weights": [pretrained()] if arm.weights else []}


@functools.cache
def images() -> data.Dataset:
    """Load CIFAR-10 once a process."""
    return data.load("cifar10")


@functools.cache
def pretrained() -> dict:
    """Return which weights are there: ImageNet's, else the stand-in from Tiny ImageNet, named as such."""
    from tlkeras.models import records, weights
    from tlkeras.models.squeezenet import STAND_IN

    try:
        records.fetch("squeezenet")
        return {"name": "imagenet", "fingerprint": records.RECORDS["squeezenet"].sha256[:16], "stand_in": False}
    except records.WeightsUnavailableError:
        facts = weights.record(STAND_IN)
        return {"name": "tinyimagenet32", "fingerprint": facts["sha256"][:16], "stand_in": True}


def parts(arm: Settings) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cut CIFAR-10: the first images train, the last validate, the same for every seed and arm.

    Returns:
        "train", "validation", "test" -> (images uint8 (n, 32, 32, 3), labels int32 (n,)).
    """
    cifar = images()
    validation_count = min(arm.validation_count, len(cifar.x_train) // 5)
    pool = len(cifar.x_train) - validation_count
    train_count = min(arm.train_count, pool)
    return {
        "train": (cifar.x_train[:train_count], cifar.y_train[:train_count]),
        "validation": (cifar.x_train[pool:], cifar.y_train[pool:]),
        "test": (cifar.x_test[: arm.test_count], cifar.y_test[: arm.test_count]),
    }


def phases(arm: Settings) -> tuple[Phase, ...]:
    """Return the training schedule: one phase as in the report, or the head alone before."""
    from tlkeras.transfer import Phase

    main = Phase("main", arm.train, arm.epochs, arm.learning_rate, arm.schedule, expect=TRAINABLE[arm.train])
    return (Phase("head", "head", arm.head_epochs, 1e-3, augment=False), main) if arm.head_epochs else (main,)


def build(arm: Settings) -> keras.Model:
    """Return SqueezeNet for ten classes, with the weights of an earlier training and always a new conv10."""
    from tlkeras.models import squeezenet

    return squeezenet(
        images().num_classes,
        weights=arm.weights and pretrained()["name"],
        preprocessing=arm.preprocessing,
        dropout=arm.dropout,
        head_relu=arm.head_relu,
        resolution=arm.resolution if arm.resolution > 32 else None,
        pool_first=arm.pool_first,
    )


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics of the epoch with the best validation accuracy: accuracy (0..1) and loss (nats) on the test images,
        the validation accuracy, which epoch that was, and whether the classifier collapsed; and the curves.
    """
    import keras

    from tlkeras.transfer import finetune
    from tlkeras.transfer.batches import random_flip_crop
    from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
    from tlkeras.transfer.evaluation import evaluate

    cut = parts(arm)
    keras.utils.set_random_seed(seed)
    model = build(arm)
    detector = CollapseDetector(model, cut["validation"][0][:100], stop=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model, cut["train"], cut["validation"], phases(arm),
            seed=seed, batch_size=arm.batch_size, keep="best", checkpoints=folder,
            augment=random_flip_crop() if arm.augment else None, callbacks=lambda: [detector],
        )  # fmt: skip
    loss, accuracy = evaluate(model, *cut["test"])
    last = [epoch for epoch, name in enumerate(history.phase) if name == "main"]
    best = max(last, key=lambda epoch: history.val_accuracy[epoch])
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "validation_accuracy": history.val_accuracy[best],
        "best_epoch": best + 1,
        "collapsed": float(detector.collapsed_at is not None),
    }
    details = {
        "trainable": history.trainable,
        "cached": history.cached,
        "seconds": {name: round(seconds, 2) for name, seconds in history.seconds.items()},
        "collapsed_at": detector.collapsed_at,
    }
    return Result(metrics, history.curves(), details)

"""Report 001, pages 13 to 18: three strategies for small and large, similar and dissimilar data."""

from __future__ import annotations

import dataclasses
import warnings
from typing import TYPE_CHECKING

import numpy as np

from tlkeras import data
from tlkeras.experiments.runs import Result
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies.targets import SIMILAR, cut, target

if TYPE_CHECKING:
    import keras


STRATEGIES = ("train_all", "freeze_some", "freeze_base")  # as in `transfer.strategies`
SMALL, LARGE = 50, 2_000  # images of a class; the threshold of the slides is 1,000 (page 13)
LARGE_ENOUGH = ("cifar10", "fashion_mnist")  # the others have fewer images of a class


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm: a target, a size and a strategy. The slides state none of the numbers."""

    dataset: str
    per_class: int
    strategy: str
    head_epochs: int  # the new classifier alone, before anything else moves
    epochs: int
    batch_size: int
    learning_rate: float = 1e-4  # Adam at 1e-3 collapses when deep layers train (see report 000)
    head_rate: float = 1e-3
    schedule: str = "cosine"
    dropout: float = 0.5  # SqueezeNet's own
    resolution: int = 64  # images are enlarged inside the model: at 32 px its last maps are single pixels
    test_count: int = 2_000


def arm_name(dataset: str, size: str, strategy: str) -> str:
    """Return the name of an arm, such as "cifar10_small_freeze_base"."""
    return f"{dataset}_{size}_{strategy}"


CELLS = {(name, "small"): (SMALL, 20, 20, 32) for name in SIMILAR} | {
    (name, "large"): (LARGE, 6, 6, 64) for name in LARGE_ENOUGH
}
ARMS = {
    arm_name(name, size, strategy): Settings(name, per_class, strategy, head_epochs, epochs, batch_size)
    for (name, size), (per_class, head_epochs, epochs, batch_size) in CELLS.items()
    for strategy in STRATEGIES
}
REDUCED = {
    "smoke": {"head_epochs": 1, "epochs": 1, "resolution": 32, "test_count": 32},
    "quick": {"head_epochs": 20, "epochs": 5, "resolution": 48, "test_count": 500},
    "paper": {},
}
PER_CLASS = {"smoke": (2, 4), "quick": (10, 40), "paper": (SMALL, LARGE)}


def reduced(arm: Settings, profile: str) -> dict:
    """Return the settings that a profile changes."""
    return {**REDUCED[profile], "per_class": PER_CLASS[profile][arm.per_class == LARGE]}


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of data and weights; the weights may be the stand-in of report 000."""
    return {"data": [target(arm.dataset).provenance()], "weights": [pretrained()]}


def build(arm: Settings, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training and a new conv10."""
    from tlkeras.models import squeezenet

    return squeezenet(
        target(arm.dataset).num_classes, shape, weights=pretrained()["name"], dropout=arm.dropout,
        resolution=arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None, pool_first=True,
    )  # fmt: skip


def run(arm: Settings, seed: int) -> Result:
    """Fine-tune by one strategy on one draw; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, and whether the classifier collapsed; and the curves.
    """
    import keras

    from tlkeras.transfer import finetune, strategies
    from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector

    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    keras.utils.set_random_seed(seed)
    model = build(arm, parts["train"][0].shape[1:])
    phases = strategies.phases(
        model, arm.strategy, epochs=arm.epochs, learning_rate=arm.learning_rate, head_epochs=arm.head_epochs,
        head_rate=arm.head_rate, schedule=arm.schedule,
    )  # fmt: skip
    detector = CollapseDetector(model, parts["train"][0][:100], stop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model, parts["train"], None, phases, seed=seed, batch_size=arm.batch_size, callbacks=lambda: [detector]
        )
    loss, accuracy = evaluate_cached(model, *parts["test"])
    metrics = {
        "test_accuracy": accuracy, "test_loss": loss, "train_accuracy": history.accuracy[-1],
        "collapsed": float(detector.collapsed_at is not None),
    }  # fmt: skip
    details = {
        "draw": data.fingerprint(*parts["train"]), "trainable": history.trainable, "cached": history.cached,
        "seconds": {name: round(seconds, 2) for name, seconds in history.seconds.items()},
    }  # fmt: skip
    return Result(metrics, history.curves(), details)


def evaluate_cached(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return `(loss, accuracy)` as `evaluate` does; what is frozen runs once a process for the same images."""
    from tlkeras.transfer import features
    from tlkeras.transfer.evaluation import Evaluator, evaluate

    halves = features.split(model)
    if halves is None:
        return evaluate(model, images, labels)
    base, head = halves
    return Evaluator(head)(features.SHARED.features(base, images), labels)

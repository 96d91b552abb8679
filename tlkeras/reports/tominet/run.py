"""Report 002 (Hüttenbräucker 2020, TP5), EJ3: 100 labelled digits, after something else was learnt or not."""

from __future__ import annotations  # Keras is imported where it is needed: tables of stored runs do without

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from tlkeras import data
from tlkeras.experiments.runs import Result

if TYPE_CHECKING:
    import keras

    from tlkeras.transfer import Phase


NAME = "tominet"
TITLE = "100 digits, after clothes or letters (report 002, EJ3)"


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm of the study. What the report does not state says so."""

    source: str | None = None  # data set of the earlier training; None is "Sin TL" of Table 1
    balanced: bool = False  # ten of each digit; the report asks for "a representative set" at its end
    train_count: int = 100  # EJ3, n_train
    validation_count: int = 10_000  # EJ3
    test_count: int = 10_000  # EJ3
    head_epochs: int = 35  # EJ3, only the dense layer
    all_epochs: int = 15  # EJ3, fine-tuning at a ten times lower rate
    scratch_epochs: int = 50  # not stated; as many as the transfer arms have
    learning_rate: float = 1e-3  # not stated; Adam's default in Keras
    batch_size: int = 32  # not stated; Keras' default
    validation_every: int = 1  # epochs; the figures show each epoch
    fine_rate: float = 1e-4  # EJ3, ten times lower
    schedule: str = "constant"  # not stated; "cosine" is ours
    augment: bool = False  # not in the report; ours


PLAIN = {
    "scratch_50": Settings(),
    "scratch_150": Settings(scratch_epochs=150, validation_every=10),
    "fashion": Settings("fashion_mnist"),
    "letters": Settings("letters"),
    "cyrillic": Settings("cyrillic_letters"),
}
LONGER = Settings(
    "letters", head_epochs=10, all_epochs=100, scratch_epochs=110, learning_rate=3e-3, fine_rate=3e-3,
    schedule="cosine", validation_every=50,
)  # fmt: skip
IMPROVED = {  # one change at a time; recalibrated statistics are a metric of every arm
    "letters_longer": LONGER,
    "letters_best": dataclasses.replace(LONGER, augment=True),
    "scratch_best": dataclasses.replace(LONGER, source=None, augment=True),
}
BALANCED = {f"{arm}_balanced": dataclasses.replace(PLAIN[arm], balanced=True, validation_every=50) for arm in PLAIN} | {
    "letters_best_balanced": dataclasses.replace(IMPROVED["letters_best"], balanced=True)
}
ARMS: dict[str, Settings] = {**PLAIN, **IMPROVED, **BALANCED}

REFERENCE = {
    ("scratch_50", "test_accuracy"): {"value": 0.67, "source": "Table 1, Sin TL (epochs not stated)"},
    ("scratch_150", "test_accuracy"): {"value": 0.67, "source": "Table 1, Sin TL (epochs not stated)"},
    ("fashion", "test_accuracy"): {"value": 0.63, "source": "Table 1, TL- Fashion"},
    ("letters", "test_accuracy"): {"value": 0.77, "source": "Table 1, TL-Letters"},
}
HIGHLIGHTS = (*PLAIN, *IMPROVED, "letters_best_balanced")  # the arms of the README's table
HEADLINE = ("test_accuracy", "test_accuracy_recalibrated")  # its metrics
SEEDS = {"smoke": 2, "quick": 3, "paper": 30}
REDUCED = {
    "smoke": {"validation_count": 100, "test_count": 200, "head_epochs": 2, "all_epochs": 1, "scratch_epochs": 2},
    "quick": {"validation_every": 50},
    "paper": {},
}


def seeds(profile: str) -> int:
    """Return the number of draws of a profile."""
    return SEEDS[profile]


def settings(arm: str, profile: str) -> Settings:
    """Return the settings of an arm, reduced as the profile says."""
    return dataclasses.replace(ARMS[arm], **REDUCED[profile])


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    used = []
    if arm.source:
        from tlkeras.models import weights

        facts = weights.record(f"tominet_{arm.source}")
        used = [{"name": f"tominet_{arm.source}", "fingerprint": facts["sha256"][:16], "data": facts["data"]}]
    return {"data": [digits().provenance()], "weights": used}


@functools.cache
def digits() -> data.Dataset:
    """Load MNIST once a process."""
    return data.load("mnist")


def parts(arm: Settings, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cut MNIST: the seed draws the training digits; validation and test digits are the same for every draw and arm.

    Returns:
        "train", "validation", "test" -> (images uint8 (n, 28, 28, 1), labels int32 (n,)).
    """
    mnist = digits()
    validation_count = min(arm.validation_count, len(mnist.x_train) // 4)
    pool = len(mnist.x_train) - validation_count
    drawn = data.splits.few_shot(
        mnist.y_train[:pool], arm.train_count, seed=seed, balanced=arm.balanced, num_classes=mnist.num_classes
    )
    return {
        "train": (mnist.x_train[drawn], mnist.y_train[drawn]),
        "validation": (mnist.x_train[pool:], mnist.y_train[pool:]),
        "test": (mnist.x_test[: arm.test_count], mnist.y_test[: arm.test_count]),
    }


def phases(arm: Settings) -> tuple[Phase, ...]:
    """Return the training schedule: one phase from scratch, two after an earlier training."""
    from tlkeras.transfer import Phase

    if arm.source is None:
        return (Phase("scratch", "all", arm.scratch_epochs, arm.learning_rate, arm.schedule),)
    return (
        Phase("head", "head", arm.head_epochs, arm.learning_rate, arm.schedule),
        Phase("all", "all", arm.all_epochs, arm.fine_rate, arm.schedule),
    )


def build(arm: Settings) -> keras.Model:
    """Return TomiNet for ten digits: the source's convolutions if there is a source, and always a new dense layer."""
    from tlkeras.models import tominet, weights
    from tlkeras.models.tominet import HEAD

    model = tominet(10)
    if arm.source:
        weights.load_pretrained(model, f"tominet_{arm.source}", head=HEAD, new_head=True)
    return model


def run(arm: Settings, seed: int) -> Result:
    """Train one arm on one draw of 100 digits; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) on training, validation and test digits, test loss (nats), and the
        same after the batch-norm statistics were recalibrated on the training digits; and the curves.
    """
    import keras

    from tlkeras.transfer import finetune, recalibrate
    from tlkeras.transfer.batches import random_affine
    from tlkeras.transfer.evaluation import evaluate

    cut = parts(arm, seed)
    keras.utils.set_random_seed(seed)
    model = build(arm)
    history = finetune(
        model, cut["train"], cut["validation"], phases(arm),
        seed=seed, batch_size=arm.batch_size, validation_every=arm.validation_every,
        augment=random_affine() if arm.augment else None,
    )  # fmt: skip
    metrics = {"train_accuracy": history.accuracy[-1], "validation_accuracy": history.val_accuracy[-1]}
    metrics["test_loss"], metrics["test_accuracy"] = evaluate(model, *cut["test"])
    recalibrate(model, cut["train"][0])
    metrics["test_loss_recalibrated"], metrics["test_accuracy_recalibrated"] = evaluate(model, *cut["test"])
    details = {"draw": data.fingerprint(*cut["train"]), "seconds": {k: round(v, 2) for k, v in history.seconds.items()}}
    return Result(metrics, history.curves(), details)

"""One run of report 002: TomiNet on one draw of 100 digits, from scratch or after an earlier training."""

import functools

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Inputs, Result
from tlkeras.models import tominet, weights
from tlkeras.reports.tominet.settings import Settings
from tlkeras.transfer import Phase, finetune, recalibrate
from tlkeras.transfer.batches import random_affine
from tlkeras.transfer.evaluation import evaluate


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    used: list[dict] = []
    if arm.source:
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
    if arm.source is None:
        return (Phase("scratch", "all", arm.scratch_epochs, arm.learning_rate, arm.schedule),)
    return (
        Phase("head", "head", arm.head_epochs, arm.learning_rate, arm.schedule),
        Phase("all", "all", arm.all_epochs, arm.fine_rate, arm.schedule),
    )


def build(arm: Settings) -> keras.Model:
    """Return TomiNet for ten digits: the source's convolutions if there is a source, and always a new dense layer."""
    return tominet(10, weights=arm.source, new_head=True)


def run(arm: Settings, seed: int) -> Result:
    """Train one arm on one draw of 100 digits; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) on training, validation and test digits, test loss (nats), and the
        same after the batch-norm statistics were recalibrated on the training digits; and the curves.
    """

    cut = parts(arm, seed)
    keras.utils.set_random_seed(seed)
    model = build(arm)
    history = finetune(
        model,
        cut["train"],
        cut["validation"],
        phases(arm),
        seed=seed,
        batch_size=arm.batch_size,
        validation_every=arm.validation_every,
        augment=random_affine() if arm.augment else None,
    )
    metrics = {"train_accuracy": history.accuracy[-1], "validation_accuracy": history.val_accuracy[-1] or 0.0}
    metrics["test_loss"], metrics["test_accuracy"] = evaluate(model, *cut["test"])
    recalibrate(model, cut["train"][0])
    metrics["test_loss_recalibrated"], metrics["test_accuracy_recalibrated"] = evaluate(model, *cut["test"])
    details = {"draw": data.fingerprint(*cut["train"]), "seconds": {k: round(v, 2) for k, v in history.seconds.items()}}
    return Result(metrics, history.curves(), details)

"""One run of report 002: TomiNet on one draw of 100 digits, from scratch or after an earlier training."""

import dataclasses
import hashlib
import json

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Inputs, Result, once
from tlkeras.models import records, tominet, weights
from tlkeras.reports.tominet import pretraining
from tlkeras.reports.tominet.settings import Settings
from tlkeras.transfer import Phase, finetune, recalibrate
from tlkeras.transfer.batches import random_affine
from tlkeras.transfer.evaluation import evaluate


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    used: list[dict] = []
    if arm.source:
        facts = weights.record(f"tominet_{arm.source}")
        name, mark = f"tominet_{arm.source}", facts["sha256"][:16]
        if arm.source_count:
            name, mark = f"{name}, {arm.source_count} images, seed {arm.source_seed}", _source_mark(arm, facts["data"])
        used = [{"name": name, "fingerprint": mark, "data": facts["data"]}]
    return {"data": [digits().provenance()], "weights": used}


def source_settings(arm: Settings) -> pretraining.Settings:
    """Return how the source network of an arm is trained anew: as many for validation as letters have, by share."""
    return pretraining.Settings(arm.source or "", arm.source_count, round(arm.source_count / 4), seed=arm.source_seed)


def _source_mark(arm: Settings, source: dict) -> str:
    """Return 16 hex digits over what a source network that is trained anew depends on."""
    content = {"settings": dataclasses.asdict(source_settings(arm)), "data": source["fingerprint"]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


@once
def source_weights(settings: pretraining.Settings) -> dict[str, np.ndarray]:
    """Train a source network once a process; return its weights as `weights.assign` takes them."""
    model, _ = pretraining.train(settings)
    return {name: keras.ops.convert_to_numpy(value) for name, value in weights.tensor_names(model).items()}


@once
def digits() -> data.Dataset:
    """Load MNIST once a process."""
    return data.load("mnist")


def parts(arm: Settings, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Cut MNIST: `arm.draw`, else the seed, draws the training digits; validation and test keep theirs.

    Returns:
        "train", "validation", "test" -> (images uint8 (n, 28, 28, 1), labels int32 (n,)).
    """
    mnist = digits()
    validation_count = min(arm.validation_count, len(mnist.x_train) // 4)
    pool = len(mnist.x_train) - validation_count
    drawn = data.splits.few_shot(
        mnist.y_train[:pool],
        arm.train_count,
        seed=seed if arm.draw is None else arm.draw,
        balanced=arm.balanced,
        num_classes=mnist.num_classes,
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
    if not arm.source_count:
        return tominet(10, weights=arm.source, new_head=True)
    tensors, model = source_weights(source_settings(arm)), tominet(10)
    weights.assign(model, tensors, head=records.NETWORKS["tominet"].head, new_head=True)
    return model


def run(arm: Settings, seed: int) -> Result:
    """Train one arm on one draw of 100 digits; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) on training, validation and test digits, test loss (nats), and the
        same after the batch-norm statistics were recalibrated on the training digits; and the curves.
    """
    cut = parts(arm, seed)
    if arm.source_count:
        source_weights(source_settings(arm))  # before the seed is set: it is trained in the first run alone
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

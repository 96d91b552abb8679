"""One run of report 000: SqueezeNet with a new conv10, of which more or less is trained; and what runs cost."""

import dataclasses
import tempfile
import warnings
from collections.abc import Sequence

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Inputs, Result, once
from tlkeras.experiments.runs import Run, Runs
from tlkeras.models import records, squeezenet
from tlkeras.reports.squeezenet.settings import TRAINABLE, Settings
from tlkeras.transfer import Phase, finetune, freezing
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.evaluation import evaluate


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    return {"data": [images().provenance()], "weights": [pretrained()] if arm.weights else []}


@once
def images() -> data.Dataset:
    """Load CIFAR-10 once a process."""
    return data.load("cifar10")


@once
def pretrained() -> dict:
    """Return which weights are there: ImageNet's, else the stand-in from Tiny ImageNet, named as such."""
    return dataclasses.asdict(records.best_available("squeezenet"))


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
    main = Phase("main", arm.train, arm.epochs, arm.learning_rate, arm.schedule, expect=TRAINABLE[arm.train])
    return (Phase("head", "head", arm.head_epochs, 1e-3, augment=False), main) if arm.head_epochs else (main,)


def build(arm: Settings) -> keras.Model:
    """Return SqueezeNet for ten classes, with the weights of an earlier training and always a new conv10."""
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
    cut = parts(arm)
    keras.utils.set_random_seed(seed)
    model = build(arm)
    detector = CollapseDetector(model, cut["validation"][0][:100], stop=True)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model,
            cut["train"],
            cut["validation"],
            phases(arm),
            seed=seed,
            batch_size=arm.batch_size,
            keep="best",
            checkpoints=folder,
            augment=random_flip_crop() if arm.augment else None,
            callbacks=lambda: [detector],
        )
    loss, accuracy = evaluate(model, *cut["test"])
    last = [epoch for epoch, name in enumerate(history.phase) if name == "main"]
    accuracies = [value or 0.0 for value in history.val_accuracy]
    best = max(last, key=lambda epoch: accuracies[epoch])
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "validation_accuracy": accuracies[best],
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


def costs(runs: Runs, arms: Sequence[str]) -> list[dict]:
    """Say what each arm costs, beside what it reaches.

    Returns:
        Rows with arm; trained (parameters); accuracy (mean over its runs); seconds of its fastest run, since others
        may have shared their core, but where features are cached of the first, which computes them for the others;
        flops, counted (`freezing.training_flops`) for the epochs that each run trained (mean); n.
    """
    rows = []
    for arm in arms:
        own = runs.of(arm)
        if own:
            rows.append(
                {
                    "arm": arm,
                    "trained": TRAINABLE[own[0].settings["train"]],
                    "accuracy": float(np.mean([run.metrics["test_accuracy"] for run in own])),
                    "seconds": _seconds(own),
                    "flops": float(np.mean([flops(run) for run in own])),
                    "n": len(own),
                }
            )
    return rows


def _seconds(own: Runs) -> float:
    seconds = [sum(run.details["seconds"].values()) for run in sorted(own, key=lambda run: run.seed)]
    return seconds[0] if all(own[0].details["cached"].values()) else min(seconds)


def flops(run: Run) -> int:
    """Count the floating-point operations of the training of a stored run, all phases."""
    settings = Settings(**run.settings)
    side = settings.resolution
    model = squeezenet(10, (side, side, 3), weights=None, pool_first=settings.pool_first)
    train = {"head": "head", "main": settings.train}
    epochs = {name: run.history["phase"].count(name) for name in run.details["cached"]}
    return sum(
        freezing.training_flops(model, train[name], settings.train_count, epochs[name], cached=cached)
        for name, cached in run.details["cached"].items()
    )

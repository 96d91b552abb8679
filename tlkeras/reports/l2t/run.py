"""One run of report 003: a small network trained on few images, alone or guided by a source network."""

import time

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Result
from tlkeras.l2t import Answers, Trajectory
from tlkeras.reports.l2t import images, source_alone
from tlkeras.reports.l2t.settings import (
    QUESTIONS,
    SOURCE_ALONE,
    WATCHED_CHANNELS,
    WATCHED_PAIR,
    WATCHED_WEIGHTS,
    Settings,
)
from tlkeras.reports.l2t.training import training as training
from tlkeras.transfer import recalibrate
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.evaluation import evaluate


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, the recall of the scarce class where there is one, accuracy on the test images once batch normalisation
        has the statistics of all training images; and seconds an iteration (the median epoch's). The curves, and in the
        details the path of a few weights and what the meta-networks said. Of the source alone, what `source_alone.run`
        returns.
    """
    if arm.method in SOURCE_ALONE:
        return source_alone.run(arm, seed)
    parts, classes = images.small(arm.dataset), images.target(arm.dataset).num_classes
    drawn = images.draw(parts["train"][1], arm.per_class, classes, arm.scarce, seed)
    x, y = (part[drawn] for part in parts["train"])
    test = tuple(part[: arm.test_count] for part in parts["test"])
    learner, path, ends = training(arm, seed), Trajectory("conv1", WATCHED_WEIGHTS), []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    answers = Answers(learner, x[:64], every=max(1, arm.epochs // 40), pair=WATCHED_PAIR, channels=WATCHED_CHANNELS)
    asks = bool(QUESTIONS.get(arm.method))
    history = learner.fit(
        x,
        y,
        epochs=arm.epochs,
        batch_size=arm.batch_size,
        learning_rate=arm.learning_rate,
        seed=seed,
        warm_up=arm.warm_up,
        augment=random_flip_crop(arm.padding),
        callbacks=[path, clock, *([answers] if asks else [])],
    )
    loss, accuracy = evaluate(learner.target, *test)
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "train_accuracy": history["accuracy"][-1],
        "iteration_seconds": float(np.median(np.diff(ends))) / -(-len(x) // arm.batch_size),
    }
    if arm.scarce:
        own = test[1] == images.scarce_class(seed, classes)
        metrics["scarce_recall"] = evaluate(learner.target, test[0][own], test[1][own])[1]
    recalibrate(learner.target, x, batch_size=arm.batch_size)
    metrics["test_accuracy_recalibrated"] = evaluate(learner.target, *test)[1]
    details = {
        "draw": data.fingerprint(x, y),
        "pairs": learner.pair_names,
        "looks": answers.epochs,
        "answers": answers.kept,
        "path": path.weights,
        "moved": np.round(path.moved, 6).tolist(),
    }
    curves = ("cross_entropy", "matching", "accuracy", "lookahead", "before", "after")
    kept = {name: np.round(history[name], 4).tolist() for name in curves if name in history}
    return Result(metrics, kept, details)

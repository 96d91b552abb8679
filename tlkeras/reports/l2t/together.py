"""Runs of report 003 by the JAX engine: all seeds of an arm in one compiled call, on a GPU, without TensorFlow.

What a seed draws is what it draws for `run`. The target's first values and the augmentation are JAX's own.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Result
from tlkeras.l2t import Answers, LearningToTransfer
from tlkeras.l2t.plan import History, NonFiniteLossError
from tlkeras.reports.l2t.run import CURVES, cut, scored_at_last, training
from tlkeras.reports.l2t.settings import QUESTIONS, WATCHED_CHANNELS, WATCHED_PAIR, Settings
from tlkeras.transfer.batches import random_flip_crop

_EVERY = 10  # epochs between two scores of the test images, from which nothing is chosen


def run(arm: Settings, seeds: Sequence[int]) -> Iterator[tuple[int, Result]]:
    """Train an arm from several seeds at once, and yield (seed, result), results having what those of `run.run` have.

    Seconds an iteration are left out, which would be those of all seeds; so is the path of single weights. What the
    meta-networks say is kept before and after the training. The history has the test accuracy of every tenth epoch.
    TLKERAS_PRECISION ("float32", which is the default, or "tensorfloat32") says how a GPU multiplies.

    Raises:
        ValueError: another backend than JAX.
        DeviceError: the device was lost; what was done before is yielded first.
    """
    if keras.backend.backend() != "jax":
        raise ValueError(f"Expected KERAS_BACKEND=jax. Received: {keras.backend.backend()}")
    from tlkeras.l2t import jax as engine  # late: it needs JAX

    cuts = [cut(arm, seed) for seed in seeds]
    train, test = [own for _, own, _ in cuts], cuts[0][2]  # the test images are those of every seed
    trainings = [training(arm, seed) for seed in seeds]
    looks = [_answers(one, own[0], arm) for one, own in zip(trainings, train, strict=True)]
    precision, started = os.environ.get("TLKERAS_PRECISION", "float32"), time.perf_counter()
    error: engine.DeviceError | None = None
    try:
        histories = engine.study(
            trainings,
            np.stack([x for x, _ in train]),
            np.stack([y for _, y in train]),
            seeds=seeds,
            epochs=arm.epochs,
            batch_size=arm.batch_size,
            learning_rate=arm.learning_rate,
            warm_up=arm.warm_up,
            augment=random_flip_crop(arm.padding),
            validation=test,
            validation_every=min(_EVERY, arm.epochs),
            precision=precision,
        )
    except engine.DeviceError as lost:
        histories, error = lost.histories, lost
    how = {"engine": "jax", "precision": precision, "seeds_together": len(seeds)}
    how["seconds_together"] = round(time.perf_counter() - started, 2)
    for seed, one, own, look, history in zip(seeds, trainings, train, looks, histories, strict=False):
        if isinstance(history, NonFiniteLossError):
            print(f"no run of seed {seed}: {history}", flush=True)
        else:
            yield seed, _result(arm, seed, one, own, test, look, history, how)
    if error:
        raise error


def _result(
    arm: Settings,
    seed: int,
    one: LearningToTransfer,
    train: tuple[np.ndarray, ...],
    test: tuple[np.ndarray, ...],
    look: Answers | None,
    history: History,
    how: Mapping[str, Any],
) -> Result:
    if look:
        look.on_epoch_end(arm.epochs - 1)
    metrics = {
        "test_accuracy": history["val_accuracy"][-1],
        "test_loss": history["val_loss"][-1],
        "train_accuracy": history["accuracy"][-1],
        **scored_at_last(one.target, arm, seed, train[0], test),
    }
    details = {"draw": data.fingerprint(*train), "pairs": one.pair_names, **how}
    details |= {"looks": look.epochs if look else [], "answers": look.kept if look else {}}
    curves = {name: np.round(history[name], 4).tolist() for name in CURVES if name in history}
    scored = [None if value is None else round(value, 6) for value in history["val_accuracy"]]
    return Result(metrics, curves | {"test_accuracy": scored}, details)


def _answers(one: LearningToTransfer, x: np.ndarray, arm: Settings) -> Answers | None:
    """Look at what the meta-networks say before the training; None where there are none."""
    if not QUESTIONS.get(arm.method):
        return None
    look = Answers(one, x[:64], every=arm.epochs, pair=WATCHED_PAIR, channels=WATCHED_CHANNELS)
    look.on_epoch_begin(0)
    return look

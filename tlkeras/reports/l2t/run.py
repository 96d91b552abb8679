"""Report 003: learning to transfer what, where and which, with few images of STL-10, CIFAR-10 and CIFAR-100."""

from __future__ import annotations  # Keras is imported where it is needed: tables of stored runs do without

import dataclasses
import time
from typing import TYPE_CHECKING

import numpy as np

from tlkeras import data
from tlkeras.experiments.runs import Result
from tlkeras.reports.l2t import images
from tlkeras.reports.l2t import reported as l2t_tables

if TYPE_CHECKING:
    from tlkeras.l2t import LearningToTransfer


NAME = "l2t"
TITLE = "Learning to transfer what, where and which (report 003)"
QUESTIONS = {"scratch": "", "ufm": "", "ww": "what where", "www": "what where which"}
METHODS = tuple(QUESTIONS)
WATCHED_PAIR = 8  # s2b5 -> relu6 of the 15, the middle of the source and of the target's depth
WATCHED_CHANNELS = (0, 1, 2)
WATCHED_WEIGHTS = ((2, 2, 0, 4), (2, 2, 0, 9), (0, 0, 0, 4), (0, 0, 0, 9))  # figure 36: w[0][4][2][2][0], ...


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm. Section 5.4 of the report; what it does not state says so."""

    dataset: str = "stl10"
    per_class: int = 10  # tables 1 to 3
    method: str = "www"
    scarce: int = 0  # images of one class; section 5.6: 10 beside 100 of the others
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 0.1
    padding: int = 4  # pixels; not stated, as in the official code
    test_count: int = 10_000
    width: float = 1.0  # of the target's layers; narrow ones are for tests


def arm_name(dataset: str, per_class: int, method: str) -> str:
    """Return the name of an arm, such as "stl10_10_www"."""
    return f"{dataset}_{per_class}_{method}"


TABLES = {
    arm_name(name, count, method): Settings(name, count, method)
    for name, counts in l2t_tables.SIZES.items()
    for count in counts
    for method in METHODS
}
UNBALANCED = {f"stl10_unbalanced_{method}": Settings("stl10", 100, method, scarce=10) for method in l2t_tables.SCARCE}
ARMS: dict[str, Settings] = {**TABLES, **UNBALANCED}

REFERENCE = {
    (arm_name(name, count, method), "test_accuracy"): {
        "value": round(value / 100, 4), "source": f"Table {l2t_tables.TABLES[name]}, n={l2t_tables.REPEATS}",
    }
    for name, methods in l2t_tables.MEANS.items()
    for method, values in methods.items()
    for count, value in zip(l2t_tables.SIZES[name], values, strict=True)
} | {
    (f"stl10_unbalanced_{method}", "scarce_recall"): {"value": round(value / 100, 4), "source": "Table 4"}
    for method, value in l2t_tables.SCARCE.items()
}  # fmt: skip
RECORDED = (("stl10", 5), ("stl10", 10), ("cifar10", 10))  # what two processor cores do in some hours
HIGHLIGHTS = tuple(arm_name(*size, method) for size in RECORDED for method in METHODS)  # of the README's table
HEADLINE = ("test_accuracy",)  # its metrics
SEEDS = {"smoke": 1, "quick": 1, "paper": l2t_tables.REPEATS}
REDUCED = {
    "smoke": {"per_class": 2, "epochs": 2, "batch_size": 10, "test_count": 40, "width": 0.16},
    "quick": {"per_class": 2, "epochs": 20, "test_count": 500, "width": 1 / 4},
    "paper": {},
}


def seeds(profile: str) -> int:
    """Return the number of seeds of a profile."""
    return SEEDS[profile]


def settings(arm: str, profile: str) -> Settings:
    """Return the settings of an arm, reduced as the profile says."""
    found = dataclasses.replace(ARMS[arm], **REDUCED[profile])
    return dataclasses.replace(found, scarce=min(found.scarce, found.per_class // 2))


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    weights = [] if arm.method == "scratch" else [images.pretrained()]
    return {"data": [images.target(arm.dataset).provenance()], "weights": weights}


def training(arm: Settings, seed: int) -> LearningToTransfer:
    """Return the training of an arm: the same seed gives every method the same target to start from."""
    import keras

    from tlkeras.l2t import LearningToTransfer
    from tlkeras.models.resnet32 import FEATURES as FROM
    from tlkeras.models.vgg import VGG9_BLOCKS, vgg9
    from tlkeras.models.vgg import VGG9_FEATURES as TO

    keras.utils.set_random_seed(seed)
    blocks = tuple(tuple(round(arm.width * filters) for filters in block) for block in VGG9_BLOCKS)
    model = vgg9(images.target(arm.dataset).num_classes, blocks=blocks)
    pairs = [] if arm.method == "scratch" else [(source, target) for source in FROM for target in TO]
    asked = {question: question in QUESTIONS[arm.method].split() for question in ("what", "where", "which")}
    return LearningToTransfer(images.source() if pairs else model, model, pairs, seed=seed, **asked)


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, the recall of the scarce class where there is one; and seconds an iteration (the median epoch's). The
        curves, and in the details the path of a few weights and what the meta-networks said.
    """
    import keras

    from tlkeras.l2t.watch import Answers, Trajectory
    from tlkeras.transfer.batches import random_flip_crop
    from tlkeras.transfer.evaluation import evaluate

    parts, classes = images.small(arm.dataset), images.target(arm.dataset).num_classes
    drawn = images.draw(parts["train"][1], arm.per_class, classes, arm.scarce, seed)
    x, y = (part[drawn] for part in parts["train"])
    test = tuple(part[: arm.test_count] for part in parts["test"])
    learner, path, ends = training(arm, seed), Trajectory("conv1", WATCHED_WEIGHTS), []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    answers = Answers(learner, x[:64], every=max(1, arm.epochs // 40), pair=WATCHED_PAIR, channels=WATCHED_CHANNELS)
    asks = bool(QUESTIONS[arm.method])
    history = learner.fit(
        x, y, epochs=arm.epochs, batch_size=arm.batch_size, learning_rate=arm.learning_rate, seed=seed,
        augment=random_flip_crop(arm.padding), callbacks=[path, clock, *([answers] if asks else [])],
    )  # fmt: skip
    loss, accuracy = evaluate(learner.target, *test)
    metrics = {
        "test_accuracy": accuracy, "test_loss": loss, "train_accuracy": history["accuracy"][-1],
        "iteration_seconds": float(np.median(np.diff(ends))) / -(-len(x) // arm.batch_size),
    }  # fmt: skip
    if arm.scarce:
        own = test[1] == images.scarce_class(seed, classes)
        metrics["scarce_recall"] = evaluate(learner.target, test[0][own], test[1][own])[1]
    details = {
        "draw": data.fingerprint(x, y), "pairs": learner.pair_names, "looks": answers.epochs, "answers": answers.kept,
        "path": path.weights, "moved": np.round(path.moved, 6).tolist(),
    }  # fmt: skip
    curves = ("cross_entropy", "matching", "accuracy", "lookahead", "before", "after")
    kept = {name: np.round(history[name], 4).tolist() for name in curves if name in history}
    return Result(metrics, kept, details)

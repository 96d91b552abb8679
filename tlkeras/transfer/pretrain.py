"""Train a source network and describe it: one verb for every network whose weights are shipped, and for yours."""

import importlib.metadata
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkeras import backend
from tlkeras.data import Dataset, splits
from tlkeras.models import weights
from tlkeras.transfer.batches import Augment
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.finetune import Pair, finetune
from tlkeras.transfer.inputs import read
from tlkeras.transfer.phases import Phase

Parts = dict[str, Pair]  # "train", "test" and, unless none was cut off, "validation"
Counts = tuple[int | None, int | None, int | None]  # of training, validation and test images
Training = Callable[[keras.Model, Parts, Path | None], Mapping[str, Any]]  # trains the model in place, returns curves
_MOST_VALIDATION = 10_000  # images, where no number is given: more make an epoch longer and no choice better


def pretrain(
    model: keras.Model,
    dataset: Dataset,
    *,
    epochs: int = 15,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    schedule: str = "constant",
    augment: Augment | None = None,
    counts: Counts = (None, None, None),
    seed: int = 0,
    training: Training | None = None,
    checkpoint: Path | str | None = None,
    finish: Callable[[keras.Model], keras.Model] | None = None,
    path: Path | str | None = None,
    dtype: str = "float32",
    without: str = "",
    facts: Mapping[str, Any] | None = None,
) -> tuple[keras.Model, dict[str, Any]]:
    """Train every layer of a new classifier, keep the epoch of the best validation accuracy, and describe it.

    Args:
        model: a flat classifier, raw 0..255 images in; trained in place. If it is built after
            `keras.utils.set_random_seed(seed)`, the same arguments give the same weights on a CPU.
        dataset: of `tlkeras.load`, or your own `tlkeras.data.Dataset`.
        epochs: passes over the training images.
        batch_size: images in a training step.
        learning_rate: of Adam, at the start.
        schedule: of the rate, see `Phase`.
        augment: see `finetune`.
        counts: how many images are for training, validation and test, see `cut`. Without any for validation the last
            epoch is kept.
        seed: of the cut and of the order of the images.
        training: another way to train, `(model, parts, checkpoint) -> curves`; `epochs` to `augment` are not used then.
        checkpoint: handed to `training`, which may write it after each epoch and go on from it when it is called again;
            deleted at the end.
        finish: makes of the trained model the one that is described, saved and returned, for example one with its batch
            normalisation folded into the convolutions.
        path: of an .npz file for the weights, with the record beside it (.json); None saves nothing.
        dtype: of the weights in the file, "float32" or "float16"; the returned model has them rounded to it.
        without: a layer that is left out of the file, such as a head that every user replaces; `finish` keeps its name.
        facts: added to the record; they replace what it has under the same names.

    Returns:
        The model as it is saved, and its record: settings, data, class_names, counts of images, test_accuracy (0..1)
        and test_loss (nats) of the rounded weights, history, seconds of this training, versions.

    Raises:
        ValueError: images or labels that do not fit the model, settings that make no `Phase`, weights that are not
            finite in `dtype`, or a checkpoint without a `training` that goes on from it; before the training, another
            suffix, dtype or layer than `weights.save` takes, or no test images.
        OSError: the files cannot be written, which is tried before the training; the checkpoint stays.
        TypeError: facts that JSON does not have, before the training.
    """
    path, checkpoint = Path(path) if path else None, Path(checkpoint) if checkpoint else None
    if checkpoint and not training:
        raise ValueError(f"Expected a training that goes on from a checkpoint. Received: checkpoint={checkpoint}")
    weights.check_saving(model, path, facts or {}, dtype=dtype, without=without)
    parts = cut(dataset, counts, seed=seed)
    read(model, parts["test"])  # what does not fit is refused before the training
    settings: dict[str, Any] = {"seed": seed}
    started = time.perf_counter()
    if training:
        history = training(model, parts, checkpoint)
    else:
        phase = Phase("source", "all", epochs, learning_rate, schedule)
        settings |= {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "schedule": schedule}
        history = _train(model, parts, phase, batch_size, augment, seed)
    seconds = time.perf_counter() - started
    model = finish(model) if finish else model
    _round(model, dtype)
    loss, accuracy = evaluate(model, *parts["test"])
    record = {
        "settings": settings,
        "data": dataset.provenance(),
        "class_names": list(dataset.class_names),
        "counts": {name: len(labels) for name, (_, labels) in parts.items()},
        "test_accuracy": round(accuracy, 4),
        "test_loss": round(loss, 4),
        "history": dict(history),
        "seconds": round(seconds, 1),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", backend.NAME, "numpy")},
        **(facts or {}),
    }
    if path:
        weights.save(model, path, record, dtype=dtype, without=without)
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return model, record


def cut(dataset: Dataset, counts: Counts = (None, None, None), *, seed: int = 0) -> Parts:
    """Cut a data set into images to train on, to choose an epoch by, and to test on.

    Args:
        dataset: its training images give the first two, its test images the third.
        counts: how many images of each, or as many as there are. None means what validation leaves, a fifth of the
            training images but at most 10,000, and all; validation never gets more than a fifth.
        seed: of the draw.

    Returns:
        "train", "validation" (unless it is empty) and "test" -> (images, labels). Whole sets keep their order.

    Raises:
        ValueError: a negative count.
    """
    train_count, validation_count, test_count = counts
    available = len(dataset.y_train)
    for_validation = min(_MOST_VALIDATION if validation_count is None else validation_count, available // 5)
    for_training = min(available if train_count is None else train_count, available - for_validation)
    for_test = min(len(dataset.y_test) if test_count is None else test_count, len(dataset.y_test))
    train, validation = _drawn((dataset.x_train, dataset.y_train), (for_training, for_validation), seed)
    (test,) = _drawn((dataset.x_test, dataset.y_test), (for_test,), seed)
    return {"train": train, **({"validation": validation} if for_validation else {}), "test": test}


def _drawn(pair: Pair, sizes: tuple[int, ...], seed: int) -> list[Pair]:
    images, labels = pair
    if sizes[0] == len(labels):
        return [pair] + [(images[:0], labels[:0])] * (len(sizes) - 1)
    return [(images[chosen], labels[chosen]) for chosen in splits.holdout(labels, sizes, seed=seed)]


def _train(
    model: keras.Model, parts: Parts, phase: Phase, batch_size: int, augment: Augment | None, seed: int
) -> dict[str, list]:
    """Train all layers by `finetune`, and return the curves."""
    validation = parts.get("validation")
    with tempfile.TemporaryDirectory() as folder:
        history = finetune(
            model,
            parts["train"],
            validation,
            [phase],
            seed=seed,
            batch_size=batch_size,
            keep="best" if validation else "last",
            checkpoints=folder if validation else None,
            augment=augment,
        )
    return history.curves()


def _round(model: keras.Model, dtype: str) -> None:
    """Round the weights to what a file of `dtype` holds."""
    rounded = [value.astype(dtype).astype(value.dtype) for value in model.get_weights()]
    bad = [weight.path for weight, value in zip(model.weights, rounded, strict=True) if not np.isfinite(value).all()]
    if bad:
        raise ValueError(f"Expected weights that are finite in {dtype}. Received: NaN or infinity in {bad}")
    model.set_weights(rounded)

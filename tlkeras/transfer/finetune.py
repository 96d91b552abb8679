"""Train a classifier in phases: each freezes, compiles, checks the monitor, trains, and proves what moved."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkeras import graph
from tlkeras.data import splits
from tlkeras.transfer import features
from tlkeras.transfer.batches import Augment, mixup, training_batches
from tlkeras.transfer.callbacks import BestCheckpoint, Watched, check_monitor, fresh
from tlkeras.transfer.evaluation import Metric, Validation
from tlkeras.transfer.freezing import compile_classifier, freeze, prove_moves, snapshot
from tlkeras.transfer.inputs import Data, Labelled, read
from tlkeras.transfer.phases import Phase, optimizer_for

Pair = tuple[np.ndarray, np.ndarray]  # images (n, height, width, channels) raw 0..255, labels (n,) int
Callbacks = Sequence[keras.callbacks.Callback] | Callable[[], list[keras.callbacks.Callback]]
CURVES = ("accuracy", "loss", "val_accuracy", "val_loss")
_STEPS_AT_ONCE = 50  # most batches in a compiled call: a call costs as much as several steps of a small network


@dataclass
class History:
    """Curves with one entry an epoch (None where an epoch was not validated), and what each phase did."""

    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    val_accuracy: list[float | None] = field(default_factory=list)
    val_loss: list[float | None] = field(default_factory=list)
    phase: list[str] = field(default_factory=list)
    trainable: dict[str, int] = field(default_factory=dict)
    moved: dict[str, dict[str, float]] = field(default_factory=dict)
    cached: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    best: dict[str, Path] = field(default_factory=dict)  # checkpoints
    metrics: dict[str, list[float | None]] = field(default_factory=dict)  # by "val_<name>"; None where undefined, too
    class_names: tuple[str, ...] = ()  # of the labels 0, 1 and so on, where the data name them

    def curves(self, digits: int = 4) -> dict[str, list]:
        """Return the curves as plain lists for a result file, rounded."""
        curves = {**{name: getattr(self, name) for name in CURVES}, **self.metrics}
        rounded = {name: [None if v is None else round(v, digits) for v in curve] for name, curve in curves.items()}
        return {**rounded, "phase": self.phase}


def finetune(
    model: keras.Model,
    train: Data,
    validation: Data | None,
    phases: Sequence[Phase],
    *,
    seed: int,
    batch_size: int = 32,
    validation_every: int = 1,
    keep: str = "last",
    checkpoints: Path | str | None = None,
    monitor: str = "val_accuracy",
    mode: str = "auto",
    cache: features.FeatureCache | None = features.SHARED,
    augment: Augment | None = None,
    callbacks: Callbacks = (),
    metrics: Mapping[str, Metric] | None = None,
    sample_weight: Any = None,
    class_weight: Mapping[Any, float] | None = None,
) -> History:
    """Train `model` in place through `phases`.

    Args:
        model: flat classifier, raw 0..255 images in; softmax or logits out, or a single sigmoid for two classes.
        train: `(images, labels)` or `(images, labels, weights)`, or a data set of batches of these, which is read into
            memory once; see `inputs.read`. Weights are factors of the losses.
        validation: the same, or None.
        phases: see `Phase` and `two_phases`.
        seed: of the shuffling (and of `augment`), together with `keras.utils.set_random_seed`; the same seeds give the
            same weights on a CPU.
        batch_size: images in a training step.
        validation_every: epochs between validations; the last of the `epochs` of a phase is always validated, but not
            one after which a callback stops it early.
        keep: "last" epoch, or "best": the best epoch's weights are reloaded after each phase (needs `checkpoints`).
        checkpoints: folder for the best weights of each phase, `<phase>.weights.h5`; None keeps none.
        monitor: what "best" means.
        mode: "max" if more of it is better, "min" if less; "auto" knows Keras' own names and `roc_auc`.
        cache: where frozen features are kept; None computes them again every epoch, with the same result.
        augment: `(images (b, h, w, c) float32 0..255, seed (2,) int32) -> images`, applied to training batches;
            such a phase cannot use cached features. If every phase augments, it may cut the training images down to
            what the model takes.
        callbacks: a list of further Keras callbacks, each of which begins every phase as it is given; or what makes
            the callbacks of a phase. They see the whole model, also while a part of it trains.
        metrics: name -> `(labels (n,), probabilities (n, classes)) -> number`, computed at each validation, such as
            `evaluation.roc_auc`; "val_<name>" in the logs and curves, nan and None where undefined.
        sample_weight: `(n,)`, factors of the losses of the training images, where `train` holds none.
        class_weight: class, or its name -> factor of the losses of its training images; 1 for those left out.

    Returns:
        The curves and facts of each phase.

    Raises:
        ValueError: unknown layers, monitor, mode or `keep`, `keep="best"` without a folder, two phases of one name,
            metrics named as what is logged anyway, images and labels that do not fit the model (see `inputs.read`),
            classes of other names in validation, multipliers for layers that do not train, weights or a single output
            in a phase with mixup, or `keep="best"` where no epoch has a loss and a value of `monitor`.
        FreezingError: what should be frozen moved, or what should train did not.
    """
    _check_options(keep, checkpoints, batch_size, validation_every, phases)
    _check_names(metrics or {})
    cut = augment if all(phase.augment for phase in phases) else None
    weights = {"sample_weight": sample_weight, "class_weight": class_weight}
    data, held, names = _read(model, train, validation, weights, cut)
    metrics, history, further = metrics or {}, History(class_names=names), fresh(callbacks)
    steps = math.ceil(len(data.images) / batch_size)
    at_once = min(steps, _STEPS_AT_ONCE)
    for number, phase in enumerate(phases):
        started = time.perf_counter()
        optimizer, views = optimizer_for(phase, steps), augment if phase.augment else None
        history.trainable[phase.name] = freeze(
            model, phase.train, optimizer=optimizer, steps_per_execution=at_once, expect=phase.expect
        )
        best = _checkpoint(model, phase, checkpoints, monitor, mode, held, metrics)
        blend = mixup(phase.mixup, graph.num_classes(model)) if phase.mixup else None
        part, inputs, held_out = _cached(model, data, held, None if views or blend else cache)
        history.cached[phase.name] = part is not model
        batches, before = training_batches(inputs, batch_size, seed + 1000 * number, views, blend), snapshot(model)
        if part is not model or blend:
            compile_classifier(part, optimizer, at_once, shares=blend is not None)
        check = _validation(part, held_out, validation_every, metrics)
        others = further() if part is model else [Watched(further(), model)]
        watching = [callback for callback in (check, *others, best) if callback]  # `check` fills the logs first
        with graph.compiled_once():
            log = part.fit(batches, epochs=phase.epochs, shuffle=False, verbose=0, callbacks=watching).history
        _note(history, phase, log, check)
        history.moved[phase.name] = prove_moves(before, model, phase.train, phase.still)
        if best and best.best is not None:
            history.best[phase.name] = best.path
        if keep == "best":
            _reload(model, history.best.get(phase.name), monitor)
        history.seconds[phase.name] = time.perf_counter() - started
    return history


def _check_options(
    keep: str, checkpoints: Path | str | None, batch_size: int, validation_every: int, phases: Sequence[Phase]
) -> None:
    if keep not in ("last", "best") or (keep == "best" and checkpoints is None):
        raise ValueError(f"Expected keep='last', or 'best' with a folder. Received: {keep=}, {checkpoints=}")
    if min(batch_size, validation_every) < 1:
        raise ValueError(f"Expected whole numbers from 1 up. Received: {batch_size=}, {validation_every=}")
    names = [phase.name for phase in phases]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"Expected at least one phase, and another name for each. Received: {names}")


def _check_names(metrics: Mapping[str, Metric]) -> None:
    taken = [name for name in metrics if name in CURVES]
    if taken:
        raise ValueError(f"Expected other names of metrics than {CURVES}, which are logged anyway. Received: {taken}")


def _read(
    model: keras.Model,
    train: Data,
    validation: Data | None,
    weights: Mapping[str, Any],
    augment: Augment | None,
) -> tuple[Labelled, Labelled | None, tuple[str, ...]]:
    """Read both sets, and the names of the classes; `augment` may cut the training images down."""
    data, names = read(model, train, **weights, check=False)
    _check_images(model, data.images, augment)
    if validation is None:
        return data, None, names
    held, others = read(model, validation, class_names=names)
    own = getattr(validation, "class_names", None)
    named = tuple(own or others)
    if named != names and (names or not own):
        raise ValueError(f"Expected validation labels named as in training, {list(names)}. Received: {list(named)}")
    return data, held, named


def _check_images(model: keras.Model, images: np.ndarray, augment: Augment | None) -> None:
    shape, wanted = images.shape[1:], model.input_shape[1:]
    if augment is None or _is_taken(shape, wanted):
        return splits.check_images(model, images)
    view = tuple(augment(ops.cast(images[:1], "float32"), ops.zeros(2, "int32")).shape[1:])
    if not _is_taken(view, wanted):
        raise ValueError(f"Expected views of shape {wanted}. Received: {view}, out of images of shape {shape}")
    splits.check_images(model, images, shape=shape)


def _is_taken(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Whether images of `shape` are what a model takes that wants them of the other; None is any side."""
    return len(shape) == len(wanted) and all(side in (None, given) for side, given in zip(wanted, shape, strict=True))


def _checkpoint(
    model: keras.Model,
    phase: Phase,
    folder: Path | str | None,
    monitor: str,
    mode: str,
    validation: Labelled | None,
    metrics: Mapping[str, Metric],
) -> BestCheckpoint | None:
    """Return the checkpoint of a phase, none without a folder; refuse a monitor that will not be logged."""
    if folder is None:
        return None
    check_monitor(model, monitor, validation=validation is not None, more=metrics)
    return BestCheckpoint(Path(folder) / f"{phase.name}.weights.h5", monitor, model, mode)


def _cached(
    model: keras.Model, train: Labelled, validation: Labelled | None, cache: features.FeatureCache | None
) -> tuple[keras.Model, Labelled, Labelled | None]:
    """Return the part that must run every epoch, with its inputs: the whole model if nothing can be cached."""
    parts = features.split(model) if cache is not None else None
    if cache is None or parts is None:
        return model, train, validation
    base, head = parts
    forward = features.compiled_forward(base)

    def inputs(data: Labelled) -> Labelled:
        return data._replace(images=cache.features(base, data.images, forward, copy=False))

    return head, inputs(train), validation and inputs(validation)


def _validation(
    part: keras.Model, data: Labelled | None, every: int, metrics: Mapping[str, Metric]
) -> Validation | None:
    return data and Validation(part, data.images, data.labels, every, metrics, data.weights)


def _note(history: History, phase: Phase, log: Mapping[str, list], validation: Validation | None) -> None:
    """Append what `fit` logged in a phase; `log` has validation values for the validated epochs alone."""
    epochs = range(len(log["loss"]))  # fewer than planned if a callback stopped early
    validated = [epoch for epoch in epochs if validation and validation.is_due(epoch)]

    def curve(name: str) -> list[float | None]:
        values = dict(zip(validated, log.get(name, []), strict=True))
        return [values.get(epoch) for epoch in epochs]

    history.accuracy += log["accuracy"]
    history.loss += log["loss"]
    history.val_accuracy += curve("val_accuracy")
    history.val_loss += curve("val_loss")
    for name in validation.metrics if validation else ():
        defined = [None if value is None or math.isnan(value) else value for value in curve(f"val_{name}")]
        history.metrics.setdefault(f"val_{name}", []).extend(defined)
    history.phase += [phase.name] * len(epochs)


def _reload(model: keras.Model, path: Path | None, monitor: str) -> None:
    """Load the best epoch of a phase."""
    if path is None:
        raise ValueError(f"Expected an epoch with a loss and a value of {monitor}. Received: nan after every epoch")
    model.load_weights(path)

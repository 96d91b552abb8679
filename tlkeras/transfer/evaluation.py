"""Scores of a classifier: loss and accuracy with less overhead than Keras' `evaluate`, as a callback too, and ROC AUC.

Also `recalibrate`, which gives batch normalisation the statistics that a score should be measured with.
"""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from sklearn.metrics import roc_auc_score

from tlkeras import backend, graph
from tlkeras.backend import Tensor
from tlkeras.data.splits import check_images
from tlkeras.transfer.features import inference_batch
from tlkeras.transfer.inputs import read

KEPT_BYTES = 2**28  # of a validation set that stays in memory as tensors
Metric = Callable[[np.ndarray, np.ndarray], float]  # (labels (n,), probabilities (n, classes)) -> nan if undefined


class UndefinedMetricWarning(UserWarning):
    """A metric has no value for these validation data, such as ROC AUC for one class."""


class Evaluator:
    """Mean cross-entropy (nats) and accuracy of `model` over a data set; compiled once.

    Args:
        model: classifier with softmax or logit outputs, or one output of a sigmoid or its logit, for two classes.
        most: inputs in a forward pass, fewer where the maps are large; it does not change the result.
    """

    def __init__(self, model: keras.Model, most: int = 1000) -> None:
        single, from_logits = graph.classifier_outputs(model)
        self._model, self._most, forward = model, most, backend.side_by_side(model)

        def sums(inputs: Tensor, labels: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            outputs = ops.cast(forward(inputs), "float32")
            if single:  # of class 1; that of class 0 stands before it
                outputs = ops.concatenate([outputs * 0 if from_logits else 1 - outputs, outputs], axis=-1)
            losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=from_logits)
            losses = losses * weights[0] if weights else losses
            hits = ops.cast(ops.argmax(outputs, axis=-1) == labels, "float32")
            probabilities = ops.softmax(outputs) if from_logits else outputs
            return ops.sum(losses), ops.sum(hits), probabilities

        self._sums = backend.compiled(sums, model)

    def __call__(
        self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> tuple[float, float]:
        """Return `(loss, accuracy)` over `inputs (n, ...)` and integer `labels (n,)`.

        As in Keras, `weights (n,)` are factors of the losses, whose sum is divided by n; the accuracy has none.
        """
        return self.scored(self.batches(inputs, labels, weights))[:2]

    def batches(
        self, inputs: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None
    ) -> Iterator[tuple[Tensor, ...]]:
        """Cut a data set into tensors."""
        size = inference_batch(self._model, self._most, inputs.shape[1:])
        for start in range(0, len(inputs), size):
            part = slice(start, start + size)
            arrays = inputs[part], labels[part].astype(np.int32), *(() if weights is None else (weights[part],))
            yield tuple(map(ops.convert_to_tensor, arrays))

    def scored(self, batches: Iterable[tuple[Tensor, ...]]) -> tuple[float, float, np.ndarray]:
        """Return loss, accuracy, and the probabilities of each input, float32 `(n, classes)`."""
        total, parts = np.zeros(2), []
        for batch in batches:
            *sums, outputs = self._sums(*batch)
            total += [float(part) for part in sums]
            parts.append(ops.convert_to_numpy(outputs))
        probabilities = np.concatenate(parts)
        loss, accuracy = total / len(probabilities)
        return float(loss), float(accuracy), probabilities


class Validation(keras.callbacks.Callback):
    """Put `val_loss`, `val_accuracy` and further metrics into the logs of every n-th epoch and of the last planned.

    It must come before the callbacks that read them. `fit`'s own validation costs about 40 ms an epoch
    before the first image; this matters when the trained part is one dense layer. A metric that is undefined is nan
    in the logs, and named in one UndefinedMetricWarning.
    """

    def __init__(
        self,
        model: keras.Model,
        inputs: np.ndarray,
        labels: np.ndarray,
        every: int = 1,
        metrics: Mapping[str, Metric] | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        self.metrics = dict(metrics or {})
        self._undefined: set[str] = set()
        self._evaluator = Evaluator(model, 1000 if inputs.ndim > 2 else 5000)  # flat features need little memory
        self._data, self._labels, self._every = (inputs, labels, weights), labels, every
        small = inputs.nbytes <= KEPT_BYTES
        self._kept = list(self._evaluator.batches(*self._data)) if small else None  # copied once, not every epoch

    def is_due(self, epoch: int) -> bool:
        """Whether an epoch, from 0, is validated."""
        return (epoch + 1) % self._every == 0 or epoch + 1 == self.params["epochs"]

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Validate."""
        if self.is_due(epoch) and logs is not None:
            batches = self._kept or self._evaluator.batches(*self._data)
            logs["val_loss"], logs["val_accuracy"], probabilities = self._evaluator.scored(batches)
            for name, metric in self.metrics.items():
                logs[f"val_{name}"] = value = metric(self._labels, probabilities)
                if math.isnan(value):
                    self._say_undefined(name)

    def _say_undefined(self, name: str) -> None:
        if name not in self._undefined:
            self._undefined.add(name)
            classes = np.unique(self._labels).tolist()
            message = f"val_{name} is undefined for what the model says of labels {classes}; it is nan in the logs."
            warnings.warn(message, UndefinedMetricWarning, stacklevel=2)


def evaluate(
    model: keras.Model,
    images: Any,
    labels: Any = None,
    sample_weight: Any = None,
    *,
    class_names: Sequence[str] = (),
) -> tuple[float, float]:
    """Return `(loss, accuracy)` of a classifier: cross-entropy in nats, and the share of right answers.

    Args:
        model: see `inputs.read`, as for all that follows.
        images: `(n, height, width, channels)`, raw 0..255; without `labels`, a data set of images and labels.
        labels: `(n,)`.
        sample_weight: `(n,)`, factors of the losses, whose sum is divided by n; the accuracy has none, as in Keras.
        class_names: what labels that are names mean, such as `history.class_names` after `finetune`.

    Raises:
        ValueError: images or labels that do not fit the model, or weights that come twice (see `inputs.read`).
    """
    data = images if labels is None else (images, labels)
    arrays, _ = read(model, data, class_names=class_names, sample_weight=sample_weight)
    return Evaluator(model)(*arrays)


def recalibrate(model: keras.Model, images: np.ndarray, *, batch_size: int = 500) -> int:
    """Replace the moving means and variances by the averages over `images`; no other weight changes.

    Keras' BatchNormalization (momentum 0.99) needs hundreds of steps before its moving statistics are right;
    100 images in batches of 32 give 4 steps an epoch (report 002).
    With one batch the statistics are exactly those of `images`; with more, the mean over the batches
    (Ioffe and Szegedy 2015, algorithm 2). Dropout and random augmentation are off, as when a score is measured.

    Args:
        model: functional or Sequential, nested ones included, with BatchNormalization layers; those inside a layer of
            another kind stay as they are.
        images: `(n, height, width, channels)`, raw 0..255, at least 2.
        batch_size: most images in a forward pass; all passes get as many, give or take one.

    Returns:
        The number of layers recalibrated.

    Raises:
        ValueError: fewer than 2 images, images that do not fit the model (see `data.splits.check_images`), or a model
            without a graph (see `graph.functional`).
    """
    if len(images) < 2:
        raise ValueError(f"Statistics need at least 2 images. Received: {len(images)}")
    kind = keras.layers.BatchNormalization
    run = graph.training_alone(model, kind)
    check_images(model, images)
    layers = [operation for operation in graph.operations(model).values() if isinstance(operation, kind)]
    kept = [(layer.momentum, layer.trainable) for layer in layers]
    try:
        for layer in layers:
            layer.trainable = True  # a frozen layer ignores training=True
        for step, batch in enumerate(np.array_split(images, -(-len(images) // batch_size))):
            for layer in layers:
                layer.momentum = step / (step + 1)  # makes the exponential average a plain one
            run(batch)
    finally:
        for layer, (momentum, trainable) in zip(layers, kept, strict=True):
            layer.momentum, layer.trainable = momentum, trainable
    return len(layers)


def roc_auc(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the area under the ROC curve, 0..1; a metric for `finetune`.

    Args:
        labels: `(n,)` integers, 0 or 1.
        scores: probabilities `(n, 2)`, or anything `(n,)` that is larger the more class 1 is expected.

    Returns:
        The area; nan where it is undefined: one class only, or scores that are not finite.

    Raises:
        ValueError: other than two classes.

    Reference: report 004, "Критерий качества", by scikit-learn's function.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    scores = scores if scores.ndim == 1 else log_odds(scores)
    if len(np.unique(labels)) < 2 or not np.isfinite(scores).all():
        return float("nan")
    return float(roc_auc_score(labels, scores))


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return the log-odds of class 1, float64 `(n,)`.

    They rank where probabilities no longer do: 1 - 1e-9 is 1 in float32, but 1e-9 is kept.

    Raises:
        ValueError: other than two classes.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise ValueError(f"Expected probabilities of two classes, (n, 2). Received: shape={probabilities.shape}")
    zero, one = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny)).T
    return one - zero

"""Objectives of activation maximisation: values that add, subtract and scale, as in

    channel("conv_2") - 0.1 * total_variation()

Each gives one number for each picture of a batch. Penalties take the value range as 0..1, so that their weights mean
the same for pictures of 0..255 and of -1..1.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import ops

from tlkeras import backend, graph
from tlkeras.backend import Tensor

Forward = Callable[[Tensor], Tensor]
Source = Callable[[keras.Model], Forward]


@dataclass(frozen=True, eq=False)
class Term:
    """One measurement, of the activations of a layer or of the picture itself."""

    name: str
    measure: Callable[[Tensor, Tensor], Tensor]  # (b, ...) and the targets (b, k) -> (b,)
    source: Source | None = None  # how to run the model as far as needed; None measures the picture, as penalties do
    targets: np.ndarray | None = None  # (n, k) int32, a row a picture; None is every channel
    axes: tuple[int, ...] = ()  # which axes of the activations a row of targets indexes
    ranks: tuple[int, ...] = ()  # of activations that have such targets

    def checked_targets(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return the targets `(n, k)` int32, checked against activations of a shape `(1, ...)`.

        Raises:
            ValueError: activations of another kind than expected, or targets out of range.
        """
        if len(shape) not in self.ranks:
            raise ValueError(f"Expected activations of {self.ranks} axes, {self.name}. Received: {(None, *shape[1:])}")
        if self.targets is None:
            return np.arange(shape[-1], dtype=np.int32)[:, None]
        limits = [shape[axis] for axis in self.axes]
        if ((self.targets < 0) | (self.targets >= limits)).any():
            raise ValueError(f"Expected {self.name}, below {limits}. Received: {self.targets.tolist()}")
        return self.targets

    def identities(self, targets: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Return a number for each target, `(n,)` int64, which does not depend on the other targets."""
        return np.ravel_multi_index(tuple(targets.T), [shape[axis] for axis in self.axes])


@dataclass(frozen=True, eq=False)
class Objective:
    """A weighted sum of terms; pictures are made to maximise it."""

    terms: tuple[tuple[float, Term], ...]

    def __add__(self, other: "Objective") -> "Objective":
        return Objective(self.terms + other.terms)

    def __mul__(self, factor: float) -> "Objective":
        return Objective(tuple((weight * factor, term) for weight, term in self.terms))

    __rmul__ = __mul__

    def __neg__(self) -> "Objective":
        return self * -1.0

    def __sub__(self, other: "Objective") -> "Objective":
        return self + -other


def channel(layer: str, channels: Sequence[int] | int | None = None) -> Objective:
    """Return the mean activation of a channel over all positions, the report's objective.

    Args:
        layer: with activations `(batch, ..., channels)` of at least three axes.
        channels: one picture each; None: all.

    Reference: report 002, EJ4 ("que maximicen el valor medio de la activación de cada uno de los filtros").
    """

    def measure(activations: Tensor, targets: Tensor) -> Tensor:
        places = tuple(range(1, len(activations.shape) - 1))
        return chosen(ops.mean(activations, places), targets)

    name = f"channels of a convolutional layer ({layer!r})"
    return _of(Term(name, measure, functools.partial(activations, name=layer), _indices(channels, 1), (-1,), (3, 4, 5)))


def class_logit(classes: Sequence[int] | int | None = None) -> Objective:
    """Return the logit of a class: the input of the softmax at the end of a classifier, which is bypassed.

    Args:
        classes: one picture each; None: all.
    """

    def source(model: keras.Model) -> Forward:
        forward = graph.logits(model)
        return lambda images: forward(images)[0]

    return _of(Term("classes of a classifier", chosen, source, _indices(classes, 1), (-1,), (2,)))


def total_variation() -> Objective:
    """Return the mean absolute difference of neighbouring pixels, down plus across. Subtract it for smooth pictures."""

    def measure(images: Tensor, _: Tensor) -> Tensor:
        down, across = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
        return ops.mean(ops.abs(down), (1, 2, 3)) + ops.mean(ops.abs(across), (1, 2, 3))

    return _of(Term("total variation", measure))


def activations(model: keras.Model, name: str) -> Forward:
    """Return a function that runs a model in inference mode up to a layer, and nothing after it.

    Args:
        model: functional or Sequential, of one input; it is left as it was.
        name: of the layer, as for `graph.find`.

    Returns:
        `images (b, height, width, channels) -> activations (b, ...)`, in the dtype of the layer. If the layer ends in a
        ReLU, a channel that is 0 all over an image has the slope of the ReLU's input, so that it can wake.

    Raises:
        ValueError: as `graph.up_to` does.
    """
    layer = graph.find(model, name)
    if not _has_relu(layer):
        return graph.up_to(model, name)
    before, linear = graph.up_to(model, name, inclusive=False), graph.without_activation(layer)
    return lambda images: _waking_relu(linear(before(images)))


def _has_relu(layer: keras.Operation) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)
    return graph.last_activation(layer) is keras.activations.relu


@backend.custom_gradient
def _waking_relu(inputs: Tensor) -> tuple[Tensor, Forward]:
    """Return `relu(inputs)`; where no positive input of a channel counts for the score, all of them have its slope."""
    awake, places = inputs > 0, tuple(range(1, len(inputs.shape) - 1))

    def gradient(slope: Tensor) -> Tensor:
        counts = ops.any(awake & (slope != 0), places, keepdims=True)
        return slope * ops.cast(awake | ~counts, slope.dtype)  # faster than `where`

    return ops.relu(inputs), gradient


def _of(term: Term) -> Objective:
    return Objective(((1.0, term),))


def chosen(values: Tensor, targets: Tensor) -> Tensor:
    """Return one of the values (b, k) in each row; a mask is traced in half the time of a gather and its gradient."""
    mask = ops.arange(values.shape[-1], dtype="int32") == targets[:, :1]
    return ops.sum(ops.where(mask, values, ops.zeros_like(values)), -1)


def _indices(targets: object, columns: int) -> np.ndarray | None:
    """Return targets as int32 `(n, columns)`; None stays None."""
    if targets is None:
        return None
    rows = np.asarray(list(targets) if isinstance(targets, range) else targets)
    if not rows.size or rows.dtype.kind not in "iu" or rows.size % columns:
        raise ValueError(f"Expected at least one target of {columns} whole numbers. Received: {targets!r}")
    return rows.reshape(-1, columns).astype(np.int32)

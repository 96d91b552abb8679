"""What a picture is to maximise: values that add, subtract and scale.

    channel("conv_2") - 0.1 * total_variation()

Each measures a batch of pictures, one number a picture. Penalties take the value range as 0..1, so that their weights
mean the same for pictures of 0..255 and of -1..1.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
import tensorflow as tf

from tlkeras.visualize import classifiers, layers

Source = Callable[[keras.Model], Callable[[tf.Tensor], tf.Tensor]]


@dataclass(frozen=True, eq=False)
class Term:
    """One measurement, of what a layer answers or of the picture itself."""

    name: str
    measure: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # (b, ...) and the targets (b, k) -> (b,)
    source: Source | None = None  # how to run the model as far as needed; None measures the picture, a penalty
    targets: np.ndarray | None = None  # (n, k), a row a picture; None is every channel
    axes: tuple[int, ...] = ()  # which axes of the activations a row of targets indexes
    ranks: tuple[int, ...] = ()  # of the activations that have what is asked for

    def resolved(self, shape: tuple[int, ...]) -> "Term":
        """Return the term with its targets, checked against activations of a shape `(1, ...)`.

        Raises:
            ValueError: activations of another kind than expected, or targets out of range.
        """
        if len(shape) not in self.ranks:
            raise ValueError(f"Expected activations of {self.ranks} axes, {self.name}. Received: {(None, *shape[1:])}")
        if self.targets is None:
            return replace(self, targets=np.arange(shape[-1], dtype=np.int32)[:, None])
        limits = [shape[axis] for axis in self.axes]
        if limits and ((self.targets < 0) | (self.targets >= limits)).any():
            raise ValueError(f"Expected {self.name}, below {limits}. Received: {self.targets.tolist()}")
        if not limits and self.targets.shape[1] != shape[-1]:
            raise ValueError(f"Expected {self.name} of {shape[-1]} values. Received: {self.targets.shape[1]}")
        return self

    def identities(self, shape: tuple[int, ...]) -> np.ndarray:
        """Return a number for each target `(n,)` int64 that does not depend on which others are asked for."""
        if not self.axes:
            return np.arange(len(self.targets))
        return np.ravel_multi_index(tuple(self.targets.T), [shape[axis] for axis in self.axes])


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

    def measure(found: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return _chosen(tf.reduce_mean(found, tuple(range(1, len(found.shape) - 1))), targets)

    name = f"channels of a convolutional layer ({layer!r})"
    return _of(Term(name, measure, _up_to(layer), _indices(channels, 1), (-1,), (3, 4, 5)))


def neuron(layer: str, positions: Sequence[tuple[int, int, int]]) -> Objective:
    """Return the activation of single neurons.

    Args:
        layer: with activations `(batch, height, width, channels)`.
        positions: `(row, column, channel)` of each, one picture each.
    """

    def measure(found: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        return tf.gather_nd(found, targets, batch_dims=1)

    name = f"(row, column, channel) of a convolutional layer ({layer!r})"
    return _of(Term(name, measure, _up_to(layer), _indices(positions, 3), (1, 2, 3), (4,)))


def class_logit(classes: Sequence[int] | int | None = None) -> Objective:
    """Return what goes into the softmax at the end of a classifier, which itself is bypassed.

    Args:
        classes: one picture each; None: all.
    """

    def source(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
        forward = classifiers.logits(model)
        return lambda images: forward(images)[0]

    return _of(Term("classes of a classifier", _chosen, source, _indices(classes, 1), (-1,), (2,)))


def direction(layer: str, vectors: np.ndarray) -> Objective:
    """Return the mean projection of the activations on a direction: several channels at once.

    Args:
        layer: with activations `(batch, ..., channels)`.
        vectors: `(n, channels)` or `(channels,)`, one picture each; they are used at length 1.

    Raises:
        ValueError: a vector without a direction.
    """
    vectors = np.atleast_2d(np.asarray(vectors, np.float32))
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    if vectors.ndim != 2 or not (np.isfinite(lengths) & (lengths > 0)).all():
        raise ValueError(f"Expected vectors (n, channels) of finite lengths above 0. Received: {lengths.tolist()}")

    def measure(found: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        means = tf.reduce_mean(found, tuple(range(1, len(found.shape) - 1)))
        return tf.reduce_sum(means * targets, -1)

    name = f"directions among the channels of {layer!r},"
    return _of(Term(name, measure, _up_to(layer), vectors / lengths, (), (2, 3, 4, 5)))


def total_variation() -> Objective:
    """Return the mean absolute difference of neighbouring pixels, down plus across. Subtract it for smooth pictures."""

    def measure(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        down, across = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1]
        return tf.reduce_mean(tf.abs(down), (1, 2, 3)) + tf.reduce_mean(tf.abs(across), (1, 2, 3))

    return _of(Term("total variation", measure))


def energy() -> Objective:
    """Return the mean squared distance from the middle of the value range (L2). Subtract it for grey where it can."""
    return _of(Term("L2", lambda images, _: tf.reduce_mean((images - 0.5) ** 2, (1, 2, 3))))


def out_of_range() -> Objective:
    """Return the mean squared distance of pixels from the value range, for pictures that may leave it."""

    def measure(images: tf.Tensor, _: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean((images - tf.clip_by_value(images, 0.0, 1.0)) ** 2, (1, 2, 3))

    return _of(Term("out of range", measure))


def _of(term: Term) -> Objective:
    return Objective(((1.0, term),))


def _up_to(layer: str) -> Source:
    return functools.partial(layers.activations, name=layer)


def _chosen(values: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Return one of the values (b, k) in each row; a mask is traced in half the time of a gather and its gradient."""
    mask = tf.one_hot(targets[:, 0], values.shape[-1], True, False, dtype=tf.bool)
    return tf.reduce_sum(tf.where(mask, values, 0.0), -1)


def _indices(targets: object, columns: int) -> np.ndarray | None:
    """Return targets as int32 `(n, columns)`; None stays None."""
    if targets is None:
        return None
    found = np.asarray(list(targets) if isinstance(targets, range) else targets)
    if not found.size or found.dtype.kind not in "iu" or found.size % columns:
        raise ValueError(f"Expected at least one target of {columns} whole numbers. Received: {targets!r}")
    return found.reshape(-1, columns).astype(np.int32)

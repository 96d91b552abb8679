"""Classifiers for the top of a convolutional base, fitted to its frozen maps: two networks and a linear SVM."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers
from sklearn.svm import LinearSVC

from tlkeras import graph
from tlkeras.data import splits
from tlkeras.transfer.batches import training_batches
from tlkeras.transfer.features import at_least_float32
from tlkeras.transfer.freezing import compile_classifier, count_trainable

CLASSIFIERS = ("fully_connected", "global_average", "linear_svm")  # report 001, page 20
_UNITS = 256  # of the hidden layer; not stated
_DROPOUT = 0.5
_RATES = {"fully_connected": 1e-3, "global_average": 1e-2}  # of Adam; one layer alone is not done at 1e-3
_REGULARISATION = 1e-3  # scikit-learn's C, for standardised features; larger is worse on 50 images a class


class HeadMismatchError(ValueError):
    """A classifier meets features of another shape than it was made for."""


@dataclass(frozen=True)
class FittedClassifier:
    """A classifier, what it cost, and the shape of the maps that it takes."""

    shape: tuple[int, int, int]
    parameters: int
    seconds: float
    predict: Callable[[np.ndarray], np.ndarray]  # maps -> labels

    def accuracy(self, maps: np.ndarray, labels: np.ndarray) -> float:
        """Return the share of right answers for maps `(n, height, width, channels)` and labels `(n,)`.

        Raises:
            HeadMismatchError: maps of another shape than the classifier was fitted to.
        """
        if maps.shape[1:] != self.shape:
            raise HeadMismatchError(f"Expected maps of shape {self.shape}. Received: {maps.shape[1:]}")
        return float(np.mean(self.predict(maps) == labels))


def head(
    kind: str, shape: tuple[int, int, int], num_classes: int, statistics: tuple[np.ndarray, np.ndarray] | None = None
) -> keras.Model:
    """Build a classifier of neurons for maps of a frozen base.

    Args:
        kind: "fully_connected" (every position of the map, one hidden layer of 256, dropout) or "global_average" (the
            mean of each channel goes straight to the softmax).
        shape: `(height, width, channels)` of a map.
        num_classes: outputs.
        statistics: mean and variance of each channel, `(channels,)`, to standardise with (after the averaging); None
            takes maps as they are.

    Returns:
        A model, maps in, probabilities out.

    Raises:
        ValueError: another kind.
    """
    if kind not in CLASSIFIERS[:2]:
        raise ValueError(f"Expected a classifier out of {CLASSIFIERS[:2]}. Received: kind={kind!r}")
    inputs = keras.Input(shape, name="maps")
    x = layers.GlobalAveragePooling2D(name="average")(inputs) if kind == "global_average" else inputs
    if statistics is not None:
        mean, variance = statistics
        x = layers.Normalization(mean=mean, variance=variance, name="standardisation")(x)
    if kind == "fully_connected":
        x = layers.Dense(_UNITS, activation="relu", name="hidden")(layers.Flatten(name="flatten")(x))
        x = layers.Dropout(_DROPOUT, name="dropout")(x)
    return keras.Model(inputs, layers.Dense(num_classes, activation="softmax", name="classes")(x), name=kind)


def fit_classifier(
    kind: str, maps: np.ndarray, labels: np.ndarray, num_classes: int, *, seed: int, epochs: int = 30
) -> FittedClassifier:
    """Fit a classifier to frozen features, standardised with the mean and deviation of these features.

    Args:
        kind: one of `CLASSIFIERS`. The linear SVM sees the mean of each channel, as "global_average" does, one class
            against the others.
        maps: `(n, height, width, channels)` floats.
        labels: `(n,)` integers, 0..num_classes-1.
        num_classes: at least 2.
        seed: of weights, dropout and order.
        epochs: passes of the networks (Adam, batch 32, rate to zero along a cosine).

    Raises:
        ValueError: an unknown kind, or labels outside the classes.
        HeadMismatchError: no maps, or other than one label each.
    """
    if kind not in CLASSIFIERS:
        raise ValueError(f"Expected a classifier out of {CLASSIFIERS}. Received: kind={kind!r}")
    if maps.ndim != 4 or not len(maps) or len(maps) != len(labels):
        received = f"shape={maps.shape}, {len(labels)} labels"
        raise HeadMismatchError(f"Expected maps (n, height, width, channels), one label each. Received: {received}")
    splits.validate_labels(labels, num_classes)
    maps = at_least_float32(maps)
    started = time.perf_counter()
    fit = _fit_svm if kind == "linear_svm" else _fit_network
    parameters, predict = fit(kind, maps, labels, num_classes, seed, epochs)
    return FittedClassifier(tuple(maps.shape[1:]), parameters, time.perf_counter() - started, predict)


def fit_svm(features: np.ndarray, labels: np.ndarray, seed: int) -> tuple[int, Callable[[np.ndarray], np.ndarray]]:
    """Fit a linear SVM to flat features `(n, d)`; return how many parameters it has, and a function to labels."""
    features = at_least_float32(features)
    mean, deviation = features.mean(axis=0), np.sqrt(features.var(axis=0)) + keras.config.epsilon()
    machine = LinearSVC(C=_REGULARISATION, dual="auto", random_state=seed, max_iter=5_000)
    machine.fit((features - mean) / deviation, labels)
    return machine.coef_.size + machine.intercept_.size, lambda given: machine.predict((given - mean) / deviation)


def _fit_svm(kind: str, maps: np.ndarray, labels: np.ndarray, num_classes: int, seed: int, epochs: int) -> tuple:
    parameters, predict = fit_svm(maps.mean(axis=(1, 2)), labels, seed)
    return parameters, lambda given: predict(given.mean(axis=(1, 2)))


def _fit_network(kind: str, maps: np.ndarray, labels: np.ndarray, num_classes: int, seed: int, epochs: int) -> tuple:
    keras.utils.set_random_seed(seed)
    seen = maps.mean(axis=(1, 2)) if kind == "global_average" else maps.reshape(-1, maps.shape[-1])
    model = head(kind, maps.shape[1:], num_classes, (seen.mean(axis=0), seen.var(axis=0)))
    batches = training_batches((maps, labels), 32, seed)
    steps = len(batches)
    rate = keras.optimizers.schedules.CosineDecay(_RATES[kind], epochs * steps)
    compile_classifier(model, keras.optimizers.Adam(rate), min(steps, 50))
    with graph.compiled_once():
        model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    return count_trainable(model), lambda given: model.predict(given, batch_size=500, verbose=0).argmax(axis=-1)

"""A network and pictures small enough for every test: 8x8 pixels, three classes; and runs made by hand."""

import dataclasses
from typing import Any

import keras
import numpy as np

from tlkeras.experiments.report import Report, as_stored
from tlkeras.experiments.runs import Run
from tlkeras.models import tominet

TRAINABLE = {"conv_1": 40, "batch_norm_1": 8, "conv_2": 111, "batch_norm_2": 6, "dense": 39}


def images(count: int = 12, seed: int = 0, shape: tuple[int, ...] = (8, 8, 1)) -> np.ndarray:
    """Return random uint8 images `(count, *shape)`."""
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def labelled(count: int = 12, seed: int = 0, shape: tuple[int, ...] = (8, 8, 1)) -> tuple[np.ndarray, np.ndarray]:
    """Return random images with random labels 0..2, every class among the first three."""
    labels = np.random.default_rng(seed).integers(0, 3, count).astype(np.int32)
    labels[:3] = [0, 1, 2]
    return images(count, seed, shape), labels


def tiny(seed: int = 0, num_classes: int = 3, **options) -> keras.Model:
    """Return a TomiNet of 204 trainable parameters, the same for the same seed."""
    keras.utils.set_random_seed(seed)
    return tominet(num_classes, (8, 8, 1), filters=(4, 3), **options)


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """Give every weight of `model`, statistics too, another value than a new layer has; variances stay positive."""
    generator = np.random.default_rng(seed)
    model.set_weights([generator.uniform(0.1, 0.9, weight.shape) for weight in model.weights])
    return model


def made_run(report: Report, arm: str, seed: int, metrics: dict[str, float], *, changes: Any = None, **fields) -> Run:
    """Return a paper run of an arm with these metrics; `changes` are of its settings, `fields` of the run."""
    settings = as_stored(dataclasses.replace(report.arms[arm], **(changes or {})))
    data = [{"name": "made", "source": "made", "stand_in": False, "fingerprint": "0123456789abcdef"}]
    return Run(report.name, arm, seed, "paper", settings, metrics, **{"data": data, "weights": [], **fields})

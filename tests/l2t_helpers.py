"""A source, a target and labelled images small enough for second derivatives in every test."""

import contextlib
import functools
import importlib
import os

import keras
import numpy as np
from keras import ops

from tlkeras.l2t import LearningToTransfer, Settings
from tlkeras.l2t.state import Parts, State
from tlkeras.models import resnet32, vgg9

SMALL = {"epochs": 3, "batch_size": 6, "learning_rate": 0.05}
ALIKE = {"what": False, "where": False}
SHORT = Settings(lookahead=1)  # is traced sooner
PAIRS = [("s1b1", "relu1"), ("s2b1", "relu1"), ("s1b1", "relu2")]  # maps 8 and 4 wide, with 8 and 4


if keras.backend.backend() != "tensorflow" and os.environ.get("JAX_ENABLE_X64"):
    from keras.src.backend.common import dtypes

    # Keras computes means of float64 in float32 on JAX, even where JAX itself knows float64.
    dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


@contextlib.contextmanager
def dtype(name):
    """Build Keras layers in another dtype."""
    before = keras.config.floatx()
    keras.config.set_floatx(name)
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def engine():
    """Return the module that holds Algorithm 1 for Keras' backend."""
    return importlib.import_module("tlkeras.l2t." + {"tensorflow": "algorithm", "jax": "jax"}[keras.backend.backend()])


def compiled(function):
    """Return a pure function compiled by Keras' backend."""
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return tf.function(function, autograph=False)


def networks(seed=0, name="float32", preprocessing="torch"):
    """Return a source of 2 stages and a target of 2 convolutions for 8x8 images and 3 classes."""
    keras.utils.set_random_seed(seed)
    with dtype(name):
        logits = {"classifier_activation": None, "preprocessing": preprocessing}
        source = resnet32(4, (8, 8, 3), filters=(4, 6), blocks=1, **logits)
        target = vgg9(3, (8, 8, 3), blocks=((5,), (6,)), **logits)
    return source, target


def made(pairs=PAIRS, settings=SHORT, **options):
    """Return the training of both at its first values; it is one object for all tests, so that it is traced once."""
    training, first = _made(tuple(pairs), settings, tuple(options.items()))
    training.learner.restore(first)
    return training


@functools.cache
def _made(pairs, settings, options):
    training = LearningToTransfer(*networks(), pairs, settings=settings, **dict(options))
    return training, everything(training)


def everything(training):
    """Return a copy of all that a training changes."""
    return {name: np.array(variable) for name, variable in training.learner.named_variables().items()}


def images(count=12, seed=0):
    """Return uint8 images and labels, all classes among them."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, 8, 8, 3)).astype(np.uint8), (np.arange(count) % 3).astype(np.int32)


def start(parts: Parts, seed=0):
    """Return a state in float64 whose meta-networks and velocities are not at their first values."""
    generator = np.random.default_rng(seed)
    theta = [ops.convert_to_tensor(np.asarray(v)) for v in parts.network.trainable]
    theta += [ops.convert_to_tensor(v) for v in parts.matching.initial_branches(generator)]
    phi = [ops.convert_to_tensor(v + generator.normal(0, 0.1, v.shape)) for v in parts.meta.initial(generator)]
    velocities = [ops.convert_to_tensor(generator.normal(0, 0.01, v.shape)) for v in theta]
    zeros = [ops.zeros_like(v) for v in phi]
    return State(
        theta, velocities, [ops.convert_to_tensor(np.asarray(v)) for v in parts.network.state], phi, (zeros, zeros)
    )

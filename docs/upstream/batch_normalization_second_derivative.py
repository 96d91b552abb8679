"""Second derivative of BatchNormalization in training, by autodiff and by finite differences; any KERAS_BACKEND."""

import importlib

import keras
import numpy as np
from keras import ops

backend = keras.backend.backend()
library = importlib.import_module({"jax": "jax", "torch": "torch.func", "tensorflow": "tensorflow"}[backend])
layer = keras.layers.BatchNormalization()
layer.build((8, 4))
state = [[weight.value for weight in part] for part in (layer.trainable_weights, layer.non_trainable_weights)]
x, scale, v = (ops.convert_to_tensor(a, "float32") for a in np.random.default_rng(0).normal(size=(3, 8, 4)))


def loss(x):
    return ops.sum(ops.sin(layer.stateless_call(*state, x, training=True)[0]) * scale)


def along_v(function):  # its derivative in the direction of v
    if backend == "tensorflow":
        return library.function(lambda x: ops.sum(library.gradients(function(x), x)[0] * v))
    return lambda x: ops.sum(library.grad(function)(x) * v)


for order, function in (("first", loss), ("second", along_v(loss))):
    both = along_v(function)(x), (function(x + 0.003 * v) - function(x - 0.003 * v)) / 0.006
    autodiff, differences = (float(ops.convert_to_numpy(value)) for value in both)
    print(f"{backend}, {order} derivative: autodiff {autodiff:.3f}, finite differences {differences:.3f}")

"""Folding: the same values in fewer operations, and only where nothing sees the convolution alone."""

import keras
import numpy as np
import pytest
from keras import layers
from l2t_helpers import images, networks

from tlkeras.l2t.folding import folded
from tlkeras.models.batch_normalization import BatchNormalization


def shaken(model):
    """Give every variable of batch normalisation another value."""
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            for variable in layer.variables:
                variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def agrees(model, names, inputs):
    """Return the types of the layers of the folded model, after a look at its outputs."""
    expected = keras.Model(model.inputs[0], [model.get_layer(name).output for name in names])(inputs, training=False)
    twin = folded(model, names)
    pairs = zip(keras.tree.flatten(twin(inputs, training=False)), keras.tree.flatten(expected), strict=True)
    for found, wanted in pairs:
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    return [type(layer).__name__ for layer in twin.layers]


def test_a_residual_network_is_folded_whole():
    source = shaken(networks(name="float64")[0])
    left = agrees(source, ["s1b1", "s2b1"], images()[0].astype(float))
    assert left.count("_Folded") == sum(isinstance(layer, layers.BatchNormalization) for layer in source.layers) > 4
    assert "BatchNormalization" not in left and "Conv2D" not in left


def test_it_follows_the_models_variables():
    source = networks()[0]
    inputs = images()[0].astype(np.float32)
    twin = folded(source, ["s1b1"])
    before = np.asarray(keras.tree.flatten(twin(inputs))[0])
    shaken(source)
    after = np.asarray(keras.tree.flatten(twin(inputs))[0])
    assert np.abs(after - before).max() > 0.1
    expected = keras.Model(source.input, source.get_layer("s1b1").output)(inputs, training=False)
    np.testing.assert_allclose(after, expected, rtol=1e-4, atol=1e-4)


def normalized(convolution, normalization, *, also=False, sequential=False, training=None):
    inputs = keras.Input((6, 6, 3), dtype="float64")
    if sequential:
        return shaken(keras.Sequential([inputs, convolution, normalization]))
    x = convolution(inputs)
    y = normalization(x) if training is None else normalization(x, training=training)
    y = layers.Add(name="both", dtype="float64")([x, y]) if also else y
    return shaken(keras.Model(inputs, y))


@pytest.mark.parametrize(
    ("convolution", "normalization", "options", "is_folded"),
    [
        ({}, {}, {}, True),
        ({}, {}, {"sequential": True}, True),
        ({"use_bias": False, "strides": 2}, {"scale": False, "center": False}, {}, True),
        ({"groups": 3, "filters": 6}, {}, {}, True),
        ({"activation": "relu"}, {}, {}, False),
        ({}, {}, {"also": True}, False),
        ({}, {}, {"training": False}, True),
        ({}, {}, {"training": True}, False),
        ({}, {"axis": 1}, {}, False),
    ],
)
@pytest.mark.parametrize("kind", [layers.BatchNormalization, BatchNormalization])
def test_what_cannot_be_folded_stays(kind, convolution, normalization, options, is_folded):
    convolution = layers.Conv2D(**({"filters": 4, "kernel_size": 3, "dtype": "float64", "name": "conv"} | convolution))
    model = normalized(convolution, kind(name="bn", dtype="float64", **normalization), **options)
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    name = "both" if options.get("also") else "bn"
    assert ("_Folded" in agrees(model, [name], inputs)) is is_folded


def test_a_convolution_that_is_a_feature_stays():
    convolution = layers.Conv2D(4, 3, dtype="float64", name="conv")
    model = normalized(convolution, BatchNormalization(name="bn", dtype="float64"))
    inputs = np.random.default_rng(0).normal(size=(2, 6, 6, 3))
    assert "_Folded" not in agrees(model, ["conv", "bn"], inputs)


def test_layers_that_are_called_twice_stay():
    convolution = layers.Conv2D(3, 3, padding="same", dtype="float64", name="conv")
    normalization = BatchNormalization(name="bn", dtype="float64")
    inputs = keras.Input((6, 6, 3), dtype="float64")
    x = normalization(convolution(normalization(convolution(inputs))))
    model = shaken(keras.Model(inputs, layers.Activation("relu", name="end", dtype="float64")(x)))
    assert "_Folded" not in agrees(model, ["end"], np.random.default_rng(0).normal(size=(2, 6, 6, 3)))

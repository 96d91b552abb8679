"""Layers are found by name wherever they are, and run no further than asked."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import images, tiny

from tlkeras.visualize import layers


def nested(names=("left", "right")):
    inputs = keras.Input((8, 8, 1))
    parts = [
        keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same", name="same")], name=name)
        for name in names
    ]
    x = parts[0](inputs)
    return keras.Model(inputs, parts[1](keras.layers.ReLU(name="between")(x))), parts


def test_activations_are_those_of_the_model():
    model, (left, right) = nested()
    x = images(3).astype(np.float32)
    expected = keras.ops.relu(left(x))
    np.testing.assert_allclose(layers.activations(model, "left/same")(x), left(x))
    np.testing.assert_allclose(layers.activations(model, "left")(x), left(x))
    np.testing.assert_allclose(layers.activations(model, "between")(x), expected)
    np.testing.assert_allclose(layers.activations(model, "right/same")(x), right(expected))


def test_what_comes_after_the_layer_is_not_run():
    class Failing(keras.layers.Layer):
        def call(self, inputs):
            raise RuntimeError("too far")

        def compute_output_shape(self, input_shape):
            return input_shape

    base = tiny()
    model = keras.Model(base.inputs[0], Failing()(base.get_layer("conv_2").output))
    assert layers.activations(model, "conv_2")(images(2).astype(np.float32)).shape == (2, 4, 4, 3)


def test_a_name_that_several_layers_have_is_refused_with_their_paths():
    with pytest.raises(ValueError, match=r"\['left/same', 'right/same'\] have this one\. Received: layer='same'$"):
        layers.activations(nested()[0], "same")


def test_the_names_of_later_models_do_not_change():
    model = tiny()
    keras.backend.clear_session()
    layers.activations(model, "conv_1")
    inputs = keras.Input((1,))
    assert keras.Model(inputs, inputs).name == "functional"


def test_models_of_several_inputs_and_of_no_images_are_refused():
    one, two = keras.Input((8, 8, 1)), keras.Input((8, 8, 1))
    with pytest.raises(ValueError, match="of one input"):
        layers.activations(keras.Model([one, two], one + two), "add")
    inputs = keras.Input((3,))
    with pytest.raises(ValueError, match=r"Received: \(None, 3\)$"):
        layers.input_shape(keras.Model(inputs, inputs))


@pytest.mark.parametrize("size", [None, 8, (8, 8)])
def test_the_shape_of_a_picture(size):
    assert layers.input_shape(tiny(), size) == (8, 8, 1)


def test_a_sleeping_channel_has_a_slope_and_a_wakened_one_its_own():
    inputs = keras.Input((4, 4, 1))
    layer = keras.layers.Conv2D(2, 1, activation="relu", name="filters")
    model = keras.Model(inputs, layer(inputs))
    layer.set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 2), np.array([-100.0, 0.0])])
    x = tf.Variable(np.linspace(-3, 4, 16, dtype=np.float32).reshape(1, 4, 4, 1))
    run = layers.activations(model, "filters")
    for channel, expected in ((0, np.ones(16)), (1, 2.0 * (np.linspace(-3, 4, 16) > 0))):
        with tf.GradientTape() as tape:
            found = run(x)
            score = tf.reduce_sum(found[..., channel])
        np.testing.assert_array_equal(found, layer(x))
        np.testing.assert_allclose(tape.gradient(score, x).numpy().ravel(), expected)

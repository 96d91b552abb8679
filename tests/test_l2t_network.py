"""A model as a pure function: its second derivative is right, whatever layers of Keras it has."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from l2t_helpers import dtype, images, networks

from tlkeras.l2t.fast import FastNetwork
from tlkeras.l2t.network import Network
from tlkeras.models.batch_normalization import BatchNormalization

both = pytest.mark.parametrize("kind", [Network, FastNetwork])


def values(variables):
    return [tf.constant(np.asarray(variable)) for variable in variables]


def loss_of(network, weights, x):
    outputs = network(weights, values(network.state), x)[1]
    return tf.reduce_sum(tf.sin(outputs))


@both
@pytest.mark.parametrize("normalization", [layers.BatchNormalization, BatchNormalization])
def test_the_second_derivative_agrees_with_finite_differences(kind, normalization):
    keras.utils.set_random_seed(0)
    with dtype("float64"):
        inputs = keras.Input((4, 4, 3))
        x = normalization(name="bn")(layers.Conv2D(4, 3, activation="tanh")(inputs))
        network = kind(keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x))), [])
    weights, x = values(network.trainable), tf.constant(np.random.default_rng(0).normal(size=(5, 4, 4, 3)))
    direction = [tf.constant(np.random.default_rng(1).normal(size=w.shape)) for w in weights]

    def gradient(at):
        with tf.GradientTape() as tape:
            tape.watch(at)
            loss = loss_of(network, at, x)
        return tape.gradient(loss, at, unconnected_gradients="zero")

    with tf.GradientTape() as tape:
        tape.watch(weights)
        first = gradient(weights)
    found = tape.gradient(first, weights, direction)
    ends = [gradient([w + sign * 1e-5 * d for w, d in zip(weights, direction, strict=True)]) for sign in (1, -1)]
    for product, up, down in zip(found, *ends, strict=True):
        np.testing.assert_allclose(product, (up - down) / 2e-5, rtol=1e-5, atol=1e-7)


@both
@pytest.mark.parametrize("normalization", [layers.BatchNormalization, BatchNormalization])
def test_it_computes_and_remembers_what_the_model_does(kind, normalization):
    keras.utils.set_random_seed(0)
    with dtype("float64"):
        options = [{}, {"scale": False}, {"center": False}, {"trainable": False}]
        model = keras.Sequential([keras.Input((4, 4, 3))])
        for number, option in enumerate(options):
            model.add(layers.Conv2D(3, 3, padding="same", use_bias=number < 2, activation="relu" if number else None))
            model.add(normalization(momentum=0.8, epsilon=0.01, **option))
        model.add(layers.MaxPooling2D())
        model.add(layers.ReLU())
    x = np.random.default_rng(0).normal(size=(6, 4, 4, 3))
    network = kind(model, [])
    _, outputs, state = network(values(network.trainable), values(network.state), tf.constant(x))
    np.testing.assert_allclose(outputs, model(x, training=True), rtol=1e-9, atol=1e-12)  # and the model updates its own
    for found, variable in zip(state, network.state, strict=True):
        np.testing.assert_allclose(found, variable, rtol=1e-9)
    assert network.input_shape == (None, 4, 4, 3)


@both
def test_a_bias_moves_where_normalisation_takes_the_moving_statistics(kind):
    inputs = keras.Input((4, 4, 3))
    x = layers.Conv2D(4, 3, padding="same", name="conv")(inputs)
    x = layers.BatchNormalization()(x, training=False)
    target = keras.Model(inputs, layers.Dense(2)(layers.Flatten()(x)))
    network = kind(target, [])
    with tf.GradientTape() as tape:
        weights = [tf.identity(variable) for variable in network.trainable]
        tape.watch(weights)
        state = [tf.identity(variable) for variable in network.state]
        outputs = network(weights, state, tf.ones((2, 4, 4, 3)))[1]
        loss = tf.reduce_sum(outputs**2)
    bias = [variable.path for variable in network.trainable].index("conv/bias")
    assert np.abs(tape.gradient(loss, weights)[bias]).max() > 0


@both
def test_normalisation_over_another_axis_is_refused(kind):
    inputs = keras.Input((4, 4, 3))
    network = kind(keras.Model(inputs, layers.Flatten()(layers.BatchNormalization(axis=1, name="bn")(inputs))), [])
    with pytest.raises(ValueError, match=r"over the last axis\. Received: 'bn' with 1"):
        network(values(network.trainable), values(network.state), tf.ones((2, 4, 4, 3)))


@both
def test_features_are_the_layers_outputs_in_training(kind):
    target = networks()[1]
    network, x = kind(target, ["relu2", "relu1"]), tf.constant(images(6)[0], tf.float32)
    features, outputs, _ = network(values(network.trainable), values(network.state), x)
    own = keras.Model(target.input, [target.get_layer(name).output for name in ("relu2", "relu1")])
    for found, expected in zip([*features, outputs], [*own(x, training=True), target(x, training=True)], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)

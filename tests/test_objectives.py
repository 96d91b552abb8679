"""Objectives are values: they add, subtract and scale as numbers do, and measure what they say; sleepers wake."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.visualize import objectives as o

IMAGES = np.random.default_rng(0).uniform(-0.5, 1.5, (3, 4, 4, 2)).astype(np.float32)


def value(objective, found=IMAGES):
    parts = [weight * term.measure(tf.constant(found), term.targets) for weight, term in objective.terms]
    return sum(parts).numpy()


def test_objectives_are_a_vector_space():
    a, b = o.total_variation(), o.channel("any", [0, 1, 1])
    np.testing.assert_allclose(value(2 * a - b * 0.5), 2 * value(a) - 0.5 * value(b), rtol=1e-5)
    np.testing.assert_allclose(value(-(a + b)), -value(a) - value(b), rtol=1e-5)
    assert a.terms[0][0] == b.terms[0][0] == 1.0


def test_what_looks_at_the_model_measures_one_number_a_picture():
    np.testing.assert_allclose(value(o.channel("any", [1, 0, 1])), IMAGES.mean((1, 2))[range(3), [1, 0, 1]], rtol=1e-5)
    np.testing.assert_allclose(value(o.class_logit([1, 1, 0]), IMAGES[:, 0, 0]), IMAGES[range(3), 0, 0, [1, 1, 0]])


def test_total_variation_is_the_mean_difference_of_neighbours():
    step = np.zeros((1, 4, 4, 1), np.float32)
    step[:, :, 2:] = 1
    assert value(o.total_variation(), step) == pytest.approx([1 / 3])


def test_a_value_that_is_not_asked_for_does_no_harm():
    broken = IMAGES.copy()
    broken[..., 0] = np.nan
    assert np.isfinite(value(o.channel("any", [1, 1, 1]), broken)).all()


def test_identities_name_a_target_whatever_the_others_are():
    ((_, term),), shape = o.channel("any", [1, 1, 0]).terms, (1, 4, 4, 2)
    assert term.identities(term.checked_targets(shape), shape).tolist() == [1, 1, 0]
    ((_, every),) = o.channel("any").terms
    assert every.identities(every.checked_targets(shape), shape).tolist() == [0, 1]


def convolution(**options):
    return keras.layers.Conv2D(2, 1, name="filters", **options)


@pytest.mark.parametrize("end", ["inside", "beside"])
def test_a_sleeping_channel_has_a_slope_and_a_wakened_one_its_own(end):
    inputs = keras.Input((4, 4, 1))
    layer = convolution(activation="relu" if end == "inside" else None)
    outputs = layer(inputs) if end == "inside" else keras.layers.ReLU(name="relu")(layer(inputs))
    model = keras.Model(inputs, outputs)
    layer.set_weights([np.array([1.0, 2.0]).reshape(1, 1, 1, 2), np.array([-100.0, 0.0])])
    x = tf.Variable(np.linspace(-3, 4, 16, dtype=np.float32).reshape(1, 4, 4, 1))
    run = o.activations(model, "filters" if end == "inside" else "relu")
    for channel, expected in ((0, np.ones(16)), (1, 2.0 * (np.linspace(-3, 4, 16) > 0))):
        with tf.GradientTape() as tape:
            found = run(x)
            score = tf.reduce_sum(found[..., channel])
        np.testing.assert_array_equal(found, model(x))
        np.testing.assert_allclose(tape.gradient(score, x).numpy().ravel(), expected)


def test_a_layer_that_ends_otherwise_is_run_as_it_is():
    inputs = keras.Input((4, 4, 1))
    capped = keras.layers.ReLU(max_value=1.0, name="capped")(convolution()(inputs))
    model = keras.Model(inputs, capped)
    np.testing.assert_array_equal(o.activations(model, "capped")(IMAGES[..., :1]), model(IMAGES[..., :1]))


class Residual(keras.layers.Layer):
    """A block of one's own, whose activation is not its last step; it makes its convolution early or late."""

    def __init__(self, early, activation="relu", **options):
        super().__init__(**options)
        self.early, self.activation = early, keras.activations.get(activation)
        self.convolution = convolution() if early else None

    def build(self, shape):
        self.convolution = self.convolution or convolution()
        self.convolution.build(shape)

    def call(self, inputs):
        return self.convolution(self.activation(inputs)) - inputs

    def get_config(self):
        return {**super().get_config(), "early": self.early, "activation": "relu"}


class Fixed(Residual):
    """A block that takes no activation."""

    def __init__(self, **options):
        super().__init__(early=False, **options)

    def get_config(self):
        return keras.layers.Layer.get_config(self)


@pytest.mark.parametrize("make", [lambda **k: Residual(True, **k), lambda **k: Residual(False, **k), Fixed])
def test_what_a_layer_of_ones_own_calls_its_activation_is_not_taken_for_its_end(make):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, make(name="block")(inputs))
    assert np.asarray(model(IMAGES)).min() < 0
    np.testing.assert_array_equal(o.activations(model, "block")(IMAGES), model(IMAGES))

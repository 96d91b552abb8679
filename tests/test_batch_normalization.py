"""Our batch normalisation is Keras' in value, PyTorch's in its moving variance, and right in its second derivative."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.models.batch_normalization import BatchNormalization, normalised

EPSILON = 1e-3


def plain(x, gamma, beta):
    axes = list(range(x.shape.rank - 1))
    mean = tf.reduce_mean(x, axes)
    return (x - mean) / tf.sqrt(tf.reduce_mean(tf.square(x - mean), axes) + EPSILON) * gamma + beta


def ours(x, gamma, beta):
    return normalised(x, gamma, beta, EPSILON)[0]


def keras_own(x, gamma, beta):
    mean, variance = keras.ops.moments(x, list(range(x.shape.rank - 1)))
    return keras.ops.batch_normalization(x, mean, variance, -1, beta, gamma, EPSILON)


def derivatives(function, dtype, shape=(4, 3, 3, 5)):
    """Return first derivatives of a loss through `function`, and what random cotangents of them are worth."""
    generator = np.random.default_rng(0)

    def draw(*shape):
        return tf.constant(generator.normal(1.0, 2.0, shape), dtype)

    inputs = [draw(*shape), draw(shape[-1]), draw(shape[-1])]
    upstream, through = draw(*shape), [draw(*x.shape) for x in inputs]
    with tf.GradientTape() as again:
        again.watch(inputs)
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = tf.reduce_sum(tf.sin(function(*inputs)) * upstream)
        first = tape.gradient(loss, inputs)
    return first, again.gradient(first, inputs, output_gradients=through)


def distances(found, wanted):
    return [float(tf.norm(a - b) / tf.norm(b)) for a, b in zip(found, wanted, strict=True)]


@pytest.mark.parametrize(("dtype", "limit"), [(tf.float64, 1e-13), (tf.float32, 1e-5)], ids=["explicit", "fused"])
@pytest.mark.parametrize("shape", [(4, 3, 3, 5), (6, 5)], ids=["maps", "vectors"])
def test_both_derivatives_are_those_of_the_formula(dtype, limit, shape):
    found, wanted = derivatives(ours, dtype, shape), derivatives(plain, dtype, shape)
    assert max(distances(found[0], wanted[0])) < limit
    assert max(distances(found[1], wanted[1])) < limit


def test_keras_own_second_derivative_is_wrong_on_tensorflow():
    """When this fails, Keras or TensorFlow was mended, and `models/batch_normalization.py` may go."""
    found, wanted = derivatives(keras_own, tf.float64), derivatives(plain, tf.float64)
    assert max(distances(found[0], wanted[0])) < 1e-12
    assert max(distances(found[1], wanted[1])) > 0.01


def layers(shape, **options):
    """Return Keras' layer and ours, built alike."""
    made = [
        kind(epsilon=EPSILON, momentum=0.9, **options) for kind in (keras.layers.BatchNormalization, BatchNormalization)
    ]
    for layer in made:
        layer.build((None, *shape[1:]))
    return made


@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}], ids=["both", "no scale", "no centre"])
def test_outputs_and_moving_mean_are_keras_and_the_moving_variance_is_unbiased(options):
    x = np.random.default_rng(0).normal(3, 2, (4, 3, 3, 5)).astype(np.float32)
    theirs, mine = layers(x.shape, **options)
    np.testing.assert_allclose(mine(x, training=True), theirs(x, training=True), atol=1e-5)
    np.testing.assert_allclose(mine.moving_mean, theirs.moving_mean, rtol=1e-6)
    unbiased = 0.9 + 0.1 * x.reshape(-1, 5).var(axis=0, ddof=1)
    np.testing.assert_allclose(mine.moving_variance, unbiased, rtol=1e-5)
    theirs.set_weights(mine.get_weights())
    np.testing.assert_allclose(mine(x, training=False), theirs(x, training=False), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_statistics_of_half_precision_are_of_float32_as_those_of_keras(policy):
    x = np.random.default_rng(0).normal(300, 2, (8, 8, 8, 5)).astype(np.float32)  # the sum of squares is over 65504
    theirs, mine = layers(x.shape, dtype=policy)
    with tf.GradientTape(persistent=True) as tape:
        inputs = tf.constant(x)
        tape.watch(inputs)
        expected, found = theirs(inputs, training=True), mine(inputs, training=True)
        scores = [tf.reduce_sum(tf.sin(tf.cast(outputs, tf.float32))) for outputs in (expected, found)]
    assert found.dtype == mine.compute_dtype
    np.testing.assert_allclose(tf.cast(found, tf.float32), tf.cast(expected, tf.float32), atol=0.02)
    np.testing.assert_allclose(mine.moving_mean, theirs.moving_mean, rtol=1e-3)
    np.testing.assert_allclose(mine.moving_variance, theirs.moving_variance, rtol=2e-3)
    slopes = [tape.gradient(score, inputs) for score in scores]
    assert distances(slopes[1:], slopes[:1])[0] < 0.02


def test_one_value_a_channel_leaves_statistics_that_are_finite():
    _, layer = layers((1, 5))
    layer(np.full((1, 5), 2.0, np.float32), training=True)
    np.testing.assert_allclose(layer.moving_variance, 0.9)
    np.testing.assert_allclose(layer.moving_mean, 0.2)


def test_a_frozen_layer_keeps_its_statistics():
    x = np.random.default_rng(0).normal(3, 2, (4, 5)).astype(np.float32)
    _, layer = layers(x.shape)
    layer.trainable = False
    np.testing.assert_allclose(layer(x, training=True), x / np.sqrt(1 + EPSILON), rtol=1e-5)
    assert not np.asarray(layer.moving_mean).any()


def test_the_layer_comes_back_from_a_file(tmp_path):
    inputs = keras.Input((4, 4, 2))
    model = keras.Model(inputs, BatchNormalization(epsilon=1e-5)(inputs))
    model.save(tmp_path / "model.keras")
    assert type(keras.models.load_model(tmp_path / "model.keras").layers[-1]) is BatchNormalization

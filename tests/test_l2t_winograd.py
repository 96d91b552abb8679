"""Convolutions by fewer multiplications are the convolutions, in all their derivatives."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkeras.l2t import winograd


def _pair(height, width, channels=3, filters=2, seed=0):
    generator = np.random.default_rng(seed)
    shapes = (2, height, width, channels), (3, 3, channels, filters)
    return [tf.constant(generator.normal(size=shape)) for shape in shapes]


def _plain(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


def _derivatives(convolve, images, kernel, direction):
    """Return the gradient of a loss that is not linear in the outputs, and its product with the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch([images, kernel])
        with tf.GradientTape() as inner:
            inner.watch([images, kernel])
            loss = tf.reduce_sum(tf.sin(convolve(images, kernel)))
        first = inner.gradient(loss, [images, kernel])
    return first, outer.gradient(first, [images, kernel], direction)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 2), (2, 1), (4, 4), (3, 5), (7, 2), (8, 8), (6, 8), (16, 16), (9, 14)]
)
def test_it_is_the_convolution(height, width):
    images, kernel = _pair(height, width)
    np.testing.assert_allclose(winograd.convolve(images, kernel), _plain(images, kernel), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("side", [2, 4, 5, 10])
def test_both_derivatives_are_the_convolutions(side):
    images, kernel = _pair(side, side)
    direction = _pair(side, side, seed=1)
    ours, plain = (_derivatives(f, images, kernel, direction) for f in (winograd.convolve, _plain))
    for mine, theirs in zip(tf.nest.flatten(ours), tf.nest.flatten(plain), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-10, atol=1e-10)


def test_single_precision_loses_little():
    images, kernel = (tf.cast(x, tf.float32) for x in _pair(8, 8, 64, 64))
    exact = _plain(tf.cast(images, tf.float64), tf.cast(kernel, tf.float64)).numpy()
    found = winograd.convolve(images, kernel).numpy()
    assert found.dtype == np.float32
    assert np.abs(found - exact).max() < 1e-4 * np.abs(exact).max()


def test_any_number_of_images_in_a_graph():
    _, kernel = _pair(4, 4)
    run = tf.function(
        lambda x: winograd.convolve(x, kernel), input_signature=[tf.TensorSpec((None, 4, 4, 3), "double")]
    )
    for count in (1, 5):
        images = tf.random.stateless_normal((count, 4, 4, 3), (0, count), dtype=tf.float64)
        np.testing.assert_allclose(run(images), _plain(images, kernel), atol=1e-12)


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        ({"strides": 2}, (None, 8, 8, 64)),
        ({"dilation_rate": 2}, (None, 8, 8, 64)),
        ({"padding": "valid"}, (None, 8, 8, 64)),
        ({"kernel_size": 5}, (None, 8, 8, 64)),
        ({"groups": 2}, (None, 8, 8, 64)),
        ({"filters": 8}, (None, 8, 8, 64)),
        ({"dtype": "mixed_float16"}, (None, 8, 8, 64)),
        ({}, (None, 8, 8, 3)),
        ({}, (None, 32, 32, 64)),
        ({}, (None, None, None, 64)),
    ],
)
def test_other_layers_are_left_alone(options, shape):
    layer = keras.layers.Conv2D(**{"filters": 64, "kernel_size": 3, "padding": "same", **options})
    assert not winograd.suits(layer, shape)


def test_small_maps_of_many_channels_suit():
    layer = keras.layers.Conv2D(64, 3, padding="same")
    assert winograd.suits(layer, (None, 8, 8, 32)) and winograd.suits(layer, (None, 2, 4, 64))

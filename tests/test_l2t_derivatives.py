"""Written-out derivatives are those of the operations, the second ones too."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.l2t import derivatives

WEIGHTS = tf.constant(np.random.default_rng(1).uniform(size=(4, 5)))


def _both(function, x, direction):
    """Return value, gradient of a curved loss, and its product with the Hessian."""
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = function(x)
            loss = tf.reduce_sum(tf.sin(value))
        first = inner.gradient(loss, x)
    return value, first, outer.gradient(first, x, direction)


def _pools(size):
    return (lambda x: derivatives.max_pool(x, size)), (lambda x: tf.nn.max_pool2d(x, size, size, "VALID"))


@pytest.mark.parametrize(
    ("ours", "plain", "shape"),
    [
        (derivatives.relu, tf.nn.relu, (3, 4)),
        (*_pools((2, 2)), (2, 4, 6, 3)),
        (*_pools((2, 2)), (2, 5, 7, 3)),
        (*_pools((3, 1)), (1, 6, 4, 2)),
        (derivatives.mean_square, lambda x: tf.reduce_mean(x * x, axis=1, keepdims=True), (2, 5, 3)),
        (lambda x: derivatives.weighted_squares(x, WEIGHTS), lambda x: WEIGHTS @ (x * x), (2, 5, 3)),
        (derivatives.gram, lambda x: tf.einsum("npi,npj->nij", x, x), (2, 5, 3)),
    ],
)
def test_they_are_the_operations(ours, plain, shape):
    generator = np.random.default_rng(0)
    x, direction = (tf.constant(generator.normal(size=shape)) for _ in range(2))
    for mine, theirs in zip(_both(ours, x, direction), _both(plain, x, direction), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-12)


def test_of_equal_values_one_is_chosen_as_tensorflow_does():
    x = tf.zeros((1, 2, 2, 1), tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = derivatives.max_pool(x, (2, 2))
    np.testing.assert_array_equal(tf.reshape(tape.gradient(outputs, x), -1), [1, 0, 0, 0])

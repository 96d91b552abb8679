"""Distances: both ways give the same errors, and the same first and second derivatives."""

import numpy as np
import pytest
import tensorflow as tf

from tlkeras.l2t import distances

GENERATOR = np.random.default_rng(0)


def made(*shape, dtype="float64"):
    return tf.constant(GENERATOR.normal(size=shape), dtype)


def looks(function, values, directions):
    """Return the errors, the gradients of a curved loss, and what their product with `directions` is worth for each."""
    with tf.GradientTape() as outer:
        outer.watch(values)
        with tf.GradientTape() as inner:
            inner.watch(values)
            errors = function(*values)
            loss = tf.reduce_sum(tf.sin(errors))
        gradients = inner.gradient(loss, values)
    return [errors, *gradients, *outer.gradient(gradients, values, directions)]


def test_both_ways_are_the_mean_squared_distance():
    values, goal = [made(2, 6, 3), made(3, 4), made(4)], made(2, 6, 4)
    directions = [made(*value.shape) for value in values]
    plain = looks(
        lambda x, kernel, bias: tf.reduce_mean((x @ kernel + bias - goal) ** 2, 1, keepdims=True), values, directions
    )
    places = looks(lambda *v: distances.by_places(*v, distances.Goal(goal), None), values, directions)
    products = looks(lambda *v: distances.by_products(*v, distances.with_products(goal)), values, directions)
    assert plain[0].shape == (2, 1, 4)
    for wanted, first, second in zip(plain, places, products, strict=True):
        np.testing.assert_allclose(first, wanted, rtol=1e-10, atol=1e-10)
        np.testing.assert_allclose(second, wanted, rtol=1e-10, atol=1e-10)


def test_regions_weigh_the_places():
    values, goal, regions = [made(2, 6, 3), made(3, 4), made(4)], made(2, 6, 4), made(5, 6)
    found = distances.by_places(*values, distances.Goal(goal), regions)
    squares = (values[0] @ values[1] + values[2] - goal) ** 2
    np.testing.assert_allclose(found, tf.einsum("rp,npc->nrc", regions, squares), rtol=1e-12)


def test_in_single_precision_products_lose_little_where_the_goal_is_nearly_met():
    x, kernel, bias = made(2, 1024, 8), made(8, 16), made(16)
    goal = x @ kernel + bias + 0.1 * made(2, 1024, 16)
    exact = distances.by_places(x, kernel, bias, distances.Goal(goal), None)
    single = [tf.cast(value, tf.float32) for value in (x, kernel, bias, goal)]
    found = distances.by_products(*single[:3], distances.with_products(single[3]))
    assert float(exact[0, 0, 0]) == pytest.approx(0.01, rel=0.2)
    np.testing.assert_allclose(found, exact, rtol=1e-2)

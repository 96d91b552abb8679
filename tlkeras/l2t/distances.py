"""Mean squared distances of mapped features from goals, in whichever way passes over less memory."""

from typing import NamedTuple

import tensorflow as tf

from tlkeras.l2t import derivatives


class Goal(NamedTuple):
    """What a group of pairs is matched with, and what is constant about it."""

    maps: tf.Tensor  # (batch, places, channels); for `by_products` one channel more, of ones
    sums: tf.Tensor | None = None  # over the places, (batch, channels)
    squares: tf.Tensor | None = None  # their sums


def with_products(maps: tf.Tensor) -> Goal:
    """Return what `by_products` needs of maps `(batch, places, channels)`."""
    ones = tf.ones_like(maps[..., :1])
    return Goal(tf.concat([maps, ones], -1), tf.reduce_sum(maps, 1), tf.reduce_sum(tf.square(maps), 1))


def by_places(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, goal: Goal, regions: tf.Tensor | None) -> tf.Tensor:
    """Return the mean over places of `(x @ kernel + bias - goal)**2`: map, subtract, square.

    Args:
        x: `(batch, places, inputs)`.
        kernel: `(inputs, channels)`.
        bias: `(channels,)`.
        goal: with `channels` channels.
        regions: `(regions, places)`, weights of the places in the mean of each region; None is one mean of all.

    Returns:
        `(batch, regions, channels)`.
    """
    places, channels = x.shape[1], kernel.shape[1]
    outputs = tf.reshape(x, (-1, x.shape[-1])) @ kernel + bias
    rest = tf.reshape(outputs - tf.reshape(goal.maps, (-1, channels)), (-1, places, channels))
    return derivatives.mean_square(rest) if regions is None else derivatives.weighted_squares(rest, regions)


def by_products(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, goal: Goal) -> tf.Tensor:
    """Return the same for one mean of all, from the products of channels summed over the places: no mapped features.

    With k a column of the kernel, b its bias and g its goal, the sum over places of (x k + b - g)^2 is
    k' (x'x) k - 2 k' (x'g) + 2 b k' (x'1) - 2 b g'1 + g'g + places b^2. Pays where inputs are fewer than channels.
    """
    places, inputs = x.shape[1], x.shape[-1]
    products = tf.reshape(derivatives.gram(x), (-1, inputs)) @ kernel
    crossed, total = tf.split(tf.matmul(x, goal.maps, transpose_a=True), [-1, 1], axis=-1)
    inner = tf.reshape(products, tf.shape(crossed)) - 2 * crossed + 2 * bias * total
    rest = goal.squares - 2 * bias * goal.sums
    return ((tf.reduce_sum(kernel * inner, 1) + rest) / places + tf.square(bias))[:, None]

"""Both derivatives of batch normalisation, written out for TensorFlow in few passes over memory.

Its fused kernel computes them in float32; `BatchNormalization` says why Keras' own layer does not do.
"""

from typing import NamedTuple

import tensorflow as tf

_FUSED = (tf.float32,)  # what TensorFlow's fused kernel computes with


def normalised(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Normalise by the batch's own statistics; first and second derivative in few passes over memory.

    Args:
        inputs: `(batch, ..., channels)`, float32 or float64.
        gamma: `(channels,)`.
        beta: `(channels,)`.
        epsilon: added to the variance.

    Returns:
        Outputs of the inputs' shape; mean and biased variance of the batch, `(channels,)`, constants to a gradient.
    """

    @tf.custom_gradient
    def forward(x, gamma, beta):
        outputs, batch = _forward(x, gamma, beta, epsilon)

        def backward(upstream, *_):
            return _first_derivative(x, gamma, upstream, batch.constant())

        return (outputs, batch.mean, batch.variance), backward

    return forward(inputs, gamma, beta)


class _Batch(NamedTuple):
    """Statistics of a batch, `(channels,)`; `saved` is what the fused kernel hands to its derivative."""

    mean: tf.Tensor
    variance: tf.Tensor
    inverse: tf.Tensor  # 1 / sqrt(variance + epsilon)
    count: tf.Tensor
    epsilon: float
    saved: tuple[tf.Tensor, ...]

    def constant(self) -> "_Batch":
        """Return the same values cut off from what made them, which TensorFlow would walk through at each tracing."""
        cut = tf.stop_gradient
        return _Batch(
            mean=cut(self.mean),
            variance=cut(self.variance),
            inverse=cut(self.inverse),
            count=cut(self.count),
            epsilon=self.epsilon,
            saved=tuple(cut(value) for value in self.saved),
        )


def _forward(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple[tf.Tensor, _Batch]:
    count = tf.cast(tf.size(x) / x.shape[-1], x.dtype)
    if x.dtype in _FUSED:
        fused = tf.raw_ops.FusedBatchNormV3(
            x=_images(x), scale=gamma, offset=beta, mean=[], variance=[], epsilon=epsilon, is_training=True
        )
        saved = (fused.reserve_space_1, fused.reserve_space_2, fused.reserve_space_3)
        variance = fused.batch_variance * (count - 1) / count  # the kernel's is unbiased
        batch = _Batch(fused.batch_mean, variance, tf.math.rsqrt(variance + epsilon), count, epsilon, saved)
        return tf.reshape(fused.y, tf.shape(x)), batch
    axes = list(range(x.shape.rank - 1))
    mean = tf.reduce_mean(x, axes)
    variance = tf.reduce_mean(tf.square(x - mean), axes)
    batch = _Batch(mean, variance, 1 / tf.sqrt(variance + epsilon), count, epsilon, ())
    return (x - mean) * (gamma * batch.inverse) + beta, batch


def _first_derivative(x: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, batch: _Batch) -> tuple[tf.Tensor, ...]:
    """Return the derivatives for x, gamma and beta; their own derivative is `_second_derivative`."""

    @tf.custom_gradient
    def derivative(x, gamma, upstream):
        results = _pull_back(x, gamma, upstream, batch)

        def backward(*cotangents):
            return _second_derivative(x, gamma, upstream, batch, results, cotangents)

        return results, backward

    return derivative(x, gamma, upstream)


def _pull_back(x: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, batch: _Batch) -> tuple[tf.Tensor, ...]:
    """Return `gamma * inverse * P(upstream)`, the sums of `upstream * normalised x`, and of `upstream`.

    P(v) = v - mean(v) - normalised * mean(v * normalised) is what is left of v when the batch's statistics follow.
    """
    if x.dtype in _FUSED:
        keys = ("reserve_space_1", "reserve_space_2", "reserve_space_3")
        found = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=_images(upstream),
            x=_images(x),
            scale=gamma,
            epsilon=batch.epsilon,
            is_training=True,
            **dict(zip(keys, batch.saved, strict=True)),
        )
        return tf.reshape(found.x_backprop, tf.shape(x)), found.scale_backprop, found.offset_backprop
    axes = list(range(x.shape.rank - 1))
    normal = (x - batch.mean) * batch.inverse
    along, total = tf.reduce_sum(upstream * normal, axes), tf.reduce_sum(upstream, axes)
    rest = upstream - total / batch.count - normal * (along / batch.count)
    return gamma * batch.inverse * rest, along, total


def _second_derivative(
    x: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, batch: _Batch, results: tuple, cotangents: tuple
) -> tuple[tf.Tensor, ...]:
    """Return what `cotangents` of the first derivative's three results are worth for x, gamma and upstream.

    With S = sum(c * gamma * inverse * P(g)) = gamma * inverse * count * q, and d(normal) = inverse * P(dx). What is
    worth for x is a sum of x, upstream and P(c), each times a number a channel: few passes over memory.
    """
    c, c_gamma, c_beta = cotangents
    pulled, c_along, c_total = _pull_back(x, gamma, c, batch)
    mean_along, mean_total = results[1] / batch.count, results[2] / batch.count
    of_upstream = c_gamma * batch.inverse - gamma * batch.inverse**2 * c_along / batch.count
    scaled, dot = _scaled_and_dot(upstream, of_upstream, c)
    q = (dot - c_total * mean_total - c_along * mean_along) / batch.count
    of_normal = batch.inverse * c_gamma
    to_upstream = pulled + _affine(x, of_normal, c_beta - batch.mean * of_normal)
    to_gamma = batch.inverse * batch.count * q
    of_x = -batch.inverse * (gamma * batch.inverse**2 * q + of_upstream * mean_along)
    constant = -batch.mean * of_x - mean_total * of_upstream
    of_pulled = -batch.inverse * mean_along
    to_x = tf.add_n([_affine(x, of_x, constant), scaled, _affine(pulled, of_pulled, tf.zeros_like(of_pulled))])
    return to_x, to_gamma, to_upstream


def _scaled_and_dot(x: tf.Tensor, factor: tf.Tensor, other: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return `x * factor` and the sums of `x * other`, by channel: what one fused kernel computes in inference."""
    if x.dtype not in _FUSED:
        return x * factor, tf.reduce_sum(x * other, list(range(x.shape.rank - 1)))
    zeros, ones = tf.zeros_like(factor), tf.ones_like(factor)
    found = tf.raw_ops.FusedBatchNormGradV3(
        y_backprop=_images(x),
        x=_images(other),
        scale=factor,
        reserve_space_1=zeros,
        reserve_space_2=ones,
        reserve_space_3=zeros,
        epsilon=0.0,
        is_training=False,
    )
    return tf.reshape(found.x_backprop, tf.shape(x)), found.scale_backprop


def _affine(x: tf.Tensor, factor: tf.Tensor, constant: tf.Tensor) -> tf.Tensor:
    """Return `x * factor + constant`, numbers a channel; in one pass where a fused kernel does it."""
    if x.dtype not in _FUSED:
        return x * factor + constant
    fused = tf.raw_ops.FusedBatchNormV3(
        x=_images(x),
        scale=factor,
        offset=constant,
        mean=tf.zeros_like(factor),
        variance=tf.ones_like(factor),
        epsilon=0.0,
        is_training=False,
    )
    return tf.reshape(fused.y, tf.shape(x))


def _images(x: tf.Tensor) -> tf.Tensor:
    """Return x with four axes, which the fused kernel wants."""
    return x if x.shape.rank == 4 else tf.reshape(x, (-1, 1, 1, x.shape[-1]))

"""Operations whose second derivative is written out: what TensorFlow would compute is zeros, or passes over memory.

Each is piecewise linear, or squares; so the derivative of the derivative for the inputs is zero, or a product.
"""

import tensorflow as tf


@tf.custom_gradient
def relu(x: tf.Tensor) -> tf.Tensor:
    """Return `tf.nn.relu(x)`; its second derivative is zero, and is not computed."""
    outputs = tf.nn.relu(x)

    def backward(upstream):
        return tf.raw_ops.ReluGrad(gradients=upstream, features=tf.stop_gradient(outputs))

    return outputs, backward


def max_pool(x: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Return the largest value of each window; windows lie side by side, and what is left over at the edge is cut off.

    The second derivative is a selection. TensorFlow's own kernel of it, MaxPoolGradGrad, has one thread.

    Args:
        x: `(batch, height, width, channels)`.
        size: height and width of a window.
    """
    windows = {"ksize": [1, *size, 1], "strides": [1, *size, 1], "padding": "VALID"}

    @tf.custom_gradient
    def pool(x):
        outputs = tf.raw_ops.MaxPool(input=x, **windows)
        # Cut off from what made them, which TensorFlow would walk through at each tracing.
        given, largest = tf.stop_gradient(x), tf.stop_gradient(outputs)

        def spread(values):
            return tf.raw_ops.MaxPoolGrad(orig_input=given, orig_output=largest, grad=values, **windows)

        @tf.custom_gradient
        def backward(upstream):
            def select(direction):
                chosen = spread(tf.ones_like(outputs))
                return size[0] * size[1] * tf.nn.avg_pool2d(chosen * direction, size, size, "VALID")

            return spread(upstream), select

        return outputs, backward

    return pool(x)


@tf.custom_gradient
def mean_square(x: tf.Tensor) -> tf.Tensor:
    """Return the mean over the middle axis of the squares, `(n, places, channels)` to `(n, 1, channels)`."""

    def backward(upstream):
        return (2 / x.shape[1] * upstream) * x

    return tf.reduce_mean(tf.square(x), axis=1, keepdims=True), backward


def weighted_squares(x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return weighted sums over the middle axis of the squares.

    Args:
        x: `(n, places, channels)`.
        weights: `(sums, places)`, constant.

    Returns:
        `(n, sums, channels)`.
    """

    @tf.custom_gradient
    def squares(x):
        def backward(upstream):
            return tf.matmul(2 * weights, upstream, transpose_a=True) * x

        return tf.matmul(weights, tf.square(x)), backward

    return squares(x)


@tf.custom_gradient
def gram(x: tf.Tensor) -> tf.Tensor:
    """Return `x' x` of each matrix, `(n, places, channels)` to `(n, channels, channels)`; one product a derivative."""

    def backward(upstream):
        return x @ (upstream + tf.linalg.matrix_transpose(upstream))

    return tf.matmul(x, x, transpose_a=True), backward

"""Batch normalisation whose second derivative is right, which on TensorFlow Keras' own is not.

`tf.nn.moments`, and with it `keras.ops.moments` and `keras.layers.BatchNormalization`, stops the gradient at the mean
inside the variance. The first derivative survives that, the second does not: a meta-gradient through Keras' layer
is off by 2 to 70 % on the networks of report 003. On TensorFlow both derivatives are written out, in
`normalization_derivatives`; the other backends find them by themselves.
"""

from typing import Any

import keras
from keras import ops

PYTORCH = {"epsilon": 1e-5, "momentum": 0.9}  # its defaults, for networks that were trained there


@keras.saving.register_keras_serializable(package="tlkeras")
class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer with the right second derivative, and an unbiased moving variance as in PyTorch.

    Arguments, weights and inference are Keras'; the channels are the last axis. Neither masks nor `renorm` are known.
    The file of a model that holds this layer opens only where tlkeras is imported; that of `models.portable(model)`
    opens anywhere.

    Reference: Ioffe and Szegedy 2015, arXiv:1502.03167, algorithms 1 and 2.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalise `(batch, ..., channels)` by the batch's statistics in training, else by the moving ones."""
        if not (training and self.trainable):
            return super().call(inputs, training=False, mask=mask)
        return train_call(self, inputs, unbiased=True)


def train_call(layer: keras.layers.BatchNormalization, inputs: Any, *, unbiased: bool) -> Any:
    """Do what a Keras layer does in training, moving statistics included, but differentiable twice.

    Args:
        layer: a built layer of any subclass, channels last.
        inputs: `(batch, ..., channels)`; half precision is computed in float32, as Keras does.
        unbiased: whether the moving variance takes n / (n - 1) times the batch's, as PyTorch's does, of n >= 2.

    Returns:
        A tensor of the shape and dtype of `inputs`.
    """
    dtype, channels = keras.backend.result_type(inputs.dtype, "float32"), inputs.shape[-1]
    gamma = ops.cast(layer.gamma, dtype) if layer.scale else ops.ones(channels, dtype)
    beta = ops.cast(layer.beta, dtype) if layer.center else ops.zeros(channels, dtype)
    outputs, mean, variance = normalised(ops.cast(inputs, dtype), gamma, beta, layer.epsilon)
    if unbiased:
        count = ops.cast(ops.size(inputs) / channels, dtype)
        variance = variance * count / ops.maximum(count - 1, 1)  # of one value it is 0, like the biased one
    for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        batch = ops.cast(ops.stop_gradient(batch), moving.dtype)
        moving.assign(moving * layer.momentum + batch * (1 - layer.momentum))
    return ops.cast(outputs, inputs.dtype)


def normalised(inputs: Any, gamma: Any, beta: Any, epsilon: float) -> tuple[Any, Any, Any]:
    """Normalise by the batch's own statistics.

    Args:
        inputs: `(batch, ..., channels)`, float32 or float64.
        gamma: `(channels,)`.
        beta: `(channels,)`.
        epsilon: added to the variance.

    Returns:
        Outputs of the inputs' shape; mean and biased variance of the batch, `(channels,)`.
    """
    if keras.backend.backend() == "tensorflow":
        from tlkeras.models import normalization_derivatives  # late: other backends have no TensorFlow

        return normalization_derivatives.normalised(inputs, gamma, beta, epsilon)
    axes = list(range(len(inputs.shape) - 1))
    mean = ops.mean(inputs, axes)
    variance = ops.mean(ops.square(inputs - mean), axes)
    return (inputs - mean) / ops.sqrt(variance + epsilon) * gamma + beta, mean, variance

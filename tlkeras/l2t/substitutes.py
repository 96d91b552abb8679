"""Layers computed in another way, on the same variables: twice differentiable, and in fewer passes over memory."""

import keras
import tensorflow as tf

from tlkeras.l2t import derivatives, winograd
from tlkeras.models import batch_normalization


class _Substitute(keras.layers.Layer):
    """A layer in place of another, whose variables and name it has."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer


class _Normalization(_Substitute):
    """Keras' batch normalisation with the right second derivative."""

    def call(self, inputs, training=None, mask=None):
        if not (training and self.layer.trainable):
            return self.layer(inputs, training=False, mask=mask)
        return batch_normalization.train_call(self.layer, inputs, unbiased=False)


class _Convolution(_Substitute):
    """A convolution in fewer multiplications where its maps are small, its bias added by a plain addition.

    oneDNN's rewriting merges the derivative of `tf.nn.bias_add`, which Keras adds with, into a derivative of the
    convolution for the kernel. With second derivatives it takes the wrong one: "nodes in a cycle" (TensorFlow 2.21).
    Where the outputs are `centred`, no loss depends on the bias, and its gradient, which is zero, is not computed.
    """

    def __init__(self, layer: keras.layers.Conv2D, centred: bool) -> None:
        super().__init__(layer)
        self.centred = centred

    def call(self, inputs):
        if winograd.suits(self.layer, inputs.shape):
            outputs = winograd.convolve(inputs, tf.cast(self.layer.kernel, inputs.dtype))
        else:
            outputs = self.layer.convolution_op(inputs, self.layer.kernel)
        if self.layer.use_bias:
            bias = tf.cast(self.layer.bias, outputs.dtype)
            outputs = tf.add(outputs, tf.stop_gradient(bias) if self.centred else bias)
        return self.layer.activation(outputs) if self.layer.activation else outputs


class _Activation(_Substitute):
    """A rectifier without a second derivative."""

    def call(self, inputs):
        return derivatives.relu(inputs)


class _Pooling(_Substitute):
    """The largest value of windows side by side, with a fast second derivative."""

    def call(self, inputs):
        return derivatives.max_pool(inputs, self.layer.pool_size)


def substitute(layer: keras.Layer, centred: bool = False) -> keras.Layer:
    """Return what computes `layer` inside the training, mostly the layer itself.

    Args:
        layer: of the user's model.
        centred: whether batch normalisation in training is all that sees its outputs.
    """
    foreign = not isinstance(layer, batch_normalization.BatchNormalization)
    if isinstance(layer, keras.layers.BatchNormalization) and foreign:
        return _Normalization(layer)
    if _is_plain_relu(layer):
        return _Activation(layer)
    if _pools_side_by_side(layer):
        return _Pooling(layer)
    if type(layer) is keras.layers.Conv2D and layer.data_format == "channels_last":
        return _Convolution(layer, centred)
    return layer


def _is_plain_relu(layer: keras.layers.Layer) -> bool:
    if type(layer) is keras.layers.Activation:
        return layer.activation is keras.activations.relu
    changed = ("max_value", "negative_slope", "threshold")
    return type(layer) is keras.layers.ReLU and not any(getattr(layer, name) for name in changed)


def _pools_side_by_side(layer: keras.layers.Layer) -> bool:
    same = type(layer) is keras.layers.MaxPooling2D and tuple(layer.strides) == tuple(layer.pool_size)
    return same and layer.padding == "valid" and layer.data_format == "channels_last"

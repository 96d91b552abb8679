"""Layers computed in another way, on the same variables: twice differentiable, and in fewer passes over memory."""

import keras
import tensorflow as tf

from tlkeras.l2t import winograd
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
    """

    def call(self, inputs):
        if winograd.suits(self.layer, inputs.shape):
            outputs = winograd.convolve(inputs, tf.cast(self.layer.kernel, inputs.dtype))
        else:
            outputs = self.layer.convolution_op(inputs, self.layer.kernel)
        if self.layer.use_bias:
            outputs = tf.add(outputs, tf.cast(self.layer.bias, outputs.dtype))
        return self.layer.activation(outputs) if self.layer.activation else outputs


def substitute(layer: keras.Layer) -> keras.Layer:
    """Return what computes `layer` inside the training, mostly the layer itself."""
    foreign = not isinstance(layer, batch_normalization.BatchNormalization)
    if isinstance(layer, keras.layers.BatchNormalization) and foreign:
        return _Normalization(layer)
    if type(layer) is keras.layers.Conv2D and layer.data_format == "channels_last":
        return _Convolution(layer)
    return layer

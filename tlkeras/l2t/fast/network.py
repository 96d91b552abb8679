"""The target in fewer passes over memory: other layers on the same variables."""

import keras
import tensorflow as tf

from tlkeras.l2t.fast import derivatives, winograd
from tlkeras.l2t.network import Convolution, Network, Normalization, Substitute, is_plain_convolution
from tlkeras.models import batch_normalization


class FastNetwork(Network):
    """A network whose layers are computed in whatever way is fast on a CPU."""

    def substitute(self, layer: keras.Layer, centred: bool) -> keras.Layer:
        """Return what computes `layer` inside the training, see `Network.substitute`."""
        if isinstance(layer, keras.layers.BatchNormalization):
            return _FastNormalization(layer)
        if _is_plain_relu(layer):
            return _Rectifier(layer)
        if _pools_side_by_side(layer):
            return _Pooling(layer)
        if is_plain_convolution(layer):
            return _FastConvolution(layer, centred)
        return super().substitute(layer, centred)


class _FastNormalization(Normalization):
    """Batch normalisation by fused kernels, its second derivative written out."""

    def normalised(self, inputs: tf.Tensor) -> tf.Tensor:
        unbiased = isinstance(self.layer, batch_normalization.BatchNormalization)
        return batch_normalization.train_call(self.layer, inputs, unbiased=unbiased)


class _FastConvolution(Convolution):
    """A convolution in fewer multiplications where its maps are small."""

    def convolved(self, inputs: tf.Tensor) -> tf.Tensor:
        if winograd.suits(self.layer, inputs.shape):
            return winograd.convolve(inputs, tf.cast(self.layer.kernel, inputs.dtype))
        return super().convolved(inputs)


class _Rectifier(Substitute):
    """A rectifier without a second derivative."""

    def call(self, inputs):
        return derivatives.relu(inputs)


class _Pooling(Substitute):
    """The largest value of windows side by side, with a fast second derivative."""

    def call(self, inputs):
        return derivatives.max_pool(inputs, self.layer.pool_size)


def _is_plain_relu(layer: keras.Layer) -> bool:
    if type(layer) is keras.layers.Activation:
        return layer.activation is keras.activations.relu
    changed = ("max_value", "negative_slope", "threshold")
    return type(layer) is keras.layers.ReLU and not any(getattr(layer, name) for name in changed)


def _pools_side_by_side(layer: keras.Layer) -> bool:
    same = type(layer) is keras.layers.MaxPooling2D and tuple(layer.strides) == tuple(layer.pool_size)
    return same and layer.padding == "valid" and layer.data_format == "channels_last"

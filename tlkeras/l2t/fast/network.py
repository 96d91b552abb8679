"""Networks in fewer passes over memory: the target, other layers on the same variables; and a frozen one, folded.

Folded is what a frozen network's batch normalisation becomes: part of its convolutions, with the same values.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tlkeras import graph
from tlkeras.l2t.fast import derivatives, winograd
from tlkeras.l2t.network import Convolution, Network, Normalization, Substitute, is_plain_convolution
from tlkeras.models import batch_normalization
from tlkeras.models.batch_normalization import BatchNormalization

_NORMALIZATIONS = (keras.layers.BatchNormalization, BatchNormalization)


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
        unbiased = isinstance(self.layer, BatchNormalization)
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


class _Folded(keras.layers.Layer):
    """A convolution and the batch normalisation after it, in inference: one convolution, on their variables."""

    def __init__(self, convolution: keras.layers.Conv2D, normalization: keras.layers.BatchNormalization) -> None:
        super().__init__(name=normalization.name, dtype=convolution.dtype_policy)
        self.convolution, self.normalization = convolution, normalization

    def call(self, inputs):
        layer = self.normalization
        scale = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
        scale = scale * layer.gamma if layer.scale else scale
        mean = layer.moving_mean - self.convolution.bias if self.convolution.use_bias else layer.moving_mean
        offset = (layer.beta if layer.center else 0.0) - mean * scale
        outputs = self.convolution.convolution_op(inputs, tf.cast(self.convolution.kernel * scale, inputs.dtype))
        return tf.nn.bias_add(outputs, tf.cast(offset, inputs.dtype))


def folded(model: keras.Model, features: Sequence[str]) -> keras.Model:
    """Return what computes the outputs of layers of a model in inference, on the model's own variables.

    Args:
        model: functional model.
        features: names of layers.
    """
    model = graph.functional(model)
    made: dict[str, keras.KerasTensor] = {}
    convolutions = _foldable(model, features)

    def call(layer: keras.Layer, *arguments, **options) -> keras.KerasTensor:
        if layer in convolutions.values():  # left to the normalisation after it
            return arguments[0]
        if layer.name in convolutions:
            layer, options = _Folded(convolutions[layer.name], layer), {}
        made[layer.name] = layer(*arguments, **options)
        return made[layer.name]

    twin = keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)
    return keras.Model(twin.input, [made[name] for name in features])


def _foldable(model: keras.Model, features: Sequence[str]) -> dict[str, keras.layers.Conv2D]:
    """Return the convolution before each batch normalisation, by its name, where nothing else sees the convolution."""
    found = {}
    calls, users = graph.calls(model), graph.users(model)
    for layer in calls:
        linear = type(layer) is keras.layers.Conv2D and layer.activation is keras.activations.linear
        if linear and layer.data_format == "channels_last" and layer.name not in features and len(calls[layer]) == 1:
            after = users.get(layer.name, [])
            if len(after) == 1 and len(calls[after[0].operation]) == 1 and _normalises(after[0]):
                found[after[0].operation.name] = layer
    return found


def _normalises(call: graph.Call) -> bool:
    """Whether a call is batch normalisation over the last axis, by the moving statistics in inference."""
    layer = call.operation
    always_by_batch = call.options.get("training") is True
    last_axis = len(call.inputs[0].shape) - 1
    return type(layer) in _NORMALIZATIONS and layer.axis in (-1, last_axis) and not always_by_batch

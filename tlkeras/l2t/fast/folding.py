"""A frozen network whose batch normalisation is part of its convolutions: fewer passes over memory, the same values."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tlkeras import graph
from tlkeras.models.batch_normalization import BatchNormalization

_NORMALIZATIONS = (keras.layers.BatchNormalization, BatchNormalization)


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

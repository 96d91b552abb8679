"""A Keras model as a pure function of its weights, differentiable twice.

Two things are needed for the second derivative to be right, and are here. Keras' batch normalisation stops a gradient
inside the variance on TensorFlow, so that its second derivative is wrong by 2 to 70 %. And where batch normalisation
takes the mean of a convolution away, the convolution's bias changes nothing: its gradient is zero, and is not left to
rounding errors.
"""

from collections.abc import Sequence

import keras
from keras import ops, tree

from tlkeras import graph
from tlkeras.l2t.state import Tensor, Tensors
from tlkeras.models.batch_normalization import BatchNormalization


class Network:
    """A functional model that runs on tensors in place of its variables, which it shares with the user's model.

    Args:
        model: flat functional model with one input and one output.
        features: layers whose outputs are returned beside the model's.

    `trainable` and `state` are the variables, in the order in which `__call__` takes their values.

    Raises:
        ValueError: when it is called, where batch normalisation is trained over another axis than the last.
    """

    def __init__(self, model: keras.Model, features: Sequence[str]) -> None:
        made: dict[str, keras.KerasTensor] = {}
        twice = self._differentiable_twice(model, made, features)
        self._extractor = keras.Model(twice.input, [*(made[name] for name in features), twice.output])
        self.input_shape = tuple(twice.input_shape)
        self.trainable = list(self._extractor.trainable_variables)
        self.state = list(self._extractor.non_trainable_variables)

    def __call__(self, weights: Tensors, state: Tensors, images: Tensor) -> tuple[Tensors, Tensor, Tensors]:
        """Run in training mode; return the features, the model's output, and the new state."""
        outputs, state = self._extractor.stateless_call(weights, state, images, training=True)
        *features, output = tree.flatten(outputs)
        return features, output, state

    def outputs(self, weights: Tensors, state: Tensors, images: Tensor) -> Tensor:
        """Run in inference mode; return the model's output."""
        return tree.flatten(self._extractor.stateless_call(weights, state, images, training=False)[0])[-1]

    def _differentiable_twice(
        self, model: keras.Model, made: dict[str, keras.KerasTensor], features: Sequence[str] = ()
    ) -> keras.Model:
        """Return a model on the same variables, of layers that can be differentiated twice.

        Args:
            model: flat functional model.
            made: is filled with the output of each layer in the new model.
            features: layers whose outputs are used beside the model's.
        """
        model = graph.functional(model)
        centred = _centred(model) - set(features)

        def call(layer: keras.Layer, *arguments, **options) -> keras.KerasTensor:
            nested = isinstance(layer, keras.Model)
            twice = self._differentiable_twice(layer, {}) if nested else self.substitute(layer, layer.name in centred)
            made[layer.name] = twice(*arguments, **options)
            return made[layer.name]

        return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)

    def substitute(self, layer: keras.Layer, centred: bool) -> keras.Layer:
        """Return what computes `layer` inside the training, mostly the layer itself.

        Args:
            layer: of the user's model.
            centred: whether batch normalisation in training is all that sees its outputs.
        """
        if isinstance(layer, keras.layers.BatchNormalization):
            return Normalization(layer)
        if is_plain_convolution(layer):
            return Convolution(layer, centred)
        return layer


class Substitute(keras.layers.Layer):
    """A layer in place of another, whose variables and name it has."""

    def __init__(self, layer: keras.Layer) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy)
        self.layer = layer


class Normalization(Substitute):
    """Batch normalisation with the right second derivative, by whichever of the two layers."""

    def call(self, inputs, training=None, mask=None):
        """Normalise by the batch in training, by the moving statistics otherwise."""
        if not (training and self.layer.trainable):
            return self.layer(inputs, training=False, mask=mask)
        if self.layer.axis not in (-1, len(inputs.shape) - 1):
            raise ValueError(
                f"Expected batch normalisation over the last axis. Received: {self.layer.name!r} with {self.layer.axis}"
            )
        return self.normalised(inputs)

    def normalised(self, inputs: Tensor) -> Tensor:
        """Normalise by the batch, and update the moving statistics."""
        layer, axes = self.layer, list(range(len(inputs.shape) - 1))
        mean = ops.mean(inputs, axes)
        variance = ops.mean(ops.square(inputs - mean), axes)  # not tf.nn.moments: it stops the mean's gradient
        outputs = (inputs - mean) / ops.sqrt(variance + layer.epsilon)
        outputs = outputs * ops.cast(layer.gamma, inputs.dtype) if layer.scale else outputs
        outputs = outputs + ops.cast(layer.beta, inputs.dtype) if layer.center else outputs
        if isinstance(layer, BatchNormalization):  # whose moving variance is the unbiased one
            count = ops.cast(ops.size(inputs) / inputs.shape[-1], inputs.dtype)
            variance = variance * count / (count - 1)
        for moving, batch in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + ops.stop_gradient(batch) * (1 - layer.momentum))
        return outputs


class Convolution(Substitute):
    """A convolution whose bias is added by a plain addition.

    oneDNN's rewriting merges the derivative of `tf.nn.bias_add`, which Keras adds with, into a derivative of the
    convolution for the kernel. With second derivatives it takes the wrong one: "nodes in a cycle" (TensorFlow 2.21).
    Where the outputs are `centred` and the layer has no activation, no loss depends on the bias, and its gradient,
    which is zero, is not computed.
    """

    def __init__(self, layer: keras.layers.Conv2D, centred: bool) -> None:
        super().__init__(layer)
        self.constant_bias = centred and layer.activation is keras.activations.linear

    def call(self, inputs):
        """Convolve, add the bias, activate."""
        outputs = self.convolved(inputs)
        if self.layer.use_bias:
            bias = ops.cast(self.layer.bias, outputs.dtype)
            # Not keras.ops.add, which on TensorFlow becomes tf.nn.bias_add.
            outputs = outputs + (ops.stop_gradient(bias) if self.constant_bias else bias)
        return self.layer.activation(outputs) if self.layer.activation else outputs

    def convolved(self, inputs: Tensor) -> Tensor:
        """Convolve."""
        return self.layer.convolution_op(inputs, self.layer.kernel)


def is_plain_convolution(layer: keras.Layer) -> bool:
    """Whether a layer is Keras' own two-dimensional convolution, channels last."""
    return type(layer) is keras.layers.Conv2D and layer.data_format == "channels_last"


def _centred(model: keras.Model) -> set[str]:
    """Return the operations whose outputs nothing sees but batch normalisation, which takes their mean away."""
    last = {graph.producer(output).name for output in model.outputs}
    return {name for name, calls in graph.users(model).items() if name not in last and all(map(_centres, calls))}


def _centres(call: graph.Call) -> bool:
    """Whether a call is batch normalisation over the last axis, by the batch's own statistics."""
    layer = call.operation
    normalises = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    by_batch = call.options.get("training") is not False
    return normalises and by_batch and layer.axis in (-1, len(call.inputs[0].shape) - 1)

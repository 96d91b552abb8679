"""A Keras model as a pure function of its weights, differentiable twice."""

from collections.abc import Sequence

import keras
import tensorflow as tf

from tlkeras.l2t.substitutes import substitute

Tensors = list[tf.Tensor]


class Network:
    """A functional model that runs on tensors in place of its variables, which it shares with the user's model.

    Args:
        model: flat functional model with one input and one output.
        features: layers whose outputs are returned beside the model's.

    `trainable` and `state` are the variables, in the order in which `__call__` takes their values.
    """

    def __init__(self, model: keras.Model, features: Sequence[str]) -> None:
        made: dict[str, keras.KerasTensor] = {}
        twice = differentiable_twice(model, made)
        self._extractor = keras.Model(twice.input, [*(made[name] for name in features), twice.output])
        self.input_shape = tuple(twice.input_shape)
        self.trainable = list(self._extractor.trainable_variables)
        self.state = list(self._extractor.non_trainable_variables)

    def __call__(self, weights: Tensors, state: Tensors, images: tf.Tensor) -> tuple[Tensors, tf.Tensor, Tensors]:
        """Run in training mode; return the features, the model's output, and the new state."""
        outputs, state = self._extractor.stateless_call(weights, state, images, training=True)
        *features, output = tf.nest.flatten(outputs)
        return features, output, state


def differentiable_twice(model: keras.Model, made: dict[str, keras.KerasTensor]) -> keras.Model:
    """Return a model on the same variables, of layers that can be differentiated twice.

    Args:
        model: flat functional model.
        made: is filled with the output of each layer in the new model.
    """

    def call(layer: keras.Layer, *arguments, **options) -> keras.KerasTensor:
        nested = isinstance(layer, keras.Model)
        twice = differentiable_twice(layer, {}) if nested else substitute(layer)
        made[layer.name] = twice(*arguments, **options)
        return made[layer.name]

    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)

"""A Keras model as a pure function of its weights, differentiable twice."""

from collections import defaultdict
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
        twice = differentiable_twice(model, made, features)
        self._extractor = keras.Model(twice.input, [*(made[name] for name in features), twice.output])
        self.input_shape = tuple(twice.input_shape)
        self.trainable = list(self._extractor.trainable_variables)
        self.state = list(self._extractor.non_trainable_variables)

    def __call__(self, weights: Tensors, state: Tensors, images: tf.Tensor) -> tuple[Tensors, tf.Tensor, Tensors]:
        """Run in training mode; return the features, the model's output, and the new state."""
        outputs, state = self._extractor.stateless_call(weights, state, images, training=True)
        *features, output = tf.nest.flatten(outputs)
        return features, output, state


def differentiable_twice(
    model: keras.Model, made: dict[str, keras.KerasTensor], features: Sequence[str] = ()
) -> keras.Model:
    """Return a model on the same variables, of layers that can be differentiated twice.

    Args:
        model: flat functional model.
        made: is filled with the output of each layer in the new model.
        features: layers whose outputs are used beside the model's.
    """
    model = functional(model)
    centred = _centred(model) - set(features)

    def call(layer: keras.Layer, *arguments, **options) -> keras.KerasTensor:
        nested = isinstance(layer, keras.Model)
        twice = differentiable_twice(layer, {}) if nested else substitute(layer, layer.name in centred)
        made[layer.name] = twice(*arguments, **options)
        return made[layer.name]

    return keras.models.clone_model(model, clone_function=lambda layer: layer, call_function=call)


def functional(model: keras.Model) -> keras.Model:
    """Return the same layers as a functional model, which a `Sequential` is not."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return model


def _centred(model: keras.Model) -> set[str]:
    """Return the layers whose outputs nothing sees but batch normalisation, which takes their mean away."""
    last = {output._keras_history.operation.name for output in model.outputs}
    return {name for name, nodes in users(model).items() if name not in last and all(map(_centres, nodes))}


def users(model: keras.Model) -> dict[str, list]:
    """Return the calls (Keras' nodes) that take the outputs of each layer of a functional model, by its name."""
    found = defaultdict(list)
    for node in [node for nodes in model._nodes_by_depth.values() for node in nodes]:
        for parent in node.parent_nodes:
            found[parent.operation.name].append(node)
    return found


def _centres(node: object) -> bool:
    """Whether a call is batch normalisation over the last axis, by the batch's own statistics."""
    layer = node.operation
    normalises = isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    by_batch = node.arguments.kwargs.get("training") is not False
    return normalises and by_batch and layer.axis in (-1, len(node.input_tensors[0].shape) - 1)

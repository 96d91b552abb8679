"""Find a layer by name, in nested models too, and run a model only as far as that layer."""

import difflib
from collections.abc import Callable, Iterator

import keras
import tensorflow as tf

Chain = tuple[keras.Operation, ...]  # the nested models that lead to a layer, outermost first, and the layer


def activations(model: keras.Model, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function that runs a model in inference mode up to a layer, and nothing after it.

    Args:
        model: functional or Sequential, of one input; models inside it are searched too. It is only read: no layer,
            node or flag of it changes.
        name: of the layer; where a nested model has one of the same name, "nested/name" says which.

    Returns:
        `images (b, height, width, channels) -> activations (b, ...)`, in the layer's own dtype. If the layer ends in a
        ReLU, a channel that is asleep all over an image has the slope of what goes into its ReLU, so that it can wake.

    Raises:
        ValueError: no functional model of one input, an unknown name, or one that several layers have.
    """
    chain = _find(model, name)
    layer, linear = chain[-1], _has_relu(chain[-1])
    stages = [
        # Keras makes no model that starts in one graph and ends in a nested one: one stage for each.
        keras.Model(parent.inputs[0], _call(parent, inner, after=inner is layer and not linear), name="part")
        for parent, inner in zip((model, *chain), chain, strict=False)
    ]
    end = _waking(layer) if linear else lambda answers: answers

    def run(images: tf.Tensor) -> tf.Tensor:
        for stage in stages:
            images = stage(images, training=False)
        return end(images)

    return run


def input_shape(model: keras.Model, size: int | tuple[int, int] | None = None) -> tuple[int, int, int]:
    """Return the shape `(height, width, channels)` of a picture for a model.

    Args:
        model: functional or Sequential, of one input.
        size: side, or (height, width), in pixels, for a model that takes any; None: the model's own.

    Raises:
        ValueError: no functional model of one image input, or a size that is missing or another than the model's.
    """
    _check(model)
    shape = tuple(model.inputs[0].shape[1:])
    if len(shape) != 3 or not shape[2]:
        raise ValueError(f"Expected a model of images (batch, height, width, channels). Received: {(None, *shape)}")
    sides = (size, size) if isinstance(size, int) else tuple(size or shape[:2])
    if len(sides) != 2 or any(not side or own not in (None, side) for side, own in zip(sides, shape, strict=False)):
        raise ValueError(f"Expected a size that fits the model's input {(None, *shape)}. Received: size={size}")
    return (*sides, shape[2])


def _check(model: keras.Model) -> None:
    inputs = getattr(model, "inputs", None)  # a Sequential model that is not built yet has none
    if not isinstance(model, keras.Model) or not inputs or len(inputs) != 1:
        raise ValueError(f"Expected a built functional or Sequential model of one input. Received: {model!r}")


def _chains(model: keras.Model) -> Iterator[Chain]:
    for layer in model.layers:
        yield (layer,)
        if isinstance(layer, keras.Model) and getattr(layer, "inputs", None):
            yield from ((layer, *chain) for chain in _chains(layer))


def _find(model: keras.Model, name: str) -> Chain:
    _check(model)
    chains = {"/".join(layer.name for layer in chain): chain for chain in _chains(model)}
    found = [path for path in chains if path == name or path.endswith(f"/{name}")]
    if len(found) > 1:
        raise ValueError(f"Expected the name of one layer; {found} have this one. Received: layer={name!r}")
    if not found:
        similar = difflib.get_close_matches(str(name), chains, n=4, cutoff=0.4) or list(chains)
        raise ValueError(f"Expected a layer of {model.name}, such as {similar}. Received: layer={name!r}")
    return chains[found[0]]


def _call(parent: keras.Model, layer: keras.Operation, *, after: bool) -> keras.KerasTensor:
    """Return what comes out of a layer inside `parent`, or what goes into it."""
    graph = getattr(parent, "_functional", None) or parent  # what a Sequential model wraps
    # No public way leads from a nested model to where it is called. A shared layer counts where it is called first.
    known = [node for nodes in graph._nodes_by_depth.values() for node in nodes]
    node = next(node for node in layer._inbound_nodes if node in known)
    tensors = node.output_tensors if after else node.input_tensors
    if len(tensors) != 1:
        raise ValueError(f"Expected a layer of one input and one output. Received: layer={layer.name!r}, {tensors}")
    return tensors[0]


def _has_relu(layer: keras.Operation) -> bool:
    if isinstance(layer, keras.layers.ReLU):
        return (layer.max_value, layer.negative_slope, layer.threshold) == (None, 0, 0)
    return getattr(layer, "activation", None) is keras.activations.relu


def _waking(layer: keras.Layer) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function like the layer, with the slope that `activations` promises."""
    if not layer.weights:
        return _waking_relu
    config = {name: "zeros" if name.endswith("_initializer") else value for name, value in layer.get_config().items()}
    twin = type(layer).from_config({**config, "activation": "linear"})  # it borrows the layer's weights
    twin.build(layer.input.shape)

    def run(inputs: tf.Tensor) -> tf.Tensor:
        own = zip(twin.weights, (weight.value for weight in layer.weights), strict=True)
        with keras.StatelessScope(state_mapping=list(own)):
            return _waking_relu(twin(inputs))

    return run


@tf.custom_gradient
def _waking_relu(inputs: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    awake, places = inputs > 0, range(1, len(inputs.shape) - 1)

    def gradient(slope: tf.Tensor) -> tf.Tensor:
        heard = tf.reduce_any(awake & (slope != 0), places, keepdims=True)
        return tf.where(awake | ~heard, slope, 0)

    return tf.nn.relu(inputs), gradient

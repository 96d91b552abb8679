"""Run a classifier up to its logits, nested models included, with an eye on one layer; nothing of it is changed.

Keras can't make a sub-model that ends inside a nested model, so the graph is walked here, operation by operation.
"""

import inspect
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

SQUASHING = ("softmax", "sigmoid")  # where they end a model, the logits are what goes into them
BATCH_BYTES = 2**30  # of activations and their gradients at a time

Watch = Callable[[tf.Tensor], None]


def logits(model: keras.Model, layer: keras.Operation | None = None) -> Callable[..., tuple]:
    """Return a function that runs `model` in inference mode, without the softmax or sigmoid at its end.

    Args:
        model: functional, of any nesting; it is used as it is, and no node is added to its layers.
        layer: one of its operations, at whatever depth.

    Returns:
        `(images (b, h, w, c), watch) -> (logits (b, classes) float32, output of layer)`; `watch` is called with that
        output as soon as it is there, so that a gradient tape can follow it.
    """
    last = _last(model)
    unsquashed = _unsquashed(last)

    def run(images: tf.Tensor, watch: Watch | None = None) -> tuple[tf.Tensor, tf.Tensor | None]:
        seen = []

        def as_called(operation: keras.Operation) -> Callable[..., object]:
            def call(*args, **kwargs) -> object:
                if inner := _graph(operation):
                    outputs = inner._run_through_graph(args[0], as_called)
                elif operation is last:
                    outputs = unsquashed(*args)
                else:
                    outputs = operation(*args, **_inference(operation, kwargs))
                if operation is layer:
                    seen.append(outputs)
                    _ = watch and watch(outputs)
                return outputs

            return call

        outputs = keras.tree.flatten(_graph(model)._run_through_graph(images, as_called))
        return tf.cast(outputs[0], tf.float32), seen[-1] if seen else None

    return run


def find_map(model: keras.Model, name: str | None) -> keras.Operation:
    """Return the operation called `name`, at whatever depth, which must have a spatial map `(batch, h, w, channels)`.

    Where several have the name, "nested/name" says which. None is the last one with a map of more than one pixel,
    poolings left out: block5_conv3 of VGG16, as in the paper.

    Raises:
        ValueError: no such layer, several, or one without a map.
    """
    known = operations(model)
    if name is None:
        found = [op for op in known.values() if _is_map(op) and not _graph(op) and "Pool" not in type(op).__name__]
        if not found:
            raise ValueError(f"Expected a model with a spatial map. Received: {list(known)}")
        return found[-1]
    found = [operation for path, operation in known.items() if f"/{path}".endswith(f"/{name}")]
    if len(found) != 1:
        raise ValueError(f"Expected the name of one layer out of {list(known)}. Received: layer={name!r}")
    if not _is_map(found[0]):
        raise ValueError(
            "Expected a layer with a spatial map (batch, height, width, channels) of more than one pixel. "
            f"Received: layer={name!r}, {found[0].output}"
        )
    return found[0]


def operations(model: keras.Model) -> dict[str, keras.Operation]:
    """Return the operations of a model by path, in the order in which they run; a nested model's come before it."""
    found = {}
    for operation in _graph(model).operations:
        if _graph(operation):
            found |= {f"{operation.name}/{path}": inner for path, inner in operations(operation).items()}
        if not isinstance(operation, keras.layers.InputLayer):
            found[operation.name] = operation
    return found


def batch_size(model: keras.Model, shape: tuple[int, ...]) -> int:
    """Return how many images of `shape` (height, width, channels) go through `model` and back within BATCH_BYTES."""
    outputs = [tensor for operation in operations(model).values() for tensor in keras.tree.flatten(operation.output)]
    values = sum(math.prod(size or max(shape) for size in tensor.shape[1:]) for tensor in outputs)
    return max(1, BATCH_BYTES // (8 * values))  # float32, and as much again for the gradients


def check_images(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the images as float32, after checking them and the model.

    Raises:
        ValueError: other than a functional classifier of one input and one output, no images, another shape, or
            values that are not finite numbers.
    """
    if not isinstance(model, keras.Model) or not _graph(model) or len(model.inputs) != 1 or len(model.outputs) != 1:
        raise ValueError(f"Expected a functional model with one input and one output. Received: {model!r}")
    if len(model.outputs[0].shape) != 2:
        raise ValueError(f"Expected a classifier, (batch, classes) out. Received: {model.outputs[0].shape}")
    images, sides = np.asarray(images), model.inputs[0].shape[1:]
    if images.ndim != 4 or any(side not in (None, own) for side, own in zip(sides, images.shape[1:], strict=True)):
        raise ValueError(f"Expected images of shape (n, {', '.join(map(str, sides))}). Received: shape={images.shape}")
    if not len(images) or images.dtype.kind not in "iuf":
        raise ValueError(f"Expected images, of numbers. Received: {len(images)} images, dtype={images.dtype}")
    if not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).all((1, 2, 3))).tolist()
        raise ValueError(f"Expected images of finite values. Received: NaN or infinity in images {bad}")
    return images.astype(np.float32)


def _graph(operation: keras.Operation) -> object | None:
    """Return the graph of a functional or Sequential model, and None for anything else."""
    graph = getattr(operation, "_functional", operation)  # what a Sequential model wraps
    return graph if hasattr(graph, "_run_through_graph") else None


def _last(operation: keras.Operation) -> keras.Operation:
    """Return the operation that makes the output, inside the nested model if one does."""
    while graph := _graph(operation):
        operation = graph.outputs[0]._keras_history.operation
    return operation


def _unsquashed(operation: keras.Operation) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a function like `operation`, without its softmax or sigmoid."""
    activation = getattr(operation, "activation", None)
    if type(operation).__name__.lower() in SQUASHING:
        return lambda inputs: inputs
    if getattr(activation, "__name__", "") not in SQUASHING:
        return lambda *args: operation(*args)
    if not operation.weights:
        return lambda inputs: inputs
    config = {
        name: "zeros" if name.endswith("_initializer") else value for name, value in operation.get_config().items()
    }
    twin = type(operation).from_config({**config, "activation": "linear"})  # it borrows the weights of the original
    twin.build(operation.input.shape)
    weights = operation.trainable_variables, operation.non_trainable_variables
    return lambda inputs: twin.stateless_call(*weights, inputs)[0]


def _inference(operation: keras.Operation, kwargs: dict) -> dict:
    """Return the arguments of a call with `training=False` where there is such an argument."""
    return {**kwargs, "training": False} if "training" in inspect.signature(operation.call).parameters else kwargs


def _is_map(operation: keras.Operation) -> bool:
    shape = getattr(operation.output, "shape", ())
    return len(shape) == 4 and shape[1:3] != (1, 1)

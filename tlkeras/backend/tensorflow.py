"""TensorFlow: graphs, traced once for items of a shape."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras import startup

_PHILOX = 1  # TensorFlow's generator on CPUs and GPUs
READ = ("Const", "ReadVariableOp", "Placeholder", "Identity", "NoOp")  # weights, and operations that copy nothing


def compiled(function: Callable, model: keras.Model) -> Callable:
    """Trace a graph for each shape of items: TensorFlow warns of functions that are traced when they are called."""
    traced = tf.function(function)
    graphs: dict[tuple, Callable] = {}

    def run(*arrays: Any) -> Any:
        tensors = [tf.convert_to_tensor(array) for array in arrays]
        key = tuple((tensor.shape[1:], tensor.dtype) for tensor in tensors)
        if key not in graphs:
            graphs[key] = traced.get_concrete_function(*(tf.TensorSpec((None, *shape), kind) for shape, kind in key))
        return graphs[key](*tensors)

    return run


def compiled_as(function: Callable, kinds: Sequence[Any], model: keras.Model) -> Callable:
    """Trace a graph at once; nothing that it is called with shapes it."""
    signature = keras.tree.map_structure(lambda kind: tf.TensorSpec(kind.shape, kind.dtype), list(kinds))
    graph = tf.function(function, autograph=False, input_signature=signature).get_concrete_function()
    return _of_kinds(graph, kinds)


def drawing(function: Callable, kinds: Sequence[Any], shaping: Sequence[int] = ()) -> Callable:
    """Run it as it is: to trace it takes longer."""
    return _of_kinds(function, kinds)


def _of_kinds(function: Callable, kinds: Sequence[Any]) -> Callable:
    def run(*arguments: Any) -> Any:
        tensors = keras.tree.map_structure(
            lambda kind, x: tf.convert_to_tensor(x, kind.dtype), list(kinds), list(arguments)
        )
        return function(*tensors)

    return run


def side_by_side(model: keras.Model) -> Callable:
    """Cut each batch into as many parts as cores are idle; see `startup.idle_cores`."""
    parts = 1 if gpus() else startup.idle_cores()

    def forward(batch: tf.Tensor) -> tf.Tensor:
        if parts == 1:
            return model(batch, training=False)
        count = tf.shape(batch)[0]
        missing = tf.maximum(parts - count, 0)  # no part may be empty: TensorFlow's convolutions fail on that
        padded = tf.pad(batch, [[0, missing], *([[0, 0]] * (len(batch.shape) - 1))])
        ends = [(count + missing) * part // parts for part in range(parts + 1)]
        outputs = [model(padded[a:b], training=False) for a, b in itertools.pairwise(ends)]
        return tf.concat(outputs, axis=0)[:count]

    return forward


def each(items: tf.Tensor, function: Callable) -> tf.Tensor:
    """Map one after the other."""
    return tf.stack([function(item) for item in tf.unstack(items)])


def uniform(shape: Sequence[Any], seed: Any, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Draw from TensorFlow's stateless generator."""
    return tf.random.stateless_uniform(shape, seed, low, high)


def normal(shape: Sequence[Any], seed: Any) -> tf.Tensor:
    """Draw as `tf.random.stateless_normal` does: the same numbers, in a quarter of its time for a small picture."""
    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    return tf.raw_ops.StatelessRandomNormalV2(shape=shape, key=key, counter=counter, alg=_PHILOX)


def irfft2(real: tf.Tensor, imaginary: tf.Tensor, weights: np.ndarray, shape: tuple[int, int]) -> tf.Tensor:
    """Go back from half a spectrum."""
    return tf.signal.irfft2d(tf.complex(real, imaginary) * weights, shape)


def gradients(function: Callable, at: tf.Tensor) -> tuple[tuple[tf.Tensor, ...], list[tf.Tensor | None]]:
    """Differentiate by one tape."""
    with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
        tape.watch(at)
        values = function(at)
    return values, [tape.gradient(value, at) for value in values]


def gradient_inside(function: Callable) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Differentiate by a tape that watches the inner tensor."""
    with tf.GradientTape(watch_accessed_variables=False) as tape:

        def watch(inner: tf.Tensor) -> tf.Tensor:
            tape.watch(inner)
            return inner

        score, inner = function(watch)
    return inner, tape.gradient(score, inner)


def footprint(function: Callable, shape: tuple[int, ...]) -> tuple[list[tuple[int, ...]], int]:
    """Add up the outputs of a graph's operations."""
    traced = tf.function(function, autograph=False).get_concrete_function(tf.TensorSpec(shape))
    operations = [operation for operation in traced.graph.get_operations() if operation.type not in READ]
    tensors = [tensor for operation in operations for tensor in operation.outputs if tensor.shape.is_fully_defined()]
    size = sum(tensor.shape.num_elements() * tensor.dtype.size for tensor in tensors)
    return [tuple(tensor.shape) for tensor in traced.structured_outputs], size


def gpus() -> list[str]:
    """Ask TensorFlow."""
    devices = tf.config.list_physical_devices("GPU")
    return [tf.config.experimental.get_device_details(device).get("device_name", "GPU") for device in devices]


def deterministic() -> None:
    """Switch TensorFlow's own kernels."""
    tf.config.experimental.enable_op_determinism()

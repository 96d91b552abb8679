"""The graph of a functional Keras model: its operations and their calls, its logits, and running it up to a layer.

Keras offers no public way to most of this. Every private attribute of Keras (and of TensorFlow) that the package needs
is used in this file alone, so that a change in Keras is mended here. No function of this file changes a model: its
layers, nodes, weights and flags stay as they are.
"""

import contextlib
import difflib
import inspect
import itertools
import logging
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

_SQUASHING = ("softmax", "sigmoid")  # where one of these ends a classifier, its input is the logits

Chain = tuple[keras.Operation, ...]  # the nested models that lead to an operation, outermost first, and the operation
Tensor = Any  # of Keras' backend
Watch = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Call:
    """One call of an operation in the graph of a model (a node of Keras); a shared layer is called several times."""

    operation: keras.Operation
    inputs: tuple[keras.KerasTensor, ...]  # none for an input layer
    outputs: tuple[keras.KerasTensor, ...]
    options: dict[str, Any]  # keyword arguments of the call, such as `training=False`
    sources: tuple[keras.Operation, ...]  # the operations that made `inputs`


def is_functional(operation: object) -> bool:
    """Return whether `operation` is a functional model, or a Sequential model that is built."""
    return _functional(operation) is not None


def functional(model: keras.Model) -> keras.Model:
    """Return a functional model as it is, and for a Sequential model the functional one that it wraps.

    Its `operations` are in the order in which they run, input layers included.

    Raises:
        ValueError: a subclassed model, which has no graph, or a Sequential model that is not built yet.
    """
    graph = _functional(model)
    if graph is None:
        raise ValueError(
            "Expected a functional model, or a Sequential one that is built. A subclassed model becomes one by "
            f"`inputs = keras.Input(shape)` and `keras.Model(inputs, model(inputs))`. Received: {model!r}"
        )
    return graph


def calls(model: keras.Model) -> dict[keras.Operation, list[Call]]:
    """Return the calls of each operation of a model, in the order in which the operations run, input layers included.

    Calls of the same layers by other models are left out; a nested model counts as one operation.

    Args:
        model: functional or Sequential.

    Raises:
        ValueError: as `functional` does.
    """
    graph = functional(model)
    nodes = {id(node) for level in graph._nodes_by_depth.values() for node in level}
    return {
        operation: [_call(node) for node in operation._inbound_nodes if id(node) in nodes]
        for operation in graph.operations
    }


def largest_output(model: keras.Model, shape: tuple[int, ...] | None = None) -> int:
    """Return how many numbers an operation of a model makes of one input, at most; a nested model is one operation.

    Args:
        model: functional or Sequential.
        shape: of an input, which counts where a model of one input leaves sides open.

    Raises:
        ValueError: as `functional` does.
    """
    graph = functional(model)
    outputs = [output for operation in graph.operations for output in keras.tree.flatten(operation.output)]
    if shape is not None and len(graph.inputs) == 1 and None in graph.inputs[0].shape[1:]:
        outputs = _outputs_of(graph, shape)
    return max(math.prod(side or 1 for side in output.shape[1:]) for output in outputs)


def users(model: keras.Model) -> dict[str, list[Call]]:
    """Return the calls that take an output of an operation, by the operation's name; a name without users has none.

    Args:
        model: functional or Sequential.

    Raises:
        ValueError: as `functional` does.
    """
    takers = defaultdict(list)
    for call in itertools.chain.from_iterable(calls(model).values()):
        for source in call.sources:
            takers[source.name].append(call)
    return takers


def operations(model: keras.Model) -> dict[str, keras.Operation]:
    """Return the operations of a model by path, in the order in which they run, without input layers.

    Those of a nested model have paths such as "base/conv_1" and come before the nested model.

    Args:
        model: functional or Sequential.

    Raises:
        ValueError: as `functional` does.
    """
    return {path: chain[-1] for path, chain in _chains(model)}


def find(model: keras.Model, name: str) -> keras.Operation:
    """Return an operation by name, at any depth.

    Args:
        model: functional or Sequential.
        name: of the operation; where several have the same, "nested/name" says which.

    Raises:
        ValueError: a name that no operation or several have, or as `functional` does.
    """
    return _find(model, name)[-1]


def is_random(operation: keras.Operation) -> bool:
    """Return whether an operation, or a layer inside it, has a generator of random numbers, as dropout has."""
    if not isinstance(operation, keras.layers.Layer):
        return False
    state = [value for layer in operation._flatten_layers() for value in vars(layer).values()]
    return any(isinstance(value, keras.random.SeedGenerator) for value in state)


def can_train(layer: keras.layers.Layer) -> bool:
    """Return whether a layer, or one inside it, has variables that train once it is not frozen."""
    return any(part._trainable_variables for part in layer._flatten_layers())


def producer(tensor: keras.KerasTensor) -> keras.Operation:
    """Return the operation that made a symbolic tensor of a model."""
    return tensor._keras_history.operation


def last_operation(model: keras.Model) -> keras.Operation:
    """Return the operation that makes the first output of a model, inside the nested model if one makes it.

    A nested model without a graph counts as one operation.

    Args:
        model: functional or Sequential.

    Raises:
        ValueError: as `functional` does.
    """
    operation: Any = functional(model)
    while graph := _functional(operation):
        operation = producer(graph.outputs[0])
    return operation


def last_activation(operation: keras.Operation) -> Callable[[Tensor], Tensor] | None:
    """Return the activation that a layer of Keras applies last, and None where there is none.

    A layer of anyone else may use what it calls `activation` anywhere, so that it has none here.
    """
    return getattr(operation, "activation", None) if _tells_its_end(operation) else None


def squashing(operation: keras.Operation) -> str | None:
    """Return "softmax" or "sigmoid" for an operation that is one or ends in one, and None for any other.

    One that is not Keras' own, such as a lambda layer, is judged by what it does to a few random rows.

    Args:
        operation: of a model.
    """
    if not _tells_its_end(operation):
        return _behaviour_in_model(operation)
    activation = last_activation(operation)
    names = (type(operation).__name__.lower(), getattr(activation, "__name__", ""))
    return next((name for name in names if name in _SQUASHING), None) or _behaviour(activation)


def has_logits(model: keras.Model) -> bool:
    """Return whether the outputs of a classifier are logits: no softmax ends it, at any depth."""
    return output_activation(model) != "softmax"


def num_classes(model: keras.Model) -> int:
    """Return how many classes a classifier tells apart: as many as it has outputs, and two by a single one."""
    return max(2, model.output_shape[-1])


def output_activation(model: keras.Model) -> str | None:
    """Return "softmax" or "sigmoid" if the outputs of a classifier are probabilities, and None for logits.

    Layers at the end that change no value, such as a reshaping or a cast, are passed over.
    """
    operation = last_operation(model)
    while squashing(operation) is None and _keeps_values(operation):
        before = producer(operation.input)
        operation = last_operation(before) if is_functional(before) else before
    return squashing(operation)


def without_activation(operation: keras.Operation) -> Callable[[Tensor], Tensor]:
    """Return a function of one tensor that does what a layer does before its activation, on the layer's weights.

    Args:
        operation: a layer with an argument `activation`; or the activation itself, which is left out as a whole.

    Raises:
        ValueError: an operation that is not Keras' own, whose activation may be anywhere.
    """
    if not _tells_its_end(operation):
        raise ValueError(
            "Expected a Keras layer whose activation comes last, such as `keras.layers.Dense`, or an activation of its "
            f"own, such as `keras.layers.Softmax`. Received: {operation!r}"
        )
    if not getattr(operation, "weights", None):
        return lambda inputs: inputs
    config = operation.get_config()
    plain = {name: "zeros" if name.endswith("_initializer") else value for name, value in config.items()}
    twin = type(operation).from_config({**plain, "activation": "linear"})
    twin.build(operation.input.shape)

    def run(inputs: Tensor) -> Tensor:
        borrowed = zip(twin.weights, (weight.value for weight in operation.weights), strict=True)
        with keras.StatelessScope(state_mapping=list(borrowed)):
            return twin(inputs)

    return run


def up_to(model: keras.Model, name: str, *, inclusive: bool = True) -> Callable[[Tensor], Tensor]:
    """Return a function that runs a model in inference mode up to a layer, and nothing after it.

    Args:
        model: functional or Sequential, of one input.
        name: of the layer, as for `find`; a shared layer counts where it is called first.
        inclusive: False returns what goes into the layer.

    Returns:
        `images (b, ...) -> activations (b, ...)`, in the dtype of the layer.

    Raises:
        ValueError: a model of several inputs, a layer of several inputs or outputs, or as `find` does.
    """
    chain = _find(model, name)
    # Keras makes no model that starts in one graph and ends in a nested one, so there is one stage for each.
    stages = [
        keras.Model(parent.inputs[0], _tensor(parent, inner, after=inclusive and inner is chain[-1]), name="part")
        for parent, inner in zip((model, *chain), chain, strict=False)
    ]

    def run(images: Tensor) -> Tensor:
        for stage in stages:
            images = stage(images, training=False)
        return images

    return run


def logits(model: keras.Model, layer: keras.Operation | None = None) -> Callable[..., tuple[Tensor, Tensor]]:
    """Return a function that runs a classifier in inference mode, without the softmax or sigmoid at its end.

    Args:
        model: functional or Sequential, of any nesting.
        layer: one of its operations, at any depth.

    Returns:
        `(images (b, height, width, channels), watch=None) -> (logits (b, classes) float32, output of layer)`. `watch`
        gets that output as soon as it is computed, and returns what the network goes on with, so that a gradient can
        follow it. The output is None if there is no `layer`.

    Raises:
        ValueError: as `functional` does, and as `without_activation` does for a softmax or sigmoid at the end.
    """
    graph, last = functional(model), last_operation(model)
    end = without_activation(last) if squashing(last) else None

    def run(images: Tensor, watch: Watch | None = None) -> tuple[Tensor, Tensor | None]:
        seen = []

        def as_called(operation: keras.Operation) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                if inner := _functional(operation):
                    outputs = inner._run_through_graph(args[0], as_called)
                elif operation is last and end:
                    outputs = end(*args)
                else:
                    outputs = operation(*args, **_in_mode(operation, options, training=False))
                if operation is layer:
                    outputs = watch(outputs) if watch else outputs
                    seen.append(outputs)
                return outputs

            return call

        outputs = keras.tree.flatten(graph._run_through_graph(images, as_called))
        return keras.ops.cast(outputs[0], "float32"), seen[-1] if seen else None

    return run


def training_alone(model: keras.Model, kind: type[keras.Layer]) -> Callable[[Tensor], list[Tensor]]:
    """Return a function that runs a model in inference mode, but its layers of one kind in training mode.

    Args:
        model: functional or Sequential, of one input and any nesting.
        kind: of layer, such as `keras.layers.BatchNormalization`.

    Returns:
        `images (b, ...) -> outputs`.

    Raises:
        ValueError: as `functional` does.
    """
    graph = functional(model)

    def as_called(operation: keras.Operation) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            if inner := _functional(operation):
                return inner._run_through_graph(args[0], as_called)
            return operation(*args, **_in_mode(operation, options, training=isinstance(operation, kind)))

        return call

    return lambda images: graph._run_through_graph(
        keras.ops.convert_to_tensor(images, graph.inputs[0].dtype), as_called
    )


def variable_index(optimizer: keras.optimizers.Optimizer, variable: Any) -> int:
    """Return the place of a variable among those that an optimizer was built for.

    Args:
        optimizer: built.
        variable: as an update step gets it: of the backend, hence without the path of Keras' variable.
    """
    return optimizer._get_variable_index(variable)


def build_metrics(model: keras.Model) -> None:
    """Make the metrics of a compiled classifier known by name, as a first batch does, and leave them empty."""
    outputs = np.full((1, model.output_shape[-1]), 0.5, np.float32)
    model.compute_metrics(None, np.zeros(1, np.int32), outputs)
    model.reset_metrics()


@contextlib.contextmanager
def compiled_once() -> Iterator[None]:
    """Let `fit` compile a step for its model, without TensorFlow's warning of retracing, and leave nothing behind."""

    def is_of_use(record: logging.LogRecord) -> bool:
        return "multi_step_on_iterator" not in record.getMessage()

    logger = logging.getLogger("tensorflow")
    logger.addFilter(is_of_use)
    try:
        with forgotten_gradients():
            yield
    finally:
        logger.removeFilter(is_of_use)


@contextlib.contextmanager
def forgotten_gradients() -> Iterator[None]:
    """Forget the custom gradients that are registered meanwhile, and free the graphs that they hold.

    Each compiled `fit` registers one, of the optimizer's all-reduce, which TensorFlow never removes: 4 MB for TomiNet.
    A version of TensorFlow that keeps its registry elsewhere keeps the graphs, too.
    """
    registry = _custom_gradients()
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
            del registry[name]


def _custom_gradients() -> dict[str, Any]:
    if keras.backend.backend() != "tensorflow":
        return {}
    from tensorflow.python.framework import ops  # no public module has the registry; late: others do without TensorFlow

    return getattr(getattr(ops, "gradient_registry", None), "_registry", {})


def classifier_outputs(model: keras.Model) -> tuple[bool, bool]:
    """Return whether a classifier has a single output, that of class 1 of two, and whether its outputs are logits.

    Raises:
        ValueError: sigmoids of several outputs, each of a label of its own, the softmax of one, which is always 1, or
            as `functional` does.
    """
    activation, count = output_activation(functional(model)), model.output_shape[-1]
    if activation == ("softmax" if count == 1 else "sigmoid"):
        raise ValueError(
            "Expected a softmax or logits of two classes or more, or a single output of a sigmoid or its logit. "
            f"Received: {activation}, {count} outputs"
        )
    return count == 1, activation is None


def _behaviour(activation: object) -> str | None:
    """Return "softmax" or "sigmoid" for a function that does the same, whatever its name, such as a lambda."""
    if not inspect.isfunction(activation) or activation.__module__.startswith("keras."):
        return None
    sample = keras.ops.convert_to_tensor([[-1.0, 0.5, 2.0]])
    found = keras.ops.convert_to_numpy(activation(sample))
    known = {"softmax": keras.ops.softmax(sample), "sigmoid": keras.ops.sigmoid(sample)}
    return next((name for name, values in known.items() if np.allclose(found, values, atol=1e-6)), None)


def _tells_its_end(operation: keras.Operation) -> bool:
    """Return whether an operation is Keras' own, in which an activation comes last."""
    return type(operation).call.__module__.startswith("keras.") and not isinstance(operation, keras.layers.Lambda)


def _behaviour_in_model(operation: keras.Operation) -> str | None:
    """Return "softmax" or "sigmoid" for an operation whose outputs for any inputs are such probabilities."""
    node = operation._inbound_nodes[0]
    samples = {id(tensor): _sample(tensor) for tensor in node.input_tensors}
    args, options = node.arguments.fill_in(samples)
    with keras.StatelessScope():  # one that counts or remembers shall not see the sample
        outputs = operation(*args, **_in_mode(operation, options, training=False))
    found = keras.ops.convert_to_numpy(keras.ops.cast(keras.tree.flatten(outputs)[0], "float32"))
    if not ((found >= 0) & (found <= 1)).all() or not found.any():  # the logits of a head of zeros are 0
        return None
    return "softmax" if np.allclose(found.sum(-1), 1, atol=0.01) else "sigmoid"  # atol: half precision


def _sample(tensor: keras.KerasTensor) -> Tensor:
    """Return random rows for an input of an operation, from small ones to those whose logits are not within 0..1."""
    rows, *sides = tensor.shape
    shape = (rows or 16, *(side or 64 for side in sides))
    scales = np.geomspace(0.1, 100, shape[0])  # of larger ones float16 overflows
    values = np.random.default_rng(0).normal(size=shape).T * scales
    return keras.ops.cast(values.T.astype(np.float32), tensor.dtype)


def _keeps_values(operation: keras.Operation) -> bool:
    """Return whether what comes out of an operation is what goes in, in any shape or dtype."""
    passing = isinstance(operation, keras.layers.Flatten | keras.layers.Reshape | keras.layers.Identity)
    linear = isinstance(operation, keras.layers.Activation) and operation.activation is keras.activations.linear
    return passing or linear


def _functional(operation: object) -> Any:
    """Return the graph of a functional or Sequential model, and None for anything else."""
    graph = getattr(operation, "_functional", operation)  # what a Sequential model wraps
    return graph if isinstance(graph, keras.Function) else None


def _outputs_of(graph: Any, shape: tuple[int, ...]) -> list[keras.KerasTensor]:
    """Return what comes out of each operation for an input of `shape`, the input first; nothing is computed."""
    outputs = [keras.KerasTensor((1, *shape), graph.inputs[0].dtype)]

    def noted(operation: keras.Operation) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            found = operation.compute_output_spec(*args, **options)
            outputs.extend(keras.tree.flatten(found))
            return found

        return call

    graph._run_through_graph(outputs[0], noted)
    return outputs


def _call(node: Any) -> Call:
    sources = tuple(parent.operation for parent in node.parent_nodes)
    options = dict(node.arguments.kwargs)
    return Call(node.operation, tuple(node.input_tensors), tuple(node.output_tensors), options, sources)


def _chains(model: keras.Model) -> Iterator[tuple[str, Chain]]:
    for operation in functional(model).operations:
        if is_functional(operation):
            yield from ((f"{operation.name}/{path}", (operation, *chain)) for path, chain in _chains(operation))
        if not isinstance(operation, keras.layers.InputLayer):
            yield operation.name, (operation,)


def _find(model: keras.Model, name: str) -> Chain:
    chains = dict(_chains(model))
    paths = [path for path in chains if path == name or path.endswith(f"/{name}")]
    if len(paths) > 1:
        raise ValueError(f"Expected the name of one layer; {paths} have this one. Received: layer={name!r}")
    if not paths:
        similar = difflib.get_close_matches(str(name), chains, n=4, cutoff=0.4) or list(chains)
        raise ValueError(f"Expected a layer of {model.name}, such as {similar}. Received: layer={name!r}")
    return chains[paths[0]]


def _tensor(parent: keras.Model, operation: keras.Operation, *, after: bool) -> keras.KerasTensor:
    """Return what comes out of an operation inside `parent`, or what goes into it."""
    if len(parent.inputs) != 1:
        raise ValueError(f"Expected a model of one input. Received: {parent.name!r}, of {len(parent.inputs)} inputs")
    call = calls(parent)[operation][0]
    tensors = call.outputs if after else call.inputs
    if len(tensors) != 1:
        raise ValueError(f"Expected a layer of one input and one output. Received: layer={operation.name!r}, {tensors}")
    return tensors[0]


def _in_mode(operation: keras.Operation, options: dict[str, Any], *, training: bool) -> dict[str, Any]:
    """Return the options of a call with `training` where there is such an argument."""
    return {**options, "training": training} if "training" in inspect.signature(operation.call).parameters else options

"""Freezing that cannot be forgotten: choose the trained layers, compile, assert the count, prove what moved.

Beside it, what freezing is about: how far layers move, what the network still knows of its old task, and how many
operations are saved.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np

from tlkeras import backend, graph

Train = str | int | Sequence[str]  # "all", "head", how many of the last layers, or names of layers
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.SeparableConv2D, keras.layers.DepthwiseConv2D)
Snapshot = dict[str, list[np.ndarray]]  # the weights of each layer, by its name


class FreezingError(RuntimeError):
    """A frozen weight moved, a trained layer did not, or the trainable parameters are not as many as expected."""


def trained_layers(model: keras.Model, train: Train) -> list[str]:
    """Return the names of the layers with weights that `train` selects, in model order.

    Args:
        model: a flat model.
        train: "all"; "head" (the last layer with weights); a number n (the last n layers with weights);
            or names of layers.

    Raises:
        ValueError: an unknown layer, a number outside 0..layers with weights, or "head" or "all" where another layer
            has that name.
    """
    names = [layer.name for layer in model.layers if layer.weights]
    if isinstance(train, str) and train in {"all": names, "head": names[:-1]}.get(train, ()):
        raise ValueError(f"Expected a list, such as [{train!r}], for a layer of this name. Received: train={train!r}")
    if train == "all":
        return names
    if train == "head":
        return names[-1:]
    if isinstance(train, int) and not isinstance(train, bool):
        if not 0 <= train <= len(names):
            raise ValueError(f"Expected to train 0 to {len(names)} of the last layers. Received: train={train}")
        return names[len(names) - train :]
    chosen = {train} if isinstance(train, str | bool) else set(train)
    unknown = sorted(chosen - set(names), key=str)
    if unknown:
        raise ValueError(f"Expected 'all', 'head', a number, or names out of {names}. Received: train={unknown}")
    return [name for name in names if name in chosen]


def learning_layers(model: keras.Model) -> list[str]:
    """Return the names of the layers that have something to train once they are not frozen, in model order.

    An adapted `Normalization` has weights and nothing to train; so has batch normalisation without scale and offset.

    Args:
        model: a flat model.
    """
    return [layer.name for layer in model.layers if graph.can_train(layer)]


def count_trainable(model: keras.Model) -> int:
    """Count the trainable parameters."""
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)


def freeze(
    model: keras.Model,
    train: Train,
    *,
    learning_rate: float = 1e-3,
    optimizer: keras.optimizers.Optimizer | None = None,
    steps_per_execution: int = 1,
    expect: int | None = None,
) -> int:
    """Freeze all but the chosen layers AND compile: in Keras 3, `trainable` alone changes nothing after a `fit`.

    Args:
        model: a flat classifier with softmax (or logit) outputs and integer labels.
        train: which layers train, see `trained_layers`.
        learning_rate: of the default Adam; ignored if `optimizer` is given.
        optimizer: a fresh one; None means Adam.
        steps_per_execution: batches per compiled call.
        expect: how many trainable parameters there must be.

    Returns:
        The number of trainable parameters.

    Raises:
        FreezingError: another number of trainable parameters than `expect`.
        ValueError: an unknown layer.
    """
    chosen = set(trained_layers(model, train))
    model.trainable = True  # clears what an earlier phase froze
    for layer in model.layers:
        layer.trainable = layer.name in chosen or not layer.weights
    compile_classifier(model, optimizer or keras.optimizers.Adam(learning_rate), steps_per_execution)
    count = count_trainable(model)
    if expect is not None and count != expect:
        raise FreezingError(f"Expected {expect:,} trainable parameters. Received: {count:,} in {sorted(chosen)}")
    return count


def compile_classifier(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, steps_per_execution: int = 1, shares: bool = False
) -> None:
    """Compile with cross-entropy on integer labels and accuracy; XLA only where JAX needs it: it slows small networks.

    Args:
        model: a classifier.
        optimizer: a fresh one, or one that was built for the same weights.
        steps_per_execution: batches per compiled call.
        shares: the labels are no integers but the share of each class, `(n, classes)`.

    Raises:
        ValueError: as `graph.classifier_outputs` does, what `optimizer` refuses to train, and shares for one output.
    """
    single, from_logits = graph.classifier_outputs(model)
    if single and shares:
        raise ValueError(f"Expected an output for each class. Received: one output of {model.name!r}, for two classes")
    losses, metrics = keras.losses, keras.metrics
    entropy = losses.CategoricalCrossentropy if shares else losses.SparseCategoricalCrossentropy
    accuracy = (metrics.CategoricalAccuracy if shares else metrics.SparseCategoricalAccuracy)("accuracy")
    if single:
        entropy = losses.BinaryCrossentropy
        accuracy = metrics.BinaryAccuracy("accuracy", threshold=0.0 if from_logits else 0.5)
    model.compile(
        optimizer=optimizer,
        loss=entropy(from_logits=from_logits),
        metrics=[accuracy],
        steps_per_execution=1 if backend.NAME == "torch" else steps_per_execution,  # Keras refuses more there
        jit_compile=backend.NAME == "jax",
    )
    # All variables exist now: where `fit` makes some in its compiled step, it traces that twice, and TensorFlow never
    # frees the first graph (10 MB for TomiNet).
    optimizer.build(model.trainable_variables)


def snapshot(model: keras.Model) -> Snapshot:
    """Copy the weights of every layer that has any."""
    return {layer.name: layer.get_weights() for layer in model.layers if layer.weights}


def largest_moves(before: Snapshot, model: keras.Model) -> dict[str, float]:
    """Return the largest absolute change of a weight of each layer since `before`."""
    after = snapshot(model)
    return {
        name: max(float(np.abs(new - old).max()) for new, old in zip(after[name], arrays, strict=True))
        for name, arrays in before.items()
    }


def prove_moves(before: Snapshot, model: keras.Model, train: Train, still: Sequence[str] = ()) -> dict[str, float]:
    """Prove that the frozen layers are bit-identical to `before` and that every trained layer moved.

    Args:
        before: of `snapshot`.
        model: after training.
        train: see `trained_layers`.
        still: layers that trained at a rate of 0: only their moving statistics may change, and need not.

    Returns:
        The largest absolute change of each layer.

    Raises:
        FreezingError: a layer that is frozen or still moved, or another one did not.
    """
    chosen, moves = set(trained_layers(model, train)) - set(still), largest_moves(before, model)
    held = set(still) & before.keys()  # a rate may be that of a part of a layer
    held = {name for name in held if all(np.array_equal(*pair) for pair in _trained(before[name], model, name))}
    leaked = [name for name, move in moves.items() if name not in chosen | held and move != 0]
    stuck = [name for name, move in moves.items() if name in chosen and move == 0 and not _constant(model, name)]
    if leaked or stuck:
        raise FreezingError(
            f"Expected only {sorted(chosen)} to move. Received: frozen but moved {leaked}, stuck {stuck}"
        )
    return moves


def _constant(model: keras.Model, name: str) -> bool:
    """Whether a layer has nothing to train although it may: an adapted Normalization, for one."""
    layer = model.get_layer(name)
    return layer.trainable and not layer.trainable_weights


def relative_moves(before: Snapshot, model: keras.Model) -> dict[str, float]:
    """Return how far each layer moved, relative to where it was: |after - before| / |before|, Euclidean.

    Only what is trained counts, not the moving statistics of batch normalisation; a frozen layer moved by 0.

    Args:
        before: of `snapshot`, the same layers.
        model: after training.
    """
    moves = {}
    for name, arrays in before.items():
        pairs = _trained(arrays, model, name)
        moves[name] = _relative(*map(np.concatenate, zip(*pairs, strict=True))) if pairs else 0.0
    return moves


def _trained(arrays: list[np.ndarray], model: keras.Model, name: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return each trained weight of a layer as it was, in `arrays`, and as it is, flat."""
    layer = model.get_layer(name)
    trained = {id(weight) for weight in layer.trainable_weights}
    return [
        (old.ravel(), keras.ops.convert_to_numpy(weight).ravel())
        for old, weight in zip(arrays, layer.weights, strict=True)
        if id(weight) in trained
    ]


def _relative(old: np.ndarray, new: np.ndarray) -> float:
    length = float(np.linalg.norm(old))
    return float(np.linalg.norm(new - old)) / length if length else float(np.linalg.norm(new) > 0)


def with_old_head(tuned: keras.Model, source: keras.Model, head: str) -> keras.Model:
    """Return the classifier of the old task on the fine-tuned base: what is left of the earlier knowledge.

    Args:
        tuned: fine-tuned on the new task.
        source: the network before, with the head of the old task; it stays as it is.
        head: name of the layer that the two do not share.

    Returns:
        A new model with the outputs of `source`.

    Raises:
        ValueError: below the head the networks are not the same.
    """
    new, old = snapshot(tuned), snapshot(source)
    new_base, old_base = (
        {name: [array.shape for array in arrays] for name, arrays in shot.items() if name != head}
        for shot in (new, old)
    )
    if new_base != old_base or head not in old:
        received = f"{sorted(new)} and {sorted(old)}"
        raise ValueError(f"Expected two networks that are alike below a layer {head!r}. Received: {received}")
    twin = keras.models.clone_model(source)
    for name in old:
        twin.get_layer(name).set_weights((old if name == head else new)[name])
    return twin


def forward_flops(model: keras.Model) -> dict[str, int]:
    """Count the floating-point operations of one image through each convolution and dense layer, in model order.

    A multiplication with its addition counts as 2; activations, pooling and normalisation are left out (about 1 %).

    Args:
        model: a flat functional model of a fixed input size.
    """
    counted: dict[str, int] = {}
    for layer in model.layers:
        if isinstance(layer, (*CONVOLUTIONS, keras.layers.Dense)):
            positions = math.prod(layer.output.shape[1:-1])
            counted[layer.name] = 2 * positions * sum(math.prod(kernel.shape) for kernel in _kernels(layer))
    return counted


def _kernels(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Return what a convolution or dense layer multiplies its inputs with: each number once at every position."""
    if isinstance(layer, keras.layers.SeparableConv2D):
        return [layer.depthwise_kernel, layer.pointwise_kernel]
    return [layer.kernel]


def training_flops(model: keras.Model, train: Train, images: int, epochs: int, *, cached: bool) -> int:
    """Count the floating-point operations of a training; validation is left out.

    A trained layer costs three times its forward pass: forward, gradient of its weights, gradient of its inputs. The
    lowest trained one needs no gradient of its inputs, a frozen one above it none of its weights, and those below run
    forward only: in every epoch, or once if their features are cached.

    Args:
        model: a flat functional model of a fixed input size.
        train: see `trained_layers`.
        images: in the training set.
        epochs: passes over them.
        cached: whether features below the first trained layer are computed once.

    Raises:
        ValueError: unknown layers.
    """
    forward, chosen = forward_flops(model), trained_layers(model, train)
    order = list(forward)
    first = min((order.index(name) for name in chosen if name in forward), default=len(order))
    below = sum(forward[name] for name in order[:first])
    above = sum(_passes(name, order[first], chosen) * forward[name] for name in order[first:])
    return images * (below * (1 if cached else epochs) + above * epochs)


def _passes(name: str, first: str, chosen: list[str]) -> int:
    return 3 - (name == first) - (name not in chosen)

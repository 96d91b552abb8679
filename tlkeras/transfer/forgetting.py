"""What fine-tuning destroys: how far weights moved, and how well the old task is still solved with its old head."""

import keras
import numpy as np


def relative_moves(before: dict[str, list[np.ndarray]], model: keras.Model) -> dict[str, float]:
    """Return how far each layer moved, relative to where it was: |after - before| / |before|, Euclidean.

    Only what is trained counts, not the moving statistics of batch normalisation; a frozen layer moved by 0.

    Args:
        before: of `freezing.snapshot`, the same layers.
        model: after training.
    """
    moves = {}
    for name, arrays in before.items():
        layer = model.get_layer(name)
        trained = {id(weight) for weight in layer.trainable_weights}
        pairs = [
            (old.ravel(), keras.ops.convert_to_numpy(weight).ravel())
            for old, weight in zip(arrays, layer.weights, strict=True)
            if id(weight) in trained
        ]
        moves[name] = _relative(*map(np.concatenate, zip(*pairs, strict=True))) if pairs else 0.0
    return moves


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
    shapes = [
        {layer.name: [weight.shape for weight in layer.weights] for layer in model.layers if layer.weights}
        for model in (tuned, source)
    ]
    tuned_base, source_base = ({name: found[name] for name in found if name != head} for found in shapes)
    if tuned_base != source_base or head not in shapes[1]:
        found = f"{sorted(shapes[0])} and {sorted(shapes[1])}"
        raise ValueError(f"Expected two networks that are alike below a layer {head!r}. Received: {found}")
    twin = keras.models.clone_model(source)
    for name in shapes[1]:
        twin.get_layer(name).set_weights((source if name == head else tuned).get_layer(name).get_weights())
    return twin

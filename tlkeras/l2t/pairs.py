"""Which layers are matched: names checked against both models, pairs grouped by the target's layer."""

from collections.abc import Sequence
from typing import NamedTuple

import keras

Pair = tuple[str, str]  # a layer of the source, a layer of the target


class Group(NamedTuple):
    """All pairs of one layer of the target: they are computed together."""

    target: str
    height: int
    width: int
    pairs: tuple[int, ...]  # their numbers in the user's list
    channels: tuple[int, ...]  # of the source, one a pair


def names(pairs: Sequence[Pair]) -> list[str]:
    """Return how each pair is called in messages and logs."""
    return [f"{source} -> {target}" for source, target in pairs]


def spatial_shapes(model: keras.Model, layers: Sequence[str], role: str) -> dict[str, tuple[int, int, int]]:
    """Return (height, width, channels) of each layer's output.

    Args:
        model: flat functional model.
        layers: names of layers; repeated ones are fine.
        role: "source" or "target", for the message.

    Raises:
        ValueError: an unknown layer, or one without a map of known size.
    """
    known = {layer.name: layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)}
    if unknown := sorted(set(layers) - set(known)):
        raise ValueError(f"Expected layers of the {role} out of {list(known)}. Received: {unknown}")
    shapes = {name: tuple(known[name].output.shape[1:]) for name in layers}
    for name, shape in shapes.items():
        if len(shape) != 3 or None in shape:
            raise ValueError(
                f"Expected layers with a map (height, width, channels) of known size. "
                f"Received: {role} layer {name!r} with {shape}"
            )
    return shapes


def grouped(source: keras.Model, target: keras.Model, pairs: Sequence[Pair]) -> list[Group]:
    """Check the pairs and group them by layer of the target, in the order of first mention.

    Raises:
        ValueError: a pair named twice, or what `spatial_shapes` raises.
    """
    if len(set(pairs)) < len(pairs):
        raise ValueError(f"Expected every pair once. Received: {sorted(p for p in set(pairs) if pairs.count(p) > 1)}")
    sources = spatial_shapes(source, [pair[0] for pair in pairs], "source")
    targets = spatial_shapes(target, [pair[1] for pair in pairs], "target")
    groups = []
    for layer, (height, width, _) in targets.items():
        members = tuple(number for number, pair in enumerate(pairs) if pair[1] == layer)
        channels = tuple(sources[pairs[number][0]][2] for number in members)
        groups.append(Group(layer, height, width, members, channels))
    return groups

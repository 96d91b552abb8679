"""Matching and meta-networks in fewer passes over memory: pairs together, squared errors by products of channels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from tlkeras.l2t.fast import derivatives
from tlkeras.l2t.fast.network import folded
from tlkeras.l2t.matching import Matching, Pair, region_weights, resized
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.state import Tensors


class _Group(NamedTuple):
    """All pairs of one layer of the target: they are computed together, their channels side by side."""

    target: str
    height: int
    width: int
    pairs: tuple[int, ...]  # their numbers in the user's list
    channels: tuple[int, ...]  # of the source, one a pair


class Goal(NamedTuple):
    """What a group of pairs is matched with, and what is constant about it."""

    maps: tf.Tensor  # (batch, places, channels); for `by_products` one channel more, of ones
    sums: tf.Tensor | None = None  # over the places, (batch, channels)
    squares: tf.Tensor | None = None  # their sums


class FastMatching(Matching):
    """A matching that computes all pairs of a layer of the target at once; goals and errors are one a group."""

    def __init__(
        self, source: keras.Model, target: keras.Model, pairs: Sequence[Pair], by_region: bool = False
    ) -> None:
        super().__init__(source, target, pairs, by_region)
        self.groups = []
        for layer, (height, width, _) in self.target_shapes.items():
            members = tuple(number for number, pair in enumerate(self.pairs) if pair[1] == layer)
            channels = tuple(self.source_shapes[self.pairs[number][0]][2] for number in members)
            self.groups.append(_Group(layer, height, width, members, channels))

    def extractor(self, source: keras.Model) -> keras.Model:
        """Return a model of the source's matched maps, its batch normalisation folded into the convolutions."""
        return folded(source, list(self.source_shapes))

    def goals(self, features: dict[str, tf.Tensor]) -> Sequence[Any]:
        """Return what each group is matched with: the source's maps, resized, their channels side by side."""
        return [self._goal(group, features) for group in self.groups]

    def _goal(self, group: _Group, features: dict[str, tf.Tensor]) -> Goal:
        parts = [resized(features[self.pairs[k][0]], group.height, group.width) for k in group.pairs]
        maps = tf.concat([tf.reshape(x, (-1, group.height * group.width, x.shape[-1])) for x in parts], axis=-1)
        return with_products(maps) if self._by_products(group) else Goal(maps)

    def _by_products(self, group: _Group) -> bool:
        return not self.by_region and self.target_shapes[group.target][2] < sum(group.channels)

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return the mean squared errors of each group, `(batch, regions, channels of all its pairs)`."""
        return [
            self._group_errors(group, x, branches, goal)
            for group, x, goal in zip(self.groups, features, goals, strict=True)
        ]

    def _group_errors(self, group: _Group, x: tf.Tensor, branches: Tensors, goal: Goal) -> tf.Tensor:
        kernel = tf.concat([branches[2 * k] for k in group.pairs], axis=1)
        bias = tf.concat([branches[2 * k + 1] for k in group.pairs], axis=0)
        x = tf.reshape(x, (-1, group.height * group.width, x.shape[-1]))
        if self._by_products(group):
            return by_products(x, kernel, bias, goal)
        regions = tf.constant(region_weights(group.height, group.width), x.dtype) if self.by_region else None
        return by_places(x, kernel, bias, goal, regions)

    def by_pair(self, errors: Tensors) -> Tensors:
        """Cut what the groups hold side by side on the last axis into pairs, in the order of the pairs."""
        parts = [
            part
            for group, x in zip(self.groups, errors, strict=True)
            for part in zip(group.pairs, tf.split(x, group.channels, axis=-1), strict=True)
        ]
        return [x for _, x in sorted(parts, key=lambda part: part[0])]

    def joined(self, parts: Tensors) -> Tensors:
        """Put the parts of the pairs side by side, the opposite of `by_pair`."""
        return [tf.concat([parts[k] for k in group.pairs], axis=-1) for group in self.groups]


class FastMetaNetworks(MetaNetworks):
    """Meta-networks of a `FastMatching`; "which" is computed for all pairs of a layer of the source at once."""

    matching: FastMatching

    def grids(self, named: dict[str, tf.Tensor], features: dict[str, tf.Tensor]) -> Tensors:
        """Return the answers to "which"; the source's maps are large, and transposed once."""
        found: dict[int, tf.Tensor] = {}
        for source, x in features.items():
            numbers = [number for number, pair in enumerate(self.matching.pairs) if pair[0] == source]
            kernel, bias = (
                tf.concat([named[f"which/{number}/{part}"] for number in numbers], -1) for part in ("kernel", "bias")
            )
            by_channel = tf.transpose(tf.reshape(x, (-1, kernel.shape[1], x.shape[-1])), (2, 0, 1))
            grids = tf.nn.softplus(tf.transpose(by_channel @ kernel, (1, 0, 2)) + bias)
            found |= dict(zip(numbers, tf.split(grids, len(numbers), axis=-1), strict=True))
        return [found[number] for number in range(len(found))]

    def weights(self, parameters: Tensors, features: dict[str, tf.Tensor], factor: tf.Tensor) -> Tensors:
        """Return the weight of every error, one tensor `(batch, regions, channels)` a group."""
        return self.matching.joined(super().weights(parameters, features, factor))


def with_products(maps: tf.Tensor) -> Goal:
    """Return what `by_products` needs of maps `(batch, places, channels)`."""
    ones = tf.ones_like(maps[..., :1])
    return Goal(tf.concat([maps, ones], -1), tf.reduce_sum(maps, 1), tf.reduce_sum(tf.square(maps), 1))


def by_places(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, goal: Goal, regions: tf.Tensor | None) -> tf.Tensor:
    """Return the mean over places of `(x @ kernel + bias - goal)**2`: map, subtract, square.

    Args:
        x: `(batch, places, inputs)`.
        kernel: `(inputs, channels)`.
        bias: `(channels,)`.
        goal: with `channels` channels.
        regions: `(regions, places)`, weights of the places in the mean of each region; None is one mean of all.

    Returns:
        `(batch, regions, channels)`.
    """
    places, channels = x.shape[1], kernel.shape[1]
    outputs = tf.reshape(x, (-1, x.shape[-1])) @ kernel + bias
    rest = tf.reshape(outputs - tf.reshape(goal.maps, (-1, channels)), (-1, places, channels))
    return derivatives.mean_square(rest) if regions is None else derivatives.weighted_squares(rest, regions)


def by_products(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, goal: Goal) -> tf.Tensor:
    """Return the same for one mean of all, from the products of channels summed over the places: no mapped features.

    With k a column of the kernel, b its bias and g its goal, the sum over places of (x k + b - g)^2 is
    k' (x'x) k - 2 k' (x'g) + 2 b k' (x'1) - 2 b g'1 + g'g + places b^2. Pays where inputs are fewer than channels.
    """
    places, inputs = x.shape[1], x.shape[-1]
    products = tf.reshape(derivatives.gram(x), (-1, inputs)) @ kernel
    crossed, total = tf.split(tf.matmul(x, goal.maps, transpose_a=True), [-1, 1], axis=-1)
    inner = tf.reshape(products, tf.shape(crossed)) - 2 * crossed + 2 * bias * total
    rest = goal.squares - 2 * bias * goal.sums
    return ((tf.reduce_sum(kernel * inner, 1) + rest) / places + tf.square(bias))[:, None]

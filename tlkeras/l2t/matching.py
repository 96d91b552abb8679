"""The distance between the features of two networks: 1x1 convolutions, bilinear resizing, squared errors by region."""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from tlkeras.l2t import distances
from tlkeras.l2t import pairs as pairing
from tlkeras.l2t.folding import folded
from tlkeras.l2t.functional import Tensors

REGIONS = 9  # of "which": a 3x3 grid over each map


class Matching:
    """The matched pairs of a source and a target, and what is constant about them.

    The squared errors of a pair are averaged over the map, or over each cell of a 3x3 grid (`by_region`), with the
    bilinear weights that a 3x3 image has when it is resized to the map. So weighting the cells is the same as
    weighting the pixels by the resized 3x3 image, and the weights never have to be resized.

    Args:
        source: functional model.
        target: functional model.
        pairs: (layer of the source, layer of the target).
        by_region: nine averages instead of one.

    Raises:
        ValueError: unknown layers, layers without a map, a pair named twice.
    """

    def __init__(
        self, source: keras.Model, target: keras.Model, pairs: Sequence[pairing.Pair], by_region: bool = False
    ) -> None:
        self.pairs = [tuple(pair) for pair in pairs]
        self.groups = pairing.grouped(source, target, self.pairs)
        self.by_region = by_region
        self.source_shapes = pairing.spatial_shapes(source, [pair[0] for pair in self.pairs], "source")
        self.target_shapes = pairing.spatial_shapes(target, [pair[1] for pair in self.pairs], "target")
        self._extractor = folded(source, list(self.source_shapes)) if self.pairs else None

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return kernel `(target channels, source channels)` and bias of each pair, uniform as in PyTorch, float64."""
        values = []
        for source, target in self.pairs:
            inputs, outputs = self.target_shapes[target][2], self.source_shapes[source][2]
            values += [generator.uniform(-1, 1, shape) / np.sqrt(inputs) for shape in ((inputs, outputs), (outputs,))]
        return values

    def source_features(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the source's maps `(batch, height, width, channels)` by layer, in inference mode, without gradient."""
        if self._extractor is None:
            return {}
        maps = tf.nest.flatten(self._extractor(images, training=False))
        return {name: tf.stop_gradient(x) for name, x in zip(self.source_shapes, maps, strict=True)}

    def goals(self, features: dict[str, tf.Tensor]) -> list[distances.Goal]:
        """Return what each group is matched with: the source's maps, resized, their channels side by side."""
        return [self._goal(group, features) for group in self.groups]

    def _goal(self, group: pairing.Group, features: dict[str, tf.Tensor]) -> distances.Goal:
        parts = [resized(features[self.pairs[k][0]], group.height, group.width) for k in group.pairs]
        maps = tf.concat([tf.reshape(x, (-1, group.height * group.width, x.shape[-1])) for x in parts], axis=-1)
        return distances.with_products(maps) if self._by_products(group) else distances.Goal(maps)

    def _by_products(self, group: pairing.Group) -> bool:
        return not self.by_region and self.target_shapes[group.target][2] < sum(group.channels)

    def errors(self, features: Tensors, branches: Tensors, goals: list[distances.Goal]) -> Tensors:
        """Return the mean squared errors of each group, `(batch, regions, channels of all its pairs)`.

        Args:
            features: the target's maps, in the order of the groups.
            branches: kernel `(target channels, source channels)` and bias of each pair's 1x1 convolution, in turn.
            goals: of `goals`.
        """
        return [
            self._group_errors(group, x, branches, goal)
            for group, x, goal in zip(self.groups, features, goals, strict=True)
        ]

    def _group_errors(self, group: pairing.Group, x: tf.Tensor, branches: Tensors, goal: distances.Goal) -> tf.Tensor:
        kernel = tf.concat([branches[2 * k] for k in group.pairs], axis=1)
        bias = tf.concat([branches[2 * k + 1] for k in group.pairs], axis=0)
        x = tf.reshape(x, (-1, group.height * group.width, x.shape[-1]))
        if self._by_products(group):
            return distances.by_products(x, kernel, bias, goal)
        regions = tf.constant(region_weights(group.height, group.width), x.dtype) if self.by_region else None
        return distances.by_places(x, kernel, bias, goal, regions)

    def split(self, grouped: Tensors) -> Tensors:
        """Cut what the groups hold side by side on the last axis into pairs, in the order of the pairs."""
        parts = [
            part
            for group, x in zip(self.groups, grouped, strict=True)
            for part in zip(group.pairs, tf.split(x, group.channels, axis=-1), strict=True)
        ]
        return [x for _, x in sorted(parts, key=lambda part: part[0])]

    def joined(self, parts: Tensors) -> Tensors:
        """Put the parts of the pairs side by side, the opposite of `split`."""
        return [tf.concat([parts[k] for k in group.pairs], axis=-1) for group in self.groups]


def resized(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resize maps `(batch, h, w, channels)`: bilinear, half-pixel centres, no antialiasing, in the maps' own dtype."""
    h, w, channels = x.shape[1:]
    if h != height:
        x = tf.constant(interpolation(h, height), x.dtype) @ tf.reshape(x, (-1, h, w * channels))
    if w != width:
        x = tf.constant(interpolation(w, width), x.dtype) @ tf.reshape(x, (-1, w, channels))
    return tf.reshape(x, (-1, height, width, channels))


def interpolation(size: int, resized_to: int) -> np.ndarray:
    """Return the float64 matrix `(resized_to, size)` that resizes one axis: every row sums to 1."""
    centres = np.clip((np.arange(resized_to) + 0.5) * size / resized_to - 0.5, 0, size - 1)
    lower = np.floor(centres).astype(int)
    upper = np.minimum(lower + 1, size - 1)
    matrix = np.zeros((resized_to, size))
    rows = np.arange(resized_to)
    np.add.at(matrix, (rows, lower), 1 - (centres - lower))
    np.add.at(matrix, (rows, upper), centres - lower)
    return matrix


def region_weights(height: int, width: int) -> np.ndarray:
    """Return `(9, height * width)`: how much each pixel counts for each cell of a 3x3 grid, over their number."""
    return np.kron(interpolation(3, height), interpolation(3, width)).T / (height * width)

"""The distance between the features of two networks: the layers that are matched, maps made alike, squared errors."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops, tree

from tlkeras.l2t.state import Tensor, Tensors

REGIONS = 9  # of "which": a 3x3 grid over each map
Pair = tuple[str, str]  # a layer of the source, a layer of the target


class Matching:
    """The matched pairs of a source and a target, and what is constant about them.

    Each map of the target goes through a 1x1 convolution of the pair (its branch), and the source's map is resized to
    the same size. The squared errors are averaged over the map, or over each cell of a 3x3 grid (`by_region`), with the
    bilinear weights that a 3x3 image has when it is resized to the map. So weighting the cells is the same as
    weighting the pixels by the resized 3x3 image, and the weights never have to be resized.

    Args:
        source: functional model.
        target: functional model.
        pairs: (layer of the source, layer of the target).
        by_region: nine averages instead of one.

    Raises:
        ValueError: unknown layers, layers without a map of known size, a pair named twice.

    Reference: report 003, sections 2.4.2 and 4.1.1, equations 3 to 7.
    """

    def __init__(
        self, source: keras.Model, target: keras.Model, pairs: Sequence[Pair], by_region: bool = False
    ) -> None:
        self.pairs: list[Pair] = [(first, second) for first, second in pairs]
        if twice := sorted({pair for pair in self.pairs if self.pairs.count(pair) > 1}):
            raise ValueError(f"Expected every pair once. Received: {twice}")
        self.by_region = by_region
        self.source_shapes = spatial_shapes(source, [first for first, _ in self.pairs], "source")
        self.target_shapes = spatial_shapes(target, [second for _, second in self.pairs], "target")
        self._extractor = self.extractor(source) if self.pairs else None

    @property
    def names(self) -> list[str]:
        """How each pair is called in messages and logs."""
        return [f"{source} -> {target}" for source, target in self.pairs]

    def extractor(self, source: keras.Model) -> keras.Model:
        """Return a model of the source's matched maps, in the order of `source_shapes`."""
        return keras.Model(source.inputs[0], [source.get_layer(name).output for name in self.source_shapes])

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return kernel `(target channels, source channels)` and bias of each pair, uniform as in PyTorch, float64."""
        values = []
        for source, target in self.pairs:
            inputs, outputs = self.target_shapes[target][2], self.source_shapes[source][2]
            values += [generator.uniform(-1, 1, shape) / np.sqrt(inputs) for shape in ((inputs, outputs), (outputs,))]
        return values

    def source_features(self, images: Tensor) -> dict[str, Tensor]:
        """Return the source's maps `(batch, height, width, channels)` by layer, in inference mode, without gradient."""
        if self._extractor is None:
            return {}
        maps = tree.flatten(self._extractor(images, training=False))
        return {name: ops.stop_gradient(x) for name, x in zip(self.source_shapes, maps, strict=True)}

    def goals(self, features: dict[str, Tensor]) -> Sequence[Any]:
        """Return what each pair's mapped features should be: the source's map in the size of the target's."""
        return [resized(features[source], *self.target_shapes[target][:2]) for source, target in self.pairs]

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return the mean squared errors of each pair, `(batch, regions, source channels)`.

        Args:
            features: the target's maps, in the order of `target_shapes`.
            branches: kernel `(target channels, source channels)` and bias of each pair's 1x1 convolution, in turn.
            goals: of `goals`.
        """
        maps = dict(zip(self.target_shapes, features, strict=True))
        found = []
        for number, (_, target) in enumerate(self.pairs):
            kernel, bias = branches[2 * number : 2 * number + 2]
            squares = ops.square(maps[target] @ kernel + bias - goals[number])
            if self.by_region:
                height, width, _ = self.target_shapes[target]
                regions = region_weights(height, width).reshape(REGIONS, height, width)
                weights = ops.convert_to_tensor(regions, squares.dtype)
                found.append(ops.einsum("rhw,bhwc->brc", weights, squares))
            else:
                found.append(ops.mean(squares, axis=(1, 2))[:, None])
        return found

    def by_pair(self, errors: Tensors) -> Tensors:
        """Return `errors`, or what has their shapes, one tensor a pair."""
        return errors


def spatial_shapes(model: keras.Model, layers: Sequence[str], role: str) -> dict[str, tuple[int, int, int]]:
    """Return (height, width, channels) of each layer's output, in the order of first mention.

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


def resized(x: Tensor, height: int, width: int) -> Tensor:
    """Resize maps `(batch, h, w, channels)`: bilinear, half-pixel centres, no antialiasing, in the maps' own dtype."""
    h, w, channels = x.shape[1:]
    if h != height:
        x = ops.convert_to_tensor(interpolation(h, height), x.dtype) @ ops.reshape(x, (-1, h, w * channels))
    if w != width:
        x = ops.convert_to_tensor(interpolation(w, width), x.dtype) @ ops.reshape(x, (-1, w, channels))
    return ops.reshape(x, (-1, height, width, channels))


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

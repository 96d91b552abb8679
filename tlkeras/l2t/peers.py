"""Other ways to learn from a source's features, each in the place of the report's matching: `matching=SP` and so on.

None learns by looking ahead, so that each costs about what the report's UFM does. Draws, target, augmentation, SGD and
what is recorded are those of `LearningToTransfer`; `Settings(beta=...)` is the weight of the loss. With `what=False,
where=False`, a pair's error counts as it is.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkeras.l2t.matching import Matching, Pair, spatial_shapes
from tlkeras.l2t.state import Tensor, Tensors

_SMALLEST = 1e-12  # a length that is divided by


class AttentionTransfer(Matching):
    """Attention transfer: where the squares of a map are large, averaged over its channels.

    q(x) is the map of means over the channels of x squared, as a vector of length 1. An image's error is

        mean over the places of (q(target) - q(source))**2.

    Reference: Zagoruyko and Komodakis 2017, arXiv:1612.03928, equation 2, its norm squared and averaged over the
    places as in the authors' code, whose weight of the loss is 1,000.
    """

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return nothing: the maps are compared as they are."""
        return []

    def goals(self, features: dict[str, Tensor]) -> Sequence[Any]:
        """Return the attention of the source's maps, resized, `(batch, height * width)` each."""
        return [self.attention(goal) for goal in super().goals(features)]

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return one error an image and pair, `(batch, 1, 1)`."""
        maps = dict(zip(self.target_shapes, features, strict=True))
        differences = [self.attention(maps[pair[1]]) - goal for pair, goal in zip(self.pairs, goals, strict=True)]
        return [ops.mean(ops.square(x), axis=1)[:, None, None] for x in differences]

    @staticmethod
    def attention(x: Tensor) -> Tensor:
        """Return q of maps `(batch, height, width, channels)`, `(batch, height * width)`."""
        return _of_length_one(ops.reshape(ops.mean(ops.square(x), axis=-1), (-1, x.shape[1] * x.shape[2])))


class SimilarityPreserving(Matching):
    """Similarity-preserving (SP): images that are alike for the source are to be alike for the target.

    G(x) is the matrix of products of the batch's flattened maps, each row scaled to length 1. The loss is

        1 / batch**2 * sum over all entries of (G(target) - G(source))**2.

    Reference: Tung and Mori 2019, arXiv:1907.09682, equations 1 to 4; the weight of the loss is 3,000.
    """

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return nothing: maps of any shape are compared as they are."""
        return []

    def goals(self, features: dict[str, Tensor]) -> Sequence[Any]:
        """Return G of the source's maps, `(batch, batch)` each."""
        return [_of_length_one(_products(features[source])) for source, _ in self.pairs]

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return one error an image and pair, `(batch, 1, 1)`: the mean of its row."""
        maps = dict(zip(self.target_shapes, features, strict=True))
        found = [_of_length_one(_products(maps[pair[1]])) - goal for pair, goal in zip(self.pairs, goals, strict=True)]
        return [ops.mean(ops.square(x), axis=1)[:, None, None] for x in found]


class VariationalInformation(Matching):
    """Variational information distillation (VID): how likely the source's map is, given the target's.

    mu is the target's map after three 1x1 convolutions, ReLU between them; each channel of the source has a variance,
    softplus of a number that is learned, and 5 at first. An image's error is

        mean over places and channels of ((source - mu)**2 / variance + log(variance)) / 2.

    Reference: Ahn et al. 2019, arXiv:1904.05835, equations 4 to 6 (which sum over places and channels); the mean, the
    1x1 convolutions, the first variance and a weight of 1 are those of the usual code of Tian et al., RepDistiller.
    """

    VARIANCE, FLOOR = 5.0, 1e-5

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return three kernels and the numbers of the variances of each pair, float64."""
        values = []
        for source, target in self.pairs:
            inputs, outputs = self.target_shapes[target][2], self.source_shapes[source][2]
            shapes = ((inputs, outputs), (outputs, outputs), (outputs, outputs))
            values += [generator.uniform(-1, 1, shape) / np.sqrt(shape[0]) for shape in shapes]
            values.append(np.full(outputs, np.log(np.expm1(self.VARIANCE - self.FLOOR))))
        return values

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return one error an image and pair, `(batch, 1, 1)`."""
        maps, found = dict(zip(self.target_shapes, features, strict=True)), []
        for number, (pair, goal) in enumerate(zip(self.pairs, goals, strict=True)):
            first, second, third, raw = branches[4 * number : 4 * number + 4]
            mean = ops.relu(ops.relu(maps[pair[1]] @ first) @ second) @ third
            variance = ops.softplus(raw) + self.FLOOR
            terms = (ops.square(goal - mean) / variance + ops.log(variance)) / 2
            found.append(ops.mean(terms, axis=(1, 2, 3))[:, None, None])
        return found


class SemanticCalibration(Matching):
    """Semantic calibration (SemCKD): each of the target's maps learns from the source's maps that are like it.

    A row of the matrix of products of the batch's flattened maps says what an image is like; two dense layers, ReLU
    between them, make of it a query (target) or a key (source) of length 1. An image's error of a pair is

        softmax over the source's maps of (query . key) * mean of (branch(target) - source)**2 / number of target maps.

    Args:
        source: functional model.
        target: functional model.
        pairs: each of the target's maps with each of the source's.
        by_region: False.
        most: images of the largest batch; of a smaller one, the rows are filled up with zeros.

    Reference: Chen et al. 2021, arXiv:2012.03236, equations 5 to 8; the authors' code divides by the number of target
    maps and has a weight of 400. The branch is the report's 1x1 convolution, where theirs has three with batch
    normalisation; maps are resized as everywhere here, where theirs are averaged.
    """

    def __init__(
        self,
        source: keras.Model,
        target: keras.Model,
        pairs: Sequence[Pair],
        by_region: bool = False,
        most: int = 128,
    ) -> None:
        super().__init__(source, target, pairs, by_region)
        self.most = most

    def initial_branches(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return the convolutions of the pairs, then four arrays for each map of the target, and of the source."""
        size, values = self.most // 4, super().initial_branches(generator)
        for _ in (*self.target_shapes, *self.source_shapes):
            for inputs, outputs in ((self.most, 2 * size), (2 * size, size)):
                shapes = ((inputs, outputs), (outputs,))
                values += [generator.uniform(-1, 1, shape) / np.sqrt(inputs) for shape in shapes]
        return values

    def goals(self, features: dict[str, Tensor]) -> Sequence[Any]:
        """Return the source's resized maps, a pair each, then the products of each of its maps."""
        return [*super().goals(features), *(_products(features[name]) for name in self.source_shapes)]

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return one error an image and pair, `(batch, 1, 1)`."""
        own = 2 * len(self.pairs)
        squares = super().errors(features, branches[:own], goals[: len(self.pairs)])
        layers = [branches[start : start + 4] for start in range(own, len(branches), 4)]
        rows = [*(_products(x) for x in features), *goals[len(self.pairs) :]]
        said = [self._embedded(x, *some) for x, some in zip(rows, layers, strict=True)]
        queries, keys = said[: len(features)], ops.stack(said[len(features) :], axis=1)
        targets, sources = list(self.target_shapes), list(self.source_shapes)
        attention = [ops.softmax(ops.sum(query[:, None] * keys, axis=-1)) for query in queries]  # (batch, sources)
        parts = [attention[targets.index(second)][:, sources.index(first)] for first, second in self.pairs]
        means = [ops.mean(x, axis=(1, 2)) for x in squares]
        return [(a * x / len(targets))[:, None, None] for a, x in zip(parts, means, strict=True)]

    def _embedded(self, rows: Tensor, kernel: Tensor, bias: Tensor, second: Tensor, second_bias: Tensor) -> Tensor:
        count = ops.shape(rows)[1]  # a smaller batch has zeros in the rest of its rows
        return _of_length_one(ops.relu(rows @ kernel[:count] + bias) @ second + second_bias)


class LearningWithoutForgetting(Matching):
    """Learning without forgetting (LwF): the target also answers the source's own question.

    A dense layer on the means of the target's map has the source's classes as outputs. An image's error is the
    cross-entropy of both softmaxes at temperature 2,

        - sum over the source's classes of softmax(source / 2) * log softmax(target / 2).

    Args:
        source: functional classifier with logits.
        target: functional model.
        pairs: one; any layer of the source (its logits are what is asked), and the target's map.
        by_region: False.

    Reference: Li and Hoiem 2016, arXiv:1606.09282, equations 2 to 4, weight of the loss 1. There the new network starts
    from the old one; here it is another one, as everywhere in the report.
    """

    TEMPERATURE = 2.0

    def __init__(
        self, source: keras.Model, target: keras.Model, pairs: Sequence[Pair], by_region: bool = False
    ) -> None:
        if len(pairs) != 1:
            raise ValueError(f"Expected one pair of layers. Received: {len(pairs)}")
        self.pairs, self.by_region = [(first, second) for first, second in pairs], by_region
        self.source_shapes = {pairs[0][0]: (1, 1, source.output_shape[-1])}
        self.target_shapes = spatial_shapes(target, [pairs[0][1]], "target")
        self._extractor = self.extractor(source)

    def extractor(self, source: keras.Model) -> keras.Model:
        """Return a model of the source's logits, as a map of one place."""
        return keras.Model(source.inputs[0], keras.layers.Reshape((1, 1, -1))(source.outputs[0]))

    def goals(self, features: dict[str, Tensor]) -> Sequence[Any]:
        """Return the source's answers `(batch, classes)`, which add up to 1."""
        (logits,) = features.values()
        return [ops.softmax(logits[:, 0, 0] / self.TEMPERATURE)]

    def errors(self, features: Tensors, branches: Tensors, goals: Sequence[Any]) -> Tensors:
        """Return one error an image, `(batch, 1, 1)`."""
        kernel, bias = branches
        logits = ops.mean(features[0], axis=(1, 2)) @ kernel + bias
        return [-ops.sum(goals[0] * ops.log_softmax(logits / self.TEMPERATURE), axis=-1)[:, None, None]]


PEERS: dict[str, type[Matching]] = {
    "at": AttentionTransfer,
    "sp": SimilarityPreserving,
    "vid": VariationalInformation,
    "semckd": SemanticCalibration,
    "lwf": LearningWithoutForgetting,
}


def _products(x: Tensor) -> Tensor:
    """Return the products of the flattened maps of a batch with each other, `(batch, batch)`."""
    flat = ops.reshape(x, (ops.shape(x)[0], int(np.prod(x.shape[1:]))))
    return flat @ ops.transpose(flat)


def _of_length_one(rows: Tensor) -> Tensor:
    """Return rows `(n, d)`, each scaled to length 1; zeros stay zeros."""
    return rows / ops.sqrt(ops.maximum(ops.sum(ops.square(rows), axis=-1, keepdims=True), _SMALLEST**2))

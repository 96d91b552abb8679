"""What, where and which: one dense layer a pair and question, from the source's features to weights of the errors."""

import numpy as np
from keras import ops

from tlkeras.l2t.matching import REGIONS, Matching
from tlkeras.l2t.state import Tensor, Tensors

_ONE = float(np.log(np.e - 1))  # softplus gives 1 here


class MetaNetworks:
    """The weights of the errors, per image: w of channels (what), lambda of the pair (where), gamma of pixels (which).

    "What" and "where" see the means of the source's channels; of "which", every channel sees its own map. The report
    does not say what "which" sees; this is the only input that makes it as large as its figures.

    Args:
        matching: the pairs.
        what: softmax over the source's channels; without it each weighs 1 / channels.
        where: ReLU6, one number a pair; without it 1.
        which: softplus, nine numbers a channel, on a 3x3 grid; without it 1.

    Parameters are named `what/<pair>/kernel` and so on; at first, w = 1 / channels and gamma = 1.

    Raises:
        ValueError: `which` with a matching that is not `by_region`, or the other way round.

    Reference: report 003, sections 2.4.2, 4.1.1 and 5.3 (which has the activations of what and where exchanged).
    """

    def __init__(self, matching: Matching, *, what: bool, where: bool, which: bool) -> None:
        if which != matching.by_region:
            raise ValueError(f"Expected a matching with by_region={which}. Received: by_region={matching.by_region}")
        self.matching = matching
        self.what, self.where, self.which = what, where, which
        self.names = list(self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes: dict[str, tuple[int, ...]] = {}
        for number, (source, _) in enumerate(self.matching.pairs):
            height, width, channels = self.matching.source_shapes[source]
            if self.what:
                shapes |= {f"what/{number}/kernel": (channels, channels), f"what/{number}/bias": (channels,)}
            if self.where:
                shapes |= {f"where/{number}/kernel": (channels, 1), f"where/{number}/bias": (1,)}
            if self.which:
                shapes[f"which/{number}/kernel"] = (channels, height * width, REGIONS)
                shapes[f"which/{number}/bias"] = (channels, REGIONS)
        return shapes

    def initial(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return the first values, float64: zeros, but a random kernel and 1 for where, and a gamma of 1 for which."""
        values = []
        for name, shape in self._shapes().items():
            question, _, part = name.split("/")
            if part == "bias":
                values.append(np.full(shape, {"what": 0.0, "where": 1.0, "which": _ONE}[question]))
            elif question == "where":
                values.append(generator.uniform(-1, 1, shape) / np.sqrt(shape[0]))
            else:
                values.append(np.zeros(shape))
        return values

    def answers(self, parameters: Tensors, features: dict[str, Tensor]) -> dict[str, Tensors]:
        """Return, by question that is asked, one tensor a pair.

        "what" `(batch, channels)`, sums to 1; "where" `(batch, 1)`, 0..6; "which" `(batch, channels, 9)`, above 0, the
        rows of a 3x3 grid one after the other.

        Args:
            parameters: in the order of `names`.
            features: the source's maps by layer.
        """
        named = dict(zip(self.names, parameters, strict=True))
        pooled = {name: ops.mean(x, axis=(1, 2)) for name, x in features.items()}
        found: dict[str, Tensors] = {}
        for number, (source, _) in enumerate(self.matching.pairs):
            if self.what:
                linear = pooled[source] @ named[f"what/{number}/kernel"] + named[f"what/{number}/bias"]
                found.setdefault("what", []).append(ops.softmax(linear))
            if self.where:
                linear = pooled[source] @ named[f"where/{number}/kernel"] + named[f"where/{number}/bias"]
                found.setdefault("where", []).append(ops.relu6(linear))
        return found | ({"which": self.grids(named, features)} if self.which else {})

    def grids(self, named: dict[str, Tensor], features: dict[str, Tensor]) -> Tensors:
        """Return the answers to "which"."""
        found = []
        for number, (source, _) in enumerate(self.matching.pairs):
            kernel, bias = named[f"which/{number}/kernel"], named[f"which/{number}/bias"]
            pixels = ops.reshape(features[source], (-1, kernel.shape[1], kernel.shape[0]))
            found.append(ops.softplus(ops.einsum("bpc,cpr->bcr", pixels, kernel) + bias))
        return found

    def weights(self, parameters: Tensors, features: dict[str, Tensor], factor: Tensor) -> Tensors:
        """Return the weight of every error, in the shapes of `Matching.errors`.

        Args:
            parameters: in the order of `names`.
            features: the source's maps by layer.
            factor: of every weight, a scalar of the features' dtype.
        """
        found = self.answers(parameters, features)
        weights = []
        for number, (source, _) in enumerate(self.matching.pairs):
            channels = self.matching.source_shapes[source][2]
            ones = ops.ones((ops.shape(features[source])[0], 1, channels), factor.dtype)
            weight = found["what"][number][:, None, :] if self.what else ones / channels
            weight = weight * found["where"][number][:, :, None] if self.where else weight
            weight = weight * ops.transpose(found["which"][number], (0, 2, 1)) if self.which else weight
            weights.append(weight * factor)
        return weights

"""What, where and which: one dense layer a pair and question, from the source's features to weights of the errors."""

import numpy as np
import tensorflow as tf

from tlkeras.l2t.functional import Tensors
from tlkeras.l2t.matching import REGIONS, Matching

ONE = float(np.log(np.e - 1))  # softplus gives 1 here
WHICH_INPUTS = ("channel", "pooled", "map")


class MetaNetworks:
    """The weights of the errors, per image: w of channels (what), lambda of the pair (where), gamma of pixels (which).

    Args:
        matching: the pairs.
        what: softmax over the source's channels; without it each weighs 1 / channels.
        where: ReLU6, one number a pair; without it 1.
        which: softplus, nine numbers a channel, on a 3x3 grid; without it 1.
        which_input: what decides about a channel's pixels: its own map ("channel"), all channels' means ("pooled"), or
            all channels' maps ("map"). The report does not say; "channel" is the only one of its figures' size.

    Parameters are named `what/<pair>/kernel` and so on; at first, w = 1 / channels and gamma = 1.

    Raises:
        ValueError: unknown `which_input`, or `which` with a matching that is not `by_region`.

    Reference: report 003, sections 2.4.2, 4.1.1 and 5.3 (which has the activations of what and where exchanged).
    """

    def __init__(
        self, matching: Matching, *, what: bool, where: bool, which: bool, which_input: str = "channel"
    ) -> None:
        if which_input not in WHICH_INPUTS:
            raise ValueError(f"Expected which_input out of {WHICH_INPUTS}. Received: which_input={which_input!r}")
        if which != matching.by_region:
            raise ValueError(f"Expected a matching with by_region={which}. Received: {matching.by_region}")
        self.matching, self.which_input = matching, which_input
        self.what, self.where, self.which = what, where, which
        self.names = list(self._shapes())

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        shapes = {}
        for number, (source, _) in enumerate(self.matching.pairs):
            height, width, channels = self.matching.source_shapes[source]
            sizes = {"channel": height * width, "pooled": channels, "map": height * width * channels}
            questions = {
                "what": (self.what, (channels, channels), (channels,)),
                "where": (self.where, (channels, 1), (1,)),
                "which": (self.which, (channels, sizes[self.which_input], REGIONS), (channels, REGIONS)),
            }
            for question, (asked, kernel, bias) in questions.items():
                if asked:
                    shapes |= {f"{question}/{number}/kernel": kernel, f"{question}/{number}/bias": bias}
        return shapes

    def initial(self, generator: np.random.Generator) -> list[np.ndarray]:
        """Return the first values, float64: zeros, but a random kernel and 1 for where, and a gamma of 1 for which."""
        values = []
        for name, shape in self._shapes().items():
            bias = name.endswith("bias")
            if name.startswith("where") and not bias:
                values.append(generator.uniform(-1, 1, shape) / np.sqrt(shape[0]))
            else:
                first = {"what": 0.0, "where": 1.0, "which": ONE}[name.split("/")[0]]
                values.append(np.full(shape, first if bias else 0.0))
        return values

    def answers(self, parameters: Tensors, features: dict[str, tf.Tensor]) -> dict[str, Tensors]:
        """Return, by question that is asked, one tensor a pair.

        "what" `(batch, channels)`, sums to 1; "where" `(batch, 1)`, 0..6; "which" `(batch, channels, 9)`, above 0, the
        rows of a 3x3 grid one after the other.

        Args:
            parameters: in the order of `names`.
            features: the source's maps by layer.
        """
        by_name = dict(zip(self.names, parameters, strict=True))
        pooled = {name: tf.reduce_mean(x, axis=(1, 2)) for name, x in features.items()}
        found: dict[str, Tensors] = {question: [] for question in ("what", "where") if getattr(self, question)}
        for number, (source, _) in enumerate(self.matching.pairs):
            for question, values in found.items():
                kernel, bias = by_name[f"{question}/{number}/kernel"], by_name[f"{question}/{number}/bias"]
                answer = tf.nn.softmax if question == "what" else tf.nn.relu6
                values.append(answer(pooled[source] @ kernel + bias))
        return found | ({"which": self._grids(by_name, features)} if self.which else {})

    def _grids(self, by_name: dict[str, tf.Tensor], features: dict[str, tf.Tensor]) -> Tensors:
        """Return the answers to "which", those of a source's pairs computed together: its maps are large."""
        found = {}
        for source, x in features.items():
            numbers = [number for number, pair in enumerate(self.matching.pairs) if pair[0] == source]
            kernel, bias = (
                tf.concat([by_name[f"which/{number}/{part}"] for number in numbers], -1) for part in ("kernel", "bias")
            )
            grids = tf.nn.softplus(self._regions(x, kernel) + bias)
            found |= dict(zip(numbers, tf.split(grids, len(numbers), axis=-1), strict=True))
        return [found[number] for number in range(len(found))]

    def _regions(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        channels = x.shape[-1]
        if self.which_input == "channel":  # the maps are transposed once, for the product and for its derivative
            by_channel = tf.transpose(tf.reshape(x, (-1, kernel.shape[1], channels)), (2, 0, 1))
            return tf.transpose(by_channel @ kernel, (1, 0, 2))
        flat = tf.reduce_mean(x, (1, 2)) if self.which_input == "pooled" else tf.reshape(x, (-1, kernel.shape[1]))
        return tf.einsum("bi,cio->bco", flat, kernel)

    def weights(self, parameters: Tensors, features: dict[str, tf.Tensor], factor: tf.Tensor) -> Tensors:
        """Return the weight of every error, one tensor `(batch, regions, channels)` a group.

        Args:
            parameters: in the order of `names`.
            features: the source's maps by layer.
            factor: of every weight, a scalar of the features' dtype.
        """
        found = self.answers(parameters, features)
        parts = []
        for number, (source, _) in enumerate(self.matching.pairs):
            channels = self.matching.source_shapes[source][2]
            ones = tf.ones((tf.shape(features[source])[0], 1, channels), factor.dtype)
            part = found["what"][number][:, None, :] if self.what else ones / channels
            part = part * found["where"][number][:, :, None] if self.where else part
            part = part * tf.transpose(found["which"][number], (0, 2, 1)) if self.which else part
            parts.append(part * factor)
        return self.matching.joined(parts)

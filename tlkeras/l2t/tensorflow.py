"""Learning to transfer by TensorFlow: the variables of a training, and one compiled iteration."""

from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from tlkeras.l2t.algorithm import iteration
from tlkeras.l2t.fast import FastMatching, FastMetaNetworks, FastNetwork
from tlkeras.l2t.matching import Matching
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.network import Network
from tlkeras.l2t.plan import NonFiniteLossError, culprits
from tlkeras.l2t.state import Parts, State, check_stored, named
from tlkeras.transfer.batches import Augment


def kinds(fast: bool) -> tuple[type[Network], type[Matching], type[MetaNetworks]]:
    """Return the classes of network, matching and meta-networks."""
    return (FastNetwork, FastMatching, FastMetaNetworks) if fast else (Network, Matching, MetaNetworks)


class Learner:
    """Variables of the target (the user's own), its branches, the meta-networks and both optimisers; one iteration.

    Args:
        parts: networks and settings.
        seed: of the first values of branches and meta-networks.
    """

    def __init__(self, parts: Parts, seed: int) -> None:
        self.parts = parts
        target = parts.network.trainable
        self.dtype = tf.as_dtype(target[0].dtype)
        generator = np.random.default_rng(seed)
        branches = [self._variable(value) for value in parts.matching.initial_branches(generator)]
        meta = [self._variable(value) for value in parts.meta.initial(generator)]
        velocities, first, second = (
            [self._variable(np.zeros(v.shape)) for v in group] for group in (target + branches, meta, meta)
        )
        self.variables = State(target + branches, velocities, parts.network.state, meta, (first, second))
        self.steps = tf.Variable(0, dtype=tf.int64)
        self._compiled: dict[Augment | None, Callable] = {}

    def _variable(self, value: np.ndarray) -> tf.Variable:
        return tf.Variable(value, dtype=self.dtype)

    def named_variables(self) -> dict[str, tf.Variable | keras.Variable]:
        """Return every variable by a name that is the same in each process."""
        return {"steps": self.steps} | named(self.variables)

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Give every variable the value of its name.

        Raises:
            WeightFileError: other names or shapes; nothing was changed.
        """
        variables = self.named_variables()
        check_stored(arrays, variables)
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def train(
        self, images: np.ndarray, labels: np.ndarray, rate: float, augment: Augment | None, seed: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Do one iteration and return its losses, see `algorithm.iteration`.

        Raises:
            NonFiniteLossError: a loss or a new weight is not finite; nothing was changed.
        """
        if augment not in self._compiled:
            self._compiled[augment] = self._compile(augment)
        losses, sound = self._compiled[augment](
            tf.constant(images, self.dtype),
            tf.constant(labels, tf.int32),
            tf.constant(rate, self.dtype),
            tf.constant(seed, tf.int32),
        )
        losses = {name: value.numpy() for name, value in losses.items()}
        if not sound:
            raise NonFiniteLossError(f"Expected finite losses and weights. Received: {culprits(self.parts, losses)}")
        return losses

    def _compile(self, augment: Augment | None) -> Callable:
        shape = self.parts.network.input_shape
        signature = [
            tf.TensorSpec((None, *shape[1:]), self.dtype),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((), self.dtype),
            tf.TensorSpec((2,), tf.int32),
        ]

        @tf.function(autograph=False, input_signature=signature)
        def train(images, labels, rate, seed):
            if augment is not None:
                images = tf.cast(augment(tf.cast(images, tf.float32), seed), self.dtype)
            old = tf.nest.map_structure(tf.convert_to_tensor, self.variables)
            out = iteration(self.parts, old, images, labels, rate, self.steps + 1)
            sums = [tf.reduce_sum(x) for x in (*out.losses.values(), *out.new.weights, *out.new.meta)]
            sound = tf.math.is_finite(tf.add_n(sums))
            tf.cond(sound, lambda: self._assign(out.new), tf.no_op)
            return out.losses, sound

        return train

    def _assign(self, new: State) -> tf.Operation:
        self.steps.assign_add(1)
        for variable, value in zip(tf.nest.flatten(self.variables), tf.nest.flatten(new), strict=True):
            variable.assign(value)
        return tf.no_op()

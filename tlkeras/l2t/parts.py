"""What an iteration is made of: settings, networks, state and batch, and the losses that all its steps share."""

from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from tlkeras.l2t.distances import Goal
from tlkeras.l2t.functional import Network, Tensors
from tlkeras.l2t.matching import Matching
from tlkeras.l2t.metanets import MetaNetworks

SMALLEST = 1e-30  # a probability whose logarithm is taken


@dataclass(frozen=True)
class Settings:
    """Numbers of the training; the defaults are the report's."""

    beta: float = 0.5  # section 5.4; in the lookahead too, as in the official code
    lookahead: int = 2  # section 5.4, T of Algorithm 1
    momentum: float = 0.9  # section 5.4
    weight_decay: float = 1e-4  # section 5.4, of the target and its branches
    meta_rate: float = 1e-4  # section 5.4, Adam
    meta_decay: float = 1e-4  # official code: L2, in the gradient
    double_update: bool = True  # official code: the first lookahead step leaves its mark on the moving statistics

    def __post_init__(self) -> None:
        if self.lookahead < 0:
            raise ValueError(f"Expected 0 or more lookahead steps. Received: lookahead={self.lookahead}")


class Parts(NamedTuple):
    """What an iteration computes with."""

    network: Network
    matching: Matching
    meta: MetaNetworks
    logits: bool  # whether the target's outputs are logits, not probabilities
    settings: Settings


class State(NamedTuple):
    """Everything that an iteration changes."""

    weights: Tensors  # of the target, then kernel and bias of each branch
    velocities: Tensors
    state: Tensors  # the target's moving statistics
    meta: Tensors
    moments: tuple[Tensors, Tensors]


class Batch(NamedTuple):
    """A batch, and what stays the same during the iteration."""

    images: tf.Tensor
    labels: tf.Tensor
    goals: list[Goal]  # of `Matching.goals`


def run(parts: Parts, weights: Tensors, state: Tensors, batch: Batch) -> tuple[Tensors, tf.Tensor, Tensors]:
    """Run target and branches in training mode; return errors by group, outputs and the new moving statistics."""
    own = len(parts.network.trainable)
    features, outputs, state = parts.network(weights[:own], state, batch.images)
    return parts.matching.errors(features, weights[own:], batch.goals), outputs, state


def matching_loss(weighting: Tensors, errors: Tensors) -> tf.Tensor:
    """Return the sum of the weighted errors, beta included."""
    return tf.add_n([tf.reduce_sum(weight * error) for weight, error in zip(weighting, errors, strict=True)])


def cross_entropy(outputs: tf.Tensor, labels: tf.Tensor, logits: bool) -> tf.Tensor:
    """Return the mean cross-entropy (nats) of logits or probabilities `(batch, classes)`."""
    logarithms = tf.nn.log_softmax(outputs) if logits else tf.math.log(tf.maximum(outputs, SMALLEST))
    chosen = tf.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return -tf.reduce_mean(tf.reduce_sum(chosen * logarithms, axis=-1))

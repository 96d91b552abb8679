"""One iteration of Algorithm 1 as a pure function: a training step, then a step of the meta-networks."""

from typing import NamedTuple

import tensorflow as tf

from tlkeras.l2t.functional import Tensors
from tlkeras.l2t.lookahead import ZERO, lookahead
from tlkeras.l2t.optimizers import adam, sgd
from tlkeras.l2t.parts import Batch, Parts, State, cross_entropy, matching_loss, run


class Outcome(NamedTuple):
    """What an iteration leads to, and what it saw on the way."""

    new: State
    losses: dict[str, tf.Tensor]  # see `iteration`
    gradients: Tensors  # of the training step
    state: Tensors  # moving statistics after the training step alone
    meta_gradients: Tensors = ()  # without weight decay
    path: list[tuple[Tensors, Tensors]] = ()  # weights and velocities after each lookahead step
    final_gradients: Tensors = ()  # of the loss after the lookahead


def iteration(
    parts: Parts, old: State, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
) -> Outcome:
    """Return what one iteration makes of `old`: a training step alone, where there are no meta-networks.

    The lookahead leaves no trace in the weights and velocities: they are rolled back.

    Args:
        parts: networks and settings.
        old: the state before.
        images: `(batch, height, width, channels)`, as both networks take them.
        labels: `(batch,)` int32.
        rate: learning rate of the target, a scalar of the weights' dtype.
        step: number of the iteration, from 1 up.

    Returns:
        The new state and the facts. Losses: "cross_entropy"; "matching" `(pairs,)`, times beta; "accuracy"; with
        meta-networks also "lookahead" `(steps,)`, the matching loss before each step, "before" and "after", the
        cross-entropy around the last step.

    Reference: report 003, Algorithm 1; where it differs, Jang et al. 2019, arXiv:1905.05901, and their code.
    """
    features = parts.matching.source_features(images)
    batch = Batch(images, labels, parts.matching.goals(features))
    factor = parts.settings.beta / tf.cast(tf.shape(images)[0], rate.dtype)
    with tf.GradientTape() as phi:
        phi.watch(old.meta)
        weighting = parts.meta.weights(old.meta, features, factor)
    losses, gradients, state = _training_gradients(parts, old, batch, weighting)
    settings = parts.settings
    weights, velocities = sgd(
        old.weights, old.velocities, gradients, rate=rate, momentum=settings.momentum, decay=settings.weight_decay
    )
    new = old._replace(weights=weights, velocities=velocities, state=state)
    if not old.meta:
        return Outcome(new, losses, gradients, state)
    ahead = lookahead(parts, new, batch, weighting, rate)
    found = phi.gradient(weighting, old.meta, output_gradients=ahead.to_weighting, unconnected_gradients=ZERO)
    meta, moments = adam(old.meta, old.moments, found, step, rate=settings.meta_rate, decay=settings.meta_decay)
    new = new._replace(state=ahead.state if settings.double_update else state, meta=meta, moments=moments)
    return Outcome(new, losses | ahead.losses, gradients, state, found, ahead.path, ahead.final_gradients)


def _training_gradients(
    parts: Parts, old: State, batch: Batch, weighting: Tensors
) -> tuple[dict[str, tf.Tensor], Tensors, Tensors]:
    with tf.GradientTape() as tape:
        tape.watch(old.weights)
        errors, outputs, state = run(parts, old.weights, old.state, batch)
        entropy = cross_entropy(outputs, batch.labels, parts.logits)
        total = entropy + matching_loss(weighting, errors) if weighting else entropy
    gradients = tape.gradient(total, old.weights, unconnected_gradients=ZERO)
    by_pair = parts.matching.split([weight * error for weight, error in zip(weighting, errors, strict=True)])
    matching = tf.stack([tf.reduce_sum(part) for part in by_pair]) if by_pair else tf.zeros(0, entropy.dtype)
    hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), batch.labels)
    accuracy = tf.reduce_mean(tf.cast(hits, entropy.dtype))
    return {"cross_entropy": entropy, "matching": matching, "accuracy": accuracy}, gradients, state

"""How the loss after a few steps depends on the weights of the matching: exact reverse mode through those steps.

The steps are on the matching loss, then one on the cross-entropy; J is the cross-entropy after them, all on one batch.
With

    velocity' = m * velocity + gradient(weights) + d * weights,    weights' = weights - rate * velocity'

and adjoints (a, b) of (weights', velocity'), let c = a - b / rate. A step gives -rate * c . (d gradient / d weighting),
and the adjoints of (weights, velocity) are (a - rate * d * c - rate * H c, -rate * m * c), H being the Hessian of the
step's loss. So from step to step, back in time, c becomes (1 + m - rate * d) * c - rate * H c - m * (the c before).
The first step needs no H: what it starts from does not depend on the weighting.

Reference: Franceschi et al. 2017, arXiv:1703.01785 (Reverse-HG); report 003, Algorithm 1.
"""

from typing import NamedTuple

import tensorflow as tf

from tlkeras.l2t.functional import Tensors
from tlkeras.l2t.optimizers import sgd
from tlkeras.l2t.parts import Batch, Parts, State, cross_entropy, matching_loss, run

ZERO = tf.UnconnectedGradients.ZERO


class Ahead(NamedTuple):
    """What the lookahead found."""

    losses: dict[str, tf.Tensor]
    to_weighting: Tensors  # dJ / d weighting
    state: Tensors  # moving statistics after the first step
    path: list[tuple[Tensors, Tensors]]  # weights and velocities after each step
    final_gradients: Tensors  # dJ / d weights after the last step


class _Step(NamedTuple):
    """A recorded step, whose gradient can be differentiated once more."""

    tape: tf.GradientTape
    weights: Tensors
    gradients: Tensors
    loss: tf.Tensor
    state: Tensors


def lookahead(parts: Parts, start: State, batch: Batch, weighting: Tensors, rate: tf.Tensor) -> Ahead:
    """Take the steps from `start`, which stays as it is, and go back through them.

    Args:
        parts: networks and settings.
        start: after the training step.
        batch: of the training step.
        weighting: weight of every error, see `MetaNetworks.weights`.
        rate: learning rate of the target.
    """
    weights, velocities, state = start.weights, start.velocities, start.state
    steps, path = [], []
    for number in range(parts.settings.lookahead + 1):
        on_matching = number < parts.settings.lookahead
        steps.append(_step(parts, weights, state, batch, weighting if on_matching else None, first=number == 0))
        weights, velocities = _moved(parts, weights, velocities, steps[-1].gradients, rate)
        path.append((weights, velocities))
        state = steps[-1].state
    with tf.GradientTape() as tape:
        tape.watch(weights)
        final = cross_entropy(run(parts, weights, state, batch)[1], batch.labels, parts.logits)
    final_gradients = tape.gradient(final, weights, unconnected_gradients=ZERO)
    ahead = tf.stack([step.loss for step in steps[:-1]]) if steps[1:] else tf.zeros(0, final.dtype)
    losses = {"lookahead": ahead, "before": steps[-1].loss, "after": final}
    to_weighting = _back(parts, steps, final_gradients, weighting, rate)
    return Ahead(losses, to_weighting, steps[0].state, path, final_gradients)


def _step(
    parts: Parts, weights: Tensors, state: Tensors, batch: Batch, weighting: Tensors | None, first: bool
) -> _Step:
    """Record a step on the matching loss, or, without weighting, on the cross-entropy."""
    with tf.GradientTape() as again:
        again.watch((weighting or []) + ([] if first else weights))
        with tf.GradientTape() as tape:
            tape.watch(weights)
            errors, outputs, state = run(parts, weights, state, batch)
            entropy = None if weighting else cross_entropy(outputs, batch.labels, parts.logits)
            loss = matching_loss(weighting, errors) if weighting else entropy
        # Zeros where the loss does not reach: the classifier still follows its momentum and its decay.
        gradients = tape.gradient(loss, weights, unconnected_gradients=ZERO)
    return _Step(again, weights, gradients, loss, state)


def _moved(
    parts: Parts, weights: Tensors, velocities: Tensors, gradients: Tensors, rate: tf.Tensor
) -> tuple[Tensors, Tensors]:
    settings = parts.settings
    return sgd(weights, velocities, gradients, rate=rate, momentum=settings.momentum, decay=settings.weight_decay)


def _back(parts: Parts, steps: list[_Step], final_gradients: Tensors, weighting: Tensors, rate: tf.Tensor) -> Tensors:
    """Return dJ / d weighting."""
    settings = parts.settings
    along, before = final_gradients, None
    to_weighting = [tf.zeros_like(x) for x in weighting]
    for number, step in reversed(list(enumerate(steps))):
        sources = [] if number == 0 else step.weights
        on_matching = number < settings.lookahead
        found = step.tape.gradient(
            step.gradients, sources + (weighting if on_matching else []), along, unconnected_gradients=ZERO
        )
        if on_matching:
            to_weighting = [a - rate * b for a, b in zip(to_weighting, found[len(sources) :], strict=True)]
        if number:
            kept = 1 + settings.momentum - rate * settings.weight_decay
            terms = [[kept * c, -rate * h] for c, h in zip(along, found[: len(sources)], strict=True)]
            if before is not None:
                terms = [[*some, -settings.momentum * c] for some, c in zip(terms, before, strict=True)]
            along, before = [tf.add_n(some) for some in terms], along
    return to_weighting

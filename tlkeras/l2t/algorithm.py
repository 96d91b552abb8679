"""Algorithm 1 of report 003, as a pure function.

     3  sample a batch
     4  update theta so that L_total(theta, phi) gets smaller
     5  theta_0 <- theta
     6  for t = 0 to T - 1:
     7      theta_{t+1} <- theta_t - rate * gradient of L_wfm(theta_t, phi)
     9  theta_{T+1} <- theta_T - rate * gradient of L_org(theta_T)
    10  update phi by the gradient of L_org(theta_{T+1}) for phi

theta: the weights of the target and of the branches; phi: those of the meta-networks. L_wfm: the matching loss,
weighted by what the meta-networks say; L_org: the cross-entropy; L_total: their sum. The numbers of the lines stand in
the comments.

Where the algorithm leaves something open, or the official code differs from it, the code is followed: the steps of
lines 4, 7 and 9 are SGD with momentum and weight decay, lines 7 and 9 go on with the velocities of line 4, beta is part
of L_wfm everywhere, and line 10 is Adam.

Reference: report 003, Algorithm 1; Jang et al. 2019, arXiv:1905.05901, and their code.
"""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from tlkeras.l2t.plan import ADAM_DECAYS, ADAM_EPSILON, SMALLEST, Settings
from tlkeras.l2t.state import Ahead, Batch, Outcome, Parts, State, Tensors

_ZERO = tf.UnconnectedGradients.ZERO


class _Step(NamedTuple):
    """A step of the lookahead, recorded so that its gradient can be differentiated once more."""

    tape: tf.GradientTape
    gradients: Tensors
    loss: tf.Tensor
    statistics: Tensors
    weights: Tensors  # that the way back goes on to; none for the first step
    weighting: Tensors  # of its loss; none for the cross-entropy


def iteration(
    parts: Parts, old: State, images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor, step: tf.Tensor
) -> Outcome:
    """Return what one iteration makes of `old`: a training step alone, where no meta-networks learn.

    The lookahead leaves no trace in the weights and velocities: only copies of them move.

    Args:
        parts: networks and settings.
        old: the state before.
        images: `(batch, height, width, channels)`, as both networks take them.
        labels: `(batch,)` int32.
        rate: learning rate of the target, a scalar of the weights' dtype.
        step: number of the iteration, from 1 up.

    Returns:
        The new state and the facts. Losses: "cross_entropy"; "matching" `(pairs,)`, times beta; "accuracy"; with
        meta-networks also "lookahead" `(T,)`, the matching loss before each step, "before" and "after", the
        cross-entropy before and after the step of line 9.
    """
    settings = parts.settings
    features = parts.matching.source_features(images)
    batch = Batch(images, labels, parts.matching.goals(features))
    factor = settings.beta / tf.cast(tf.shape(images)[0], rate.dtype)
    with tf.GradientTape() as phi:
        phi.watch(old.meta)
        weighting = parts.meta.weights(old.meta, features, factor)
    losses, gradients, statistics = _training_gradients(parts, old, batch, weighting)
    weights, velocities = sgd(old.weights, old.velocities, gradients, rate, settings)  # line 4
    new = old._replace(weights=weights, velocities=velocities, statistics=statistics)
    if not (old.meta and settings.meta_rate):
        return Outcome(new, losses, gradients, statistics)
    ahead = lookahead(parts, new, batch, weighting, rate)  # lines 5 to 9
    to_phi = phi.gradient(weighting, old.meta, output_gradients=ahead.to_weighting)
    meta, moments = adam(old.meta, old.moments, to_phi, step, settings)  # line 10
    kept = ahead.statistics if settings.double_update else statistics
    new = new._replace(statistics=kept, meta=meta, moments=moments)
    return Outcome(new, losses | ahead.losses, gradients, statistics, to_phi, ahead)


def _training_gradients(
    parts: Parts, old: State, batch: Batch, weighting: Tensors
) -> tuple[dict[str, tf.Tensor], Tensors, Tensors]:
    """Return the losses of line 4, the gradient of L_total for theta, and the new moving statistics."""
    with tf.GradientTape() as tape:
        tape.watch(old.weights)
        errors, outputs, statistics = forward(parts, old.weights, old.statistics, batch)
        entropy = cross_entropy(outputs, batch.labels, parts.logits)
        total = entropy + matching_loss(weighting, errors) if weighting else entropy
    gradients = tape.gradient(total, old.weights, unconnected_gradients=_ZERO)
    by_pair = parts.matching.by_pair([weight * error for weight, error in zip(weighting, errors, strict=True)])
    matching = tf.stack([tf.reduce_sum(part) for part in by_pair]) if by_pair else tf.zeros(0, entropy.dtype)
    hits = tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), batch.labels)
    accuracy = tf.reduce_mean(tf.cast(hits, entropy.dtype))
    return {"cross_entropy": entropy, "matching": matching, "accuracy": accuracy}, gradients, statistics


def lookahead(parts: Parts, start: State, batch: Batch, weighting: Tensors, rate: tf.Tensor) -> Ahead:
    """Take the steps of lines 5 to 9 from `start`, which stays as it is, and go back through them.

    Args:
        parts: networks and settings.
        start: after the training step.
        batch: of the training step.
        weighting: weight of every error, see `MetaNetworks.weights`.
        rate: learning rate of the target.
    """
    weights, velocities, statistics = start.weights, start.velocities, start.statistics  # line 5
    steps: list[_Step] = []
    path = []
    for matched in [weighting] * parts.settings.lookahead + [[]]:  # lines 6 and 7, then 9
        steps.append(_step(parts, weights, statistics, batch, matched, first=not steps))
        weights, velocities = sgd(weights, velocities, steps[-1].gradients, rate, parts.settings)
        path.append((weights, velocities))
        statistics = steps[-1].statistics
    with tf.GradientTape() as tape:
        tape.watch(weights)
        final = cross_entropy(forward(parts, weights, statistics, batch)[1], batch.labels, parts.logits)
    final_gradients = tape.gradient(final, weights, unconnected_gradients=_ZERO)
    matching = tf.stack([step.loss for step in steps[:-1]]) if steps[1:] else tf.zeros(0, final.dtype)
    losses = {"lookahead": matching, "before": steps[-1].loss, "after": final}
    to_weighting = _back(steps, final_gradients, weighting, rate, parts.settings)
    return Ahead(losses, to_weighting, steps[0].statistics, path, final_gradients)


def _step(
    parts: Parts, weights: Tensors, statistics: Tensors, batch: Batch, weighting: Tensors, *, first: bool
) -> _Step:
    """Record the gradient of L_wfm or, without a weighting, of L_org."""
    sources = [] if first else weights
    with tf.GradientTape() as again:
        again.watch(weighting + sources)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            errors, outputs, statistics = forward(parts, weights, statistics, batch)
            loss = matching_loss(weighting, errors) if weighting else cross_entropy(outputs, batch.labels, parts.logits)
        # Zeros where the loss does not reach: the classifier still follows its momentum and its decay.
        gradients = tape.gradient(loss, weights, unconnected_gradients=_ZERO)
    return _Step(again, gradients, loss, statistics, sources, weighting)


def _back(
    steps: Sequence[_Step], final_gradients: Tensors, weighting: Tensors, rate: tf.Tensor, settings: Settings
) -> Tensors:
    """Return d L_org(theta_{T+1}) / d weighting: exact reverse mode through the steps of the lookahead.

    With v the velocity, m the momentum, d the decay and g the gradient of a step's loss, the step is

        v' = m * v + g(theta) + d * theta,    theta' = theta - rate * v'.

    With adjoints (a, b) of (theta', v'), let c = a - b / rate. The step gives -rate * c . (dg / d weighting), and the
    adjoints of (theta, v) are (a - rate * d * c - rate * H c, -rate * m * c), H being the Hessian of the step's loss.
    So from step to step, back in time, c becomes (1 + m - rate * d) * c - rate * H c - m * (the c before).
    The first step needs no H: what it starts from does not depend on the weighting.

    Reference: Franceschi et al. 2017, arXiv:1703.01785 (Reverse-HG).
    """
    along, before = final_gradients, None  # c of a step, and of the step after it in time
    to_weighting = [tf.zeros_like(x) for x in weighting]
    for step in reversed(steps):
        products = step.tape.gradient(
            step.gradients, step.weights + step.weighting, output_gradients=along, unconnected_gradients=_ZERO
        )
        hessian, mixed = products[: len(step.weights)], products[len(step.weights) :]
        if step.weighting:
            to_weighting = [total - rate * part for total, part in zip(to_weighting, mixed, strict=True)]
        if step.weights:
            kept = 1 + settings.momentum - rate * settings.weight_decay
            terms = [[kept * c, -rate * h] for c, h in zip(along, hessian, strict=True)]
            if before is not None:
                terms = [[*some, -settings.momentum * c] for some, c in zip(terms, before, strict=True)]
            along, before = [tf.add_n(some) for some in terms], along
    return to_weighting


def sgd(
    weights: Tensors, velocities: Tensors, gradients: Tensors, rate: tf.Tensor, settings: Settings
) -> tuple[Tensors, Tensors]:
    """Return weights and velocities after a step of SGD with momentum and L2 decay.

    velocity = momentum * velocity + gradient + decay * weight; weight -= rate * velocity. Unlike in Keras, the rate is
    not part of the velocity, so a change of it acts at once, on what was gathered before, too.
    """
    momentum, decay = settings.momentum, settings.weight_decay
    velocities = [
        tf.add_n([momentum * v, g, decay * w]) for w, v, g in zip(weights, velocities, gradients, strict=True)
    ]
    return [w - rate * v for w, v in zip(weights, velocities, strict=True)], velocities


def adam(
    weights: Tensors, moments: tuple[Tensors, Tensors], gradients: Tensors, step: tf.Tensor, settings: Settings
) -> tuple[Tensors, tuple[Tensors, Tensors]]:
    """Return weights and both moments after a step of Adam with L2 decay: the decay is part of the gradient.

    Unlike in Keras, epsilon is added after the correction of the second moment.

    Args:
        weights: to be changed.
        moments: running means of the gradients and of their squares.
        gradients: without the decay.
        step: number of this step, from 1 up.
        settings: rate and decay.
    """
    first_decay, second_decay = ADAM_DECAYS
    gradients = [g + settings.meta_decay * w for g, w in zip(gradients, weights, strict=True)]
    first = [first_decay * m + (1 - first_decay) * g for m, g in zip(moments[0], gradients, strict=True)]
    second = [second_decay * m + (1 - second_decay) * tf.square(g) for m, g in zip(moments[1], gradients, strict=True)]
    counted = tf.cast(step, tf.float64)  # in float32, 1 - 0.999 would lose four digits
    first_share, second_share = (tf.cast(1 - d**counted, first[0].dtype) for d in (first_decay, second_decay))
    changed = [
        w - settings.meta_rate / first_share * m / (tf.sqrt(v) / tf.sqrt(second_share) + ADAM_EPSILON)
        for w, m, v in zip(weights, first, second, strict=True)
    ]
    return changed, (first, second)


def forward(parts: Parts, weights: Tensors, statistics: Tensors, batch: Batch) -> tuple[Tensors, tf.Tensor, Tensors]:
    """Run target and branches in training mode; return errors, outputs and the new moving statistics."""
    own = len(parts.network.trainable)
    features, outputs, statistics = parts.network(weights[:own], statistics, batch.images)
    return parts.matching.errors(features, weights[own:], batch.goals), outputs, statistics


def matching_loss(weighting: Tensors, errors: Tensors) -> tf.Tensor:
    """Return L_wfm: the sum of the weighted errors, beta included."""
    return tf.add_n([tf.reduce_sum(weight * error) for weight, error in zip(weighting, errors, strict=True)])


def cross_entropy(outputs: tf.Tensor, labels: tf.Tensor, logits: bool) -> tf.Tensor:
    """Return L_org: the mean cross-entropy (nats) of logits or probabilities `(batch, classes)`."""
    logarithms = tf.nn.log_softmax(outputs) if logits else tf.math.log(tf.maximum(outputs, SMALLEST))
    chosen = tf.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return -tf.reduce_mean(tf.reduce_sum(chosen * logarithms, axis=-1))

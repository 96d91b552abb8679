"""The two update rules as pure functions; Keras' differ in where the rate, the decay and epsilon stand."""

import tensorflow as tf

from tlkeras.l2t.functional import Tensors

ADAM_DECAYS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # Kingma and Ba 2015, arXiv:1412.6980


def sgd(
    weights: Tensors, velocities: Tensors, gradients: Tensors, *, rate: tf.Tensor, momentum: float, decay: float
) -> tuple[Tensors, Tensors]:
    """Return weights and velocities after a step of SGD with momentum and L2 decay.

    velocity = momentum * velocity + gradient + decay * weight; weight -= rate * velocity. The rate is not part of the
    velocity, so a change of it acts at once, on what was gathered before, too.
    """
    velocities = [
        tf.add_n([momentum * v, g, decay * w]) for w, v, g in zip(weights, velocities, gradients, strict=True)
    ]
    return [w - rate * v for w, v in zip(weights, velocities, strict=True)], velocities


def adam(
    weights: Tensors,
    moments: tuple[Tensors, Tensors],
    gradients: Tensors,
    step: tf.Tensor,
    *,
    rate: float,
    decay: float,
) -> tuple[Tensors, tuple[Tensors, Tensors]]:
    """Return weights and both moments after a step of Adam with L2 decay: the decay is part of the gradient.

    Args:
        weights: to be changed.
        moments: running means of the gradients and of their squares.
        gradients: without the decay.
        step: number of this step, from 1 up.
        rate: learning rate.
        decay: of the weights.
    """
    first_decay, second_decay = ADAM_DECAYS
    gradients = [g + decay * w for g, w in zip(gradients, weights, strict=True)]
    first = [first_decay * m + (1 - first_decay) * g for m, g in zip(moments[0], gradients, strict=True)]
    second = [second_decay * m + (1 - second_decay) * tf.square(g) for m, g in zip(moments[1], gradients, strict=True)]
    counted = tf.cast(step, tf.float64)  # in float32, 1 - 0.999 would lose four digits
    first_share, second_share = (tf.cast(1 - d**counted, first[0].dtype) for d in (first_decay, second_decay))
    changed = [
        w - rate / first_share * m / (tf.sqrt(v) / tf.sqrt(second_share) + ADAM_EPSILON)
        for w, m, v in zip(weights, first, second, strict=True)
    ]
    return changed, (first, second)

"""Gradient ascent of a batch of pictures, in the graph."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from tlkeras.visualize import transforms
from tlkeras.visualize.images import Fourier, Pixels, each
from tlkeras.visualize.transforms import Transform

MOMENTUM, SECOND_MOMENTUM, TINY = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, Adam, arXiv:1412.6980
# Gradients of float16 layers would underflow; a power of two changes no digit of the others.
SCALE = 2.0**10
TRANSFORM_SEED = 1_000_003  # other numbers than the noise at the start has
MOST_SEED = 2**31 - 1 - TRANSFORM_SEED  # int32

Score = Callable[[tf.Tensor, Sequence[tf.Tensor]], tf.Tensor]


def compile_ascent(
    score: Score,
    penalty: Callable[[tf.Tensor], tf.Tensor] | None,
    targets: list[tf.TensorSpec],
    shape: tuple[int, int, int],
    parametrization: Pixels | Fourier,
    robust_to: Sequence[Transform],
) -> tuple[Callable, Callable]:
    """Compile the start and the steps of an ascent.

    Args:
        score: `(pictures (n, *shape) in 0..1, targets) -> (n,)` float32, what is to rise.
        penalty: `pictures -> (n,)` float32, what else counts; None: nothing.
        targets: what `score` takes, with n as the first axis.
        shape: (height, width, channels) of a picture.
        parametrization: how pictures are written down.
        robust_to: transforms of the pictures before each step.

    Returns:
        Concrete functions of tensors: `start(seed, identities (n,), steps) -> (state, draws)`, and
        `advance(state, targets, draws, first, last) -> (state, pictures in 0..1, their score)`, which does the steps
        from `first` to before `last`.
    """
    width, numbers = targets[0].shape[0], sum(transform.draws for transform in robust_to)
    look = _look(score, penalty, shape, parametrization, robust_to)
    whole = tf.TensorSpec((), tf.int32)
    parameters = tf.TensorSpec((width, *parametrization.start(0, tf.zeros(1, tf.int32), shape).shape[1:]))

    @tf.function(autograph=False, input_signature=[whole, tf.TensorSpec((width,), tf.int32), whole])
    def start(seed, identities, steps):
        def draw(identity: tf.Tensor) -> tf.Tensor:
            return tf.random.stateless_uniform([steps, numbers], tf.stack([seed + TRANSFORM_SEED, identity]))

        noise = parametrization.start(seed, identities, shape)
        draws = each(identities, draw) if numbers else tf.zeros([width, steps, 0])
        return [noise, tf.zeros_like(noise), tf.zeros_like(noise)], draws

    signature = [[parameters] * 3, targets, tf.TensorSpec((width, None, numbers)), whole, whole]

    @tf.function(autograph=False, input_signature=signature)
    def advance(state, rows, draws, first, last):
        def step(number, parameters, mean, square):
            slope = look(parameters, rows, draws[:, number])
            change, mean, square = _adam(slope, mean, square, tf.cast(number + 1, tf.float32))
            # A ReLU that is off has no slope: where nothing answers to the noise, it grows until something does.
            change = tf.where(_silent(slope), tf.sign(parameters), change)
            moved = parametrization.project(parameters + parametrization.step_size * change)
            return number + 1, moved, mean, square

        _, *state = tf.while_loop(lambda number, *_: number < last, step, [first, *state])
        pictures = parametrization.picture(state[0], shape)
        return state, pictures, score(pictures, rows)

    return start.get_concrete_function(), advance.get_concrete_function()  # traced here, once and for all


def _look(
    score: Score,
    penalty: Callable[[tf.Tensor], tf.Tensor] | None,
    shape: tuple[int, int, int],
    parametrization: Pixels | Fourier,
    robust_to: Sequence[Transform],
) -> Callable[[tf.Tensor, Sequence[tf.Tensor], tf.Tensor], tf.Tensor]:
    """Return `(parameters, targets, draws) -> slope`, which is 0 where the score has none, whatever the penalty."""

    def look(parameters, rows, draws):
        with tf.GradientTape(persistent=True, watch_accessed_variables=False) as tape:
            tape.watch(parameters)
            pictures = parametrization.picture(parameters, shape)
            risen = SCALE * score(transforms.apply(robust_to, pictures, draws), rows)
            fined = penalty(pictures) if penalty else None
        uphill = tape.gradient(risen, parameters, unconnected_gradients="zero") / SCALE
        return tf.where(_silent(uphill), 0.0, uphill + tape.gradient(fined, parameters)) if penalty else uphill

    return look


def _adam(slope: tf.Tensor, mean: tf.Tensor, square: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """Return the change of step `count` (from 1 up) at step size 1, and the two moments after it."""
    mean = MOMENTUM * mean + (1 - MOMENTUM) * slope
    square = SECOND_MOMENTUM * square + (1 - SECOND_MOMENTUM) * slope**2
    correction = tf.sqrt(1 - SECOND_MOMENTUM**count) / (1 - MOMENTUM**count)
    return correction * mean / (tf.sqrt(square) + TINY), mean, square


def _silent(slope: tf.Tensor) -> tf.Tensor:
    """Return for which pictures `(n, ...)` nothing has a slope, `(n, 1, ...)`."""
    return tf.reduce_all(slope == 0, range(1, len(slope.shape)), keepdims=True)

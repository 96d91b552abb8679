"""Activation maximisation: pictures that climb an objective, all of them in compiled batches.

**What is the same bit for bit.** On one machine's CPU, with the same model, steps, seed and options, a target's picture
is the same whichever others are asked for with it, how many, and in which order. Kernels may round differently for
another batch, or at another place in it, so both are fixed: every compiled call has the same width, which follows from
the layer, the size of the picture and `memory` alone, and a target always has the same place; empty places are filled
up and dropped. Another `memory` may change the width, and then promises rounding only.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import KerasTensor, ops

from tlkeras import backend, graph
from tlkeras._files import progress
from tlkeras.backend import Tensor
from tlkeras.visualize import objectives, transforms
from tlkeras.visualize.images import Fourier, Pixels
from tlkeras.visualize.objectives import Forward, Objective, Term
from tlkeras.visualize.transforms import Transform

MEMORY = 2**29  # bytes for the activations and gradients of one batch
WIDEST = 16  # pictures in a batch; more are hardly faster on a CPU
COPIES = 4  # of each activation in memory: itself, its gradient, and what kernels keep meanwhile

MOMENTUM, SECOND_MOMENTUM, TINY = 0.9, 0.999, 1e-8  # Kingma and Ba 2015, Adam, arXiv:1412.6980
# Gradients of float16 layers would underflow; a power of two changes no digit of the others.
_SCALE = 2.0**10
_TRANSFORM_SEED = 1_000_003  # other numbers than the noise at the start has
_MOST_SEED = 2**31 - 1 - _TRANSFORM_SEED  # int32

Shape = tuple[int, int, int]  # height, width, channels of a picture
Score = Callable[[Tensor, Sequence[Tensor]], Tensor]  # pictures (n, *Shape) in 0..1, targets -> (n,) float32
Penalty = Callable[[Tensor], Tensor]  # pictures (n, *Shape) in 0..1 -> (n,) float32


class NotFiniteError(ValueError):
    """A weight, a picture or its activation is NaN or infinite; the message says which."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """The pictures of an ascent, and how their activations rose."""

    targets: np.ndarray  # (n, k) int32, a row a picture, such as [[0], [1]] for channels
    frames: np.ndarray  # (f, n, height, width, channels) float32, in the value range; the last are the results
    steps: tuple[int, ...]  # (f + 1,) after how many steps `activations` were measured, from 0 on
    activations: np.ndarray  # (f + 1, n) float32, of the untransformed picture, without penalties

    @property
    def images(self) -> np.ndarray:
        """Return the results, `(n, height, width, channels)` float32, in the value range."""
        return self.frames[-1]

    @property
    def before(self) -> np.ndarray:
        """Return the activations of the noise at the start, `(n,)`."""
        return self.activations[0]

    @property
    def after(self) -> np.ndarray:
        """Return the activations of the results, `(n,)`."""
        return self.activations[-1]


def activation_maximization(
    model: keras.Model,
    layer: str,
    channels: Sequence[int] | int | None = None,
    *,
    penalty: Objective | None = None,
    **options,
) -> Pictures:
    """Find for each channel of a layer the picture that maximises its mean activation, as the report does.

    Args:
        model: functional or Sequential, nested ones included; it is left as it was.
        layer: name, at any depth.
        channels: which ones; None: all. A channel always has the same place in a batch, and those a multiple of its
            width apart share it: with batches of 16, `range(0, 256, 16)` makes 16 of one picture, `range(16)` one.
        penalty: subtracted, such as `0.1 * total_variation()`.
        **options: of `maximize`.

    Returns:
        One picture a channel, in the order of `channels`.

    Raises:
        ValueError, NotFiniteError: as `maximize` does.

    Reference: report 002, EJ4, figures 6 and 7; Erhan et al. 2009, Visualizing higher-layer features.
    """
    objective = objectives.channel(layer, channels)
    return maximize(model, objective - penalty if penalty else objective, **options)


def maximize(
    model: keras.Model, objective: Objective, *, steps: int = 60, seed: int = 0, frames: int = 1, **options
) -> Pictures:
    """Find the pictures that maximise an objective: `prepare` it, and run it once.

    Args:
        model, objective, **options: as for `prepare`.
        steps, seed, frames: as for the function that `prepare` returns.

    Raises:
        ValueError, NotFiniteError: as those do.
    """
    return prepare(model, objective, **options)(steps=steps, seed=seed, frames=frames)


def prepare(
    model: keras.Model,
    objective: Objective,
    *,
    size: int | tuple[int, int] | None = None,
    parametrization: Pixels | Fourier = Pixels(),  # noqa: B008, a frozen value
    robust_to: Sequence[Transform] = (),
    value_range: tuple[float, float] = (0.0, 255.0),
    memory: int = MEMORY,
) -> Callable[..., Pictures]:
    """Compile the ascent of an objective; the function returned can be run again and again without another trace.

    Args:
        model: functional or Sequential of one image input, nested ones included; it is left as it was.
        objective: at least one term that looks at the model; weights and penalties as wished.
        size: side or (height, width) in pixels, for a model that takes any; None: the model's own.
        parametrization: `Pixels()` (the default) or `Fourier()`.
        robust_to: transforms, drawn anew for each picture and step.
        value_range: of the pixels that the model takes.
        memory: bytes for a batch of activations and gradients. It sets how many pictures go through at once, at least
            one and at most `WIDEST`.

    Returns:
        `run(*, steps=60, seed=0, frames=1) -> Pictures`: `steps` of Adam, the noise and the transforms of `seed`,
        `frames` pictures kept at even distances, the last one the result.

    Raises:
        ValueError: an unknown layer, a target out of range, a layer without channels, a model that is not functional
            or takes other than one image of floats, an objective without a look at the model, a wrong size or range.
        NotFiniteError: weights that are NaN or infinite; `run` raises it for pictures.
    """
    shape = _picture_shape(model, size)
    _check_range(value_range)
    _check_weights(model)
    looks, width = _looks(model, objective, shape, memory)
    main = max(looks, key=lambda look: len(look.targets))
    targets, batches = main.targets, places(main.targets, width)
    rows = [_row_a_picture(look.targets, len(targets))[np.maximum(batches, 0)] for look in looks]
    compiled = _compile(
        model,
        _score(looks, value_range),
        _penalty([(weight, term) for weight, term in objective.terms if not term.source]),
        [KerasTensor(part.shape[1:], part.dtype) for part in rows],
        shape,
        parametrization,
        robust_to,
    )
    low, high = value_range

    def run(*, steps: int = 60, seed: int = 0, frames: int = 1) -> Pictures:
        _check_run(steps, frames, seed)
        ends = np.linspace(0, steps, frames + 1).round().astype(int).tolist()
        images = np.zeros((frames, len(targets), *shape), np.float32)
        activations = np.zeros((frames + 1, len(targets)), np.float32)
        for batch, place in enumerate(progress(batches, "activation maximization", unit="batch")):
            used = place >= 0
            here = place[used]
            identities = main.identities[np.maximum(place, 0)]
            ascent = _climb(*compiled, identities, [part[batch] for part in rows], ends, seed)
            for frame, (pictures, answers) in enumerate(ascent):
                activations[frame, here] = answers[used]
                if frame:
                    images[frame - 1, here] = low + (high - low) * pictures[used]
            _check_finite(targets[here], images[-1, here], activations[-1, here])
        return Pictures(targets, images, tuple(ends), activations)

    return run


# The objective


@dataclass(frozen=True, eq=False)
class _Look:
    """A term that looks at the model, its targets checked."""

    weight: float
    term: Term
    forward: Forward
    targets: np.ndarray  # (n, k) int32
    identities: np.ndarray  # (n,) int64


def _looks(model: keras.Model, objective: Objective, shape: Shape, memory: int) -> tuple[list[_Look], int]:
    """Return the terms of an objective that look at the model, and how many pictures go through it at once."""
    terms = [(weight, term, term.source(model)) for weight, term in objective.terms if term.source]
    if not terms:
        raise ValueError("Expected a term that looks at the model. Received: penalties alone")
    shapes, width = measure([forward for *_, forward in terms], shape, memory)
    looks = []
    for (weight, term, forward), activations in zip(terms, shapes, strict=True):
        targets = term.checked_targets(activations)
        looks.append(_Look(weight, term, forward, targets, term.identities(targets, activations)))
    return looks, width


def _row_a_picture(targets: np.ndarray, count: int) -> np.ndarray:
    """Return the targets of a term for every picture; one target serves all."""
    if len(targets) not in (1, count):
        raise ValueError(f"Expected 1 or {count} targets, as another term has. Received: {len(targets)}")
    return np.broadcast_to(targets, (count, targets.shape[1]))


def _score(looks: Sequence[_Look], value_range: tuple[float, float]) -> Score:
    """Return the sum of the terms that look at the model."""
    low, high = value_range

    def score(pictures: Tensor, rows: Sequence[Tensor]) -> Tensor:
        images = low + (high - low) * pictures
        return sum(
            look.weight * look.term.measure(ops.cast(look.forward(images), "float32"), row)
            for look, row in zip(looks, rows, strict=True)
        )

    return score


def _penalty(terms: Sequence[tuple[float, Term]]) -> Penalty | None:
    """Return the sum of the terms that look at the picture alone, and None if there are none."""
    if not terms:
        return None
    return lambda pictures: sum(weight * term.measure(pictures, None) for weight, term in terms)


# Batches


def measure(
    forwards: Sequence[Forward], shape: tuple[int, ...], memory: int, widest: int = WIDEST
) -> tuple[list[tuple[int, ...]], int]:
    """Run networks symbolically on one picture.

    Args:
        forwards: each `images (b, *shape) -> activations`.
        shape: (height, width, channels) of a picture.
        memory: bytes for a batch.
        widest: pictures in a batch at most.

    Returns:
        The shapes of the activations, and how many pictures go through at once.

    Raises:
        ValueError: no memory at all.
    """
    if memory <= 0:
        raise ValueError(f"Expected bytes of memory, from 1 up. Received: memory={memory}")
    shapes, size = backend.footprint(lambda images: [forward(images) for forward in forwards], (1, *shape))
    return shapes, int(np.clip(memory // (COPIES * size), 1, widest))


def places(targets: np.ndarray, width: int) -> np.ndarray:
    """Return which picture is at which place of which batch, `(batches, width)`, -1 where a place is empty.

    A target's place in its batch follows from the target alone.

    Args:
        targets: `(n, k)` int32, a row a picture.
        width: of a batch.
    """
    columns = targets.sum(1) % width
    rows = np.zeros_like(columns)
    for column in np.unique(columns):
        rows[columns == column] = np.arange((columns == column).sum())
    pictures = np.full((rows.max() + 1, width), -1)
    pictures[rows, columns] = np.arange(len(columns))
    return pictures


# The climb


def _compile(
    model: keras.Model,
    score: Score,
    penalty: Penalty | None,
    targets: list[KerasTensor],
    shape: Shape,
    parametrization: Pixels | Fourier,
    robust_to: Sequence[Transform],
) -> tuple[Callable, Callable]:
    """Compile the start and the steps of an ascent.

    Args:
        model: whose weights are used.
        score: of the pictures, which rises.
        penalty: of the pictures, added with its (negative) weight; None: no penalty.
        targets: of `score`, with the width of a batch as the first axis.
        shape: of a picture.
        parametrization: how pictures are written down.
        robust_to: transforms of the pictures before each step.

    Returns:
        Functions: `start(seed, identities (n,), steps) -> (state, draws)`, and
        `advance(state, targets, draws, first, last) -> (state, pictures in 0..1, their score)`, which does the steps
        from `first` to before `last`.
    """
    width, numbers = targets[0].shape[0], sum(transform.draws for transform in robust_to)
    uphill = _uphill(score, penalty, shape, parametrization, robust_to)
    whole = KerasTensor((), "int32")
    parameters = KerasTensor((width, *parametrization.start(0, ops.zeros(1, "int32"), shape).shape[1:]), "float32")

    def start(seed, identities, steps):
        def draw(identity: Tensor) -> Tensor:
            return backend.uniform([steps, numbers], ops.stack([seed + _TRANSFORM_SEED, identity]))

        noise = parametrization.start(seed, identities, shape)
        draws = backend.each(identities, draw) if numbers else ops.zeros((width, steps, 0))
        return [noise, ops.zeros_like(noise), ops.zeros_like(noise)], draws

    def advance(state, rows, draws, first, last):
        def step(number, parameters, mean, square):
            slope = uphill(parameters, rows, draws[:, number])
            change, mean, square = _adam(slope, mean, square, ops.cast(number + 1, "float32"))
            # A ReLU that is off has no slope: where nothing answers to the noise, it grows until something does.
            change = ops.where(_silent(slope), ops.sign(parameters), change)
            moved = parametrization.project(parameters + parametrization.step_size * change)
            return number + 1, moved, mean, square

        _, *state = ops.while_loop(lambda number, *_: number < last, step, [first, *state])
        pictures = parametrization.picture(state[0], shape)
        return state, pictures, score(pictures, rows)

    kinds = [[parameters] * 3, targets, KerasTensor((width, None, numbers), "float32"), whole, whole]
    with graph.forgotten_gradients():
        return (
            backend.drawing(start, [whole, KerasTensor((width,), "int32"), whole], shaping=[2]),
            backend.compiled_as(advance, kinds, model),
        )


def _climb(
    start: Callable, advance: Callable, identities: np.ndarray, rows: list[np.ndarray], ends: list[int], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pictures of one batch, 0..1, and their score at each of `ends`, which are steps from 0 on."""
    state, draws = start(seed, identities, ends[-1])
    for first, last in itertools.pairwise((0, *ends)):
        state, pictures, answers = advance(state, rows, draws, first, last)
        yield ops.convert_to_numpy(pictures), ops.convert_to_numpy(answers)


def _uphill(
    score: Score,
    penalty: Penalty | None,
    shape: Shape,
    parametrization: Pixels | Fourier,
    robust_to: Sequence[Transform],
) -> Callable[[Tensor, Sequence[Tensor], Tensor], Tensor]:
    """Return `(parameters, targets, draws) -> slope`, which is 0 where that of the score is, even under a penalty."""

    def uphill(parameters: Tensor, rows: Sequence[Tensor], draws: Tensor) -> Tensor:
        def heights(parameters: Tensor) -> tuple[Tensor, ...]:
            pictures = parametrization.picture(parameters, shape)
            risen = _SCALE * score(transforms.apply(robust_to, pictures, draws), rows)
            return (risen, penalty(pictures)) if penalty else (risen,)

        slope, *fine = backend.gradients(heights, parameters)[1]
        if slope is None:
            return ops.zeros_like(parameters)
        slope = slope / _SCALE
        return ops.where(_silent(slope), ops.zeros_like(slope), slope + fine[0]) if fine else slope

    return uphill


def _adam(slope: Tensor, mean: Tensor, square: Tensor, count: Tensor) -> tuple[Tensor, ...]:
    """Return the change of step `count` (from 1 up) at step size 1, and the two moments after it."""
    mean = MOMENTUM * mean + (1 - MOMENTUM) * slope
    square = SECOND_MOMENTUM * square + (1 - SECOND_MOMENTUM) * slope**2
    correction = ops.sqrt(1 - SECOND_MOMENTUM**count) / (1 - MOMENTUM**count)
    return correction * mean / (ops.sqrt(square) + TINY), mean, square


def _silent(slope: Tensor) -> Tensor:
    """Return whether the slope of each picture `(n, ...)` is 0 everywhere, bool `(n, 1, ...)`."""
    return ops.all(slope == 0, tuple(range(1, len(slope.shape))), keepdims=True)


# Checks


def _picture_shape(model: keras.Model, size: int | tuple[int, int] | None) -> Shape:
    """Return the shape of a picture for a model; `size` is for a model that takes any."""
    inputs = getattr(model, "inputs", None)  # a Sequential model that is not built yet has none
    if not isinstance(model, keras.Model) or not inputs or len(inputs) != 1:
        raise ValueError(f"Expected a built functional or Sequential model of one input. Received: {model!r}")
    shape = tuple(inputs[0].shape[1:])
    if len(shape) != 3 or not shape[2]:
        raise ValueError(f"Expected a model of images (batch, height, width, channels). Received: {(None, *shape)}")
    if not keras.backend.is_float_dtype(inputs[0].dtype):  # a cast to whole numbers has no slope
        raise ValueError(
            "Expected a model of float images. `keras.models.clone_model(model, input_tensors=keras.Input(shape))` and "
            f"`set_weights(model.get_weights())` make one. Received: dtype={inputs[0].dtype}"
        )
    sides = (size, size) if isinstance(size, int) else tuple(size or shape[:2])
    if len(sides) != 2 or any(not side or own not in (None, side) for side, own in zip(sides, shape, strict=False)):
        raise ValueError(f"Expected a size that fits the model's input {(None, *shape)}. Received: size={size}")
    return (*sides, shape[2])


def _check_range(value_range: tuple[float, float]) -> None:
    low, high = value_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"Expected a finite value range, low < high. Received: value_range={value_range}")


def _check_weights(model: keras.Model) -> None:
    """Fused kernels turn NaN into 0, so that a broken filter would look like a dead one."""
    bad = [weight.path for weight in model.weights if not np.isfinite(ops.convert_to_numpy(weight)).all()]
    if bad:
        raise NotFiniteError(f"Expected a model of finite weights. Received: NaN or infinity in {bad}")


def _check_run(steps: int, frames: int, seed: int) -> None:
    if not 1 <= frames <= steps:
        raise ValueError(f"Expected steps from 1 up, and from 1 to as many frames. Received: {steps=}, {frames=}")
    if not 0 <= seed <= _MOST_SEED:
        raise ValueError(f"Expected a seed from 0 to {_MOST_SEED}. Received: seed={seed}")


def _check_finite(targets: np.ndarray, images: np.ndarray, activations: np.ndarray) -> None:
    good = np.isfinite(images).all((1, 2, 3)) & np.isfinite(activations)
    if not good.all():
        raise NotFiniteError(
            f"Expected finite pictures and activations. Received: NaN or infinity for targets {targets[~good].tolist()}"
        )

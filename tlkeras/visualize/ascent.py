"""Activation maximisation: pictures that climb a measure of what a network does, all of them in compiled batches.

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
import tensorflow as tf

from tlkeras.visualize import batches, layers, objectives
from tlkeras.visualize.images import Fourier, Pixels
from tlkeras.visualize.objectives import Objective, Term
from tlkeras.visualize.steps import MOST_SEED, compile_ascent
from tlkeras.visualize.transforms import Transform

MEMORY = 2**29  # bytes for the activations and gradients of one batch


class NotFiniteError(ValueError):
    """A weight, a picture or what it excites is NaN or infinite; the message says which."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """What was found: pictures, and how the activation rose."""

    targets: np.ndarray  # (n, k) int32, a row a picture, such as [[0], [1]] for channels; float for directions
    frames: np.ndarray  # (f, n, height, width, channels) float32, in the value range; the last are the results
    steps: tuple[int, ...]  # (f + 1,) after how many steps `activations` were measured, from 0 on
    activations: np.ndarray  # (f + 1, n) float32, of the untransformed picture, without penalties

    @property
    def images(self) -> np.ndarray:
        """Return the pictures found, `(n, height, width, channels)` float32, in the value range."""
        return self.frames[-1]

    @property
    def before(self) -> np.ndarray:
        """Return what the noise at the start excites, `(n,)`."""
        return self.activations[0]

    @property
    def after(self) -> np.ndarray:
        """Return what the pictures excite, `(n,)`."""
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
        layer: its name, at whatever depth.
        channels: which ones; None: all.
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
        steps, seed, frames: as for what `prepare` returns.

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
    """Compile the ascent of an objective; what is returned can be run again and again without another trace.

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
            or takes other than one image, an objective without a look at the model, a wrong size or range.
        NotFiniteError: weights that are NaN or infinite; `run` raises it for pictures.
    """
    shape = layers.input_shape(model, size)
    _check_range(value_range)
    _check_weights(model)
    looks = [(weight, term, term.source(model)) for weight, term in objective.terms if term.source]
    fines = [(weight, term) for weight, term in objective.terms if not term.source]
    looks, targets, identities, places = _planned(looks, shape, memory)
    rows = [_rows(term, len(targets))[np.maximum(places, 0)] for _, term, _ in looks]
    signature = [tf.TensorSpec(part.shape[1:], part.dtype) for part in rows]
    score, penalty = _score(looks, value_range), _penalty(fines)
    compiled = compile_ascent(score, penalty, signature, shape, parametrization, robust_to)
    low, high = value_range

    def run(*, steps: int = 60, seed: int = 0, frames: int = 1) -> Pictures:
        _check_run(steps, frames, seed)
        ends = np.linspace(0, steps, frames + 1).round().astype(int).tolist()
        found = np.zeros((frames, len(targets), *shape), np.float32)
        activations = np.zeros((frames + 1, len(targets)), np.float32)
        for batch, place in enumerate(batches.bar(places, "activation maximization")):
            here, own = place[place >= 0], place >= 0
            ascent = _climb(*compiled, identities[np.maximum(place, 0)], [part[batch] for part in rows], ends, seed)
            for frame, (pictures, answers) in enumerate(ascent):
                activations[frame, here] = answers[own]
                if frame:
                    found[frame - 1, here] = low + (high - low) * pictures[own]
            _check_finite(targets[here], found[-1, here], activations[-1, here])
        return Pictures(targets, found, tuple(ends), activations)

    return run


def _planned(
    looks: Sequence[tuple[float, Term, Callable]], shape: tuple[int, int, int], memory: int
) -> tuple[list[tuple[float, Term, Callable]], np.ndarray, np.ndarray, np.ndarray]:
    """Return the terms with their targets, checked, then those of the pictures, their identities and their places."""
    if not looks:
        raise ValueError("Expected a term that looks at the model. Received: penalties alone")
    shapes, width = batches.measure([forward for *_, forward in looks], shape, memory)
    terms = [term.resolved(found) for (_, term, _), found in zip(looks, shapes, strict=True)]
    main, found = max(zip(terms, shapes, strict=True), key=lambda pair: len(pair[0].targets))
    resolved = [(weight, term, forward) for (weight, _, forward), term in zip(looks, terms, strict=True)]
    return resolved, main.targets, main.identities(found), batches.places(main, width)


def _climb(
    start: Callable, advance: Callable, identities: np.ndarray, rows: list[np.ndarray], ends: list[int], seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the pictures of one batch, 0..1, and their score at each of `ends`, which are steps from 0 on."""
    tensors = [tf.constant(row) for row in rows]
    counts = [tf.constant(end) for end in (0, *ends)]
    state, draws = start(tf.constant(seed), tf.constant(identities, tf.int32), counts[-1])
    for first, last in itertools.pairwise(counts):
        state, pictures, answers = advance(state, tensors, draws, first, last)
        yield pictures.numpy(), answers.numpy()


def _score(looks: Sequence[tuple[float, Term, Callable]], value_range: tuple[float, float]) -> Callable:
    """Return what the terms that look at the model add up to: `(pictures in 0..1, targets) -> (n,)` float32."""
    low, high = value_range

    def score(pictures: tf.Tensor, rows: Sequence[tf.Tensor]) -> tf.Tensor:
        images = low + (high - low) * pictures
        return tf.add_n(
            [
                weight * term.measure(tf.cast(forward(images), tf.float32), own)
                for (weight, term, forward), own in zip(looks, rows, strict=True)
            ]
        )

    return score


def _penalty(terms: Sequence[tuple[float, Term]]) -> Callable | None:
    """Return what the terms that look at the picture alone add up to, None where there are none."""
    if not terms:
        return None
    return lambda pictures: tf.add_n([weight * term.measure(pictures, None) for weight, term in terms])


def _rows(term: Term, count: int) -> np.ndarray:
    """Return the targets of a term for every picture; one target serves all."""
    if len(term.targets) not in (1, count):
        raise ValueError(f"Expected 1 or {count} targets, as another term has. Received: {len(term.targets)}")
    return np.broadcast_to(term.targets, (count, term.targets.shape[1]))


def _check_range(value_range: tuple[float, float]) -> None:
    low, high = value_range
    if not (np.isfinite([low, high]).all() and low < high):
        raise ValueError(f"Expected a finite value range, low < high. Received: value_range={value_range}")


def _check_weights(model: keras.Model) -> None:
    """Fused kernels turn NaN into 0, so that a broken filter would look like a dead one."""
    bad = [weight.path for weight in model.weights if not np.isfinite(weight.numpy()).all()]
    if bad:
        raise NotFiniteError(f"Expected a model of finite weights. Received: NaN or infinity in {bad}")


def _check_run(steps: int, frames: int, seed: int) -> None:
    if not 1 <= frames <= steps:
        raise ValueError(f"Expected steps from 1 up, and from 1 to as many frames. Received: {steps=}, {frames=}")
    if not 0 <= seed <= MOST_SEED:
        raise ValueError(f"Expected a seed from 0 to {MOST_SEED}. Received: seed={seed}")


def _check_finite(targets: np.ndarray, images: np.ndarray, activations: np.ndarray) -> None:
    good = np.isfinite(images).all((1, 2, 3)) & np.isfinite(activations)
    if not good.all():
        raise NotFiniteError(
            f"Expected finite pictures and activations. Received: NaN or infinity for targets {targets[~good].tolist()}"
        )

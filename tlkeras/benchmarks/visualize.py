"""Report 002, EJ4: activation maximisation of TomiNet's conv_2, against tf-keras-vis; and how its time grows."""

import functools
import time

import keras
import numpy as np
import tensorflow as tf

from tlkeras.benchmarks import timing
from tlkeras.models import tominet
from tlkeras.visualize import Pixels, Pictures, activation_maximization, objectives, prepare, responses
from tlkeras.visualize.steps import MOMENTUM, SECOND_MOMENTUM, TINY

LAYER, STEPS = "conv_2", 60
REACHED = 0.99  # of the peer's activation counts as reached: both jitter around the optimum by one step
FILTERS_GROWTH, STEPS_GROWTH = (16, 32, 64, 128), (30, 60, 120, 240)


def rows() -> list[dict]:
    """Return the rows of this report."""
    model = tominet(10, weights="mnist")
    run = prepare(model, objectives.channel(LAYER))
    run(steps=1)
    again = functools.partial(run, steps=STEPS)
    equal = (
        f"TomiNet trained on digits, {LAYER}, 16 filters x {STEPS} steps of Adam at a 20th of the value range, clipped "
        "to it after each, the same start, no regularisers, median of 3; "
    )
    one_by_one, together = (functools.partial(peer, model, batch=batch) for batch in (1, 16))
    fresh = functools.partial(activation_maximization, model, LAYER, steps=STEPS)
    found = [
        timing.compare("16 filters, tracing included", fresh, one_by_one, equal + "peer: filter by filter"),
        timing.compare("16 filters, traced before", again, one_by_one, equal + "peer: filter by filter"),
        timing.compare("16 filters, tracing included, peer batched", fresh, together, equal + "peer: batched by hand"),
        timing.compare("16 filters, traced before, peer batched", again, together, equal + "peer: batched by hand"),
        _reached(model, again(), together()),
    ]
    return found + growth()


def peer(model: keras.Model, *, batch: int) -> np.ndarray:
    """Run tf-keras-vis on every filter of the layer, `batch` of them at a time; return the pictures it finds.

    Raises:
        ModuleNotFoundError: the `bench` extra is not installed.
    """
    from tf_keras_vis.activation_maximization import ActivationMaximization  # only this benchmark needs it

    part = keras.Model(model.input, model.get_layer(LAYER).output)
    visualizer, starts = ActivationMaximization(part, clone=False), start(part.output.shape[-1])
    found = []
    for first in range(0, len(starts), batch):

        def score(outputs: tf.Tensor, first: int = first) -> tf.Tensor:
            return tf.stack([tf.reduce_mean(output[..., first + i]) for i, output in enumerate(outputs)])

        adam = keras.optimizers.Adam(255 * Pixels().step_size, MOMENTUM, SECOND_MOMENTUM, TINY)
        clip = [lambda images: tf.clip_by_value(images, 0.0, 255.0)]  # what the step before left outside
        found.append(
            visualizer(score, starts[first : first + batch], input_modifiers=clip, regularizers=[], steps=STEPS,
                       optimizer=adam)
        )  # fmt: skip
    return np.concatenate(found)


def start(filters: int, seed: int = 0) -> np.ndarray:
    """Return the noise that our pictures start from, `(filters, 28, 28, 1)`, 0..255."""
    shape, pixels = (28, 28, 1), Pixels()
    return 255 * pixels.picture(pixels.start(seed, tf.range(filters), shape), shape).numpy()


def growth() -> list[dict]:
    """Time more and more filters, and more and more steps; `equal` says what is varied, `ours` are seconds."""
    model = tominet(10, weights=None, filters=(32, max(FILTERS_GROWTH)))
    found = []
    for filters in FILTERS_GROWTH:
        run = prepare(model, objectives.channel(LAYER, range(filters)))
        found.append(_timed(f"{filters} filters x {STEPS} steps", run, STEPS))
    run = prepare(model, objectives.channel(LAYER, range(16)))
    return found + [_timed(f"16 filters x {steps} steps", run, steps) for steps in STEPS_GROWTH]


def _timed(name: str, run: object, steps: int, repeats: int = 3) -> dict:
    run(steps=1)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        run(steps=steps)
        seconds.append(time.perf_counter() - started)
    equal = f"TomiNet with {max(FILTERS_GROWTH)} filters in {LAYER}, new weights, traced before, best of {repeats}"
    return {"name": name, "ours": round(min(seconds), 3), "peer": None, "ratio": None, "unit": "s", "equal": equal}


def _reached(model: keras.Model, ours: Pictures, theirs: np.ndarray) -> dict:
    """Return for how many filters our picture excites as much as the peer's."""
    own = np.arange(len(theirs))
    mine, peers = responses(model, LAYER, ours.images)[own, own], responses(model, LAYER, theirs)[own, own]
    share = float(np.mean(mine >= REACHED * peers))
    equal = f"filters whose activation is at least {REACHED} of the peer's; median ratio {np.median(mine / peers):.3f}"
    return {"name": "activation reached", "ours": share, "peer": None, "ratio": None, "unit": "of 1", "equal": equal}

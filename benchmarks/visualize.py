"""Report 002, EJ4: activation maximisation of TomiNet's conv_2, against tf-keras-vis; and how its time grows."""

import functools
import warnings

import keras
import numpy as np
import tensorflow as tf

from benchmarks import timing
from tlkeras.models import tominet
from tlkeras.reports.tominet.growth import ROUNDS, seconds_by_size
from tlkeras.visualize import Pictures, Pixels, activation_maximization, objectives, prepare, responses
from tlkeras.visualize.ascent import MOMENTUM, SECOND_MOMENTUM, TINY

LAYER, STEPS = "conv_2", 60
ROUNDING = 1e-3  # both sides take the same steps; late ones may differ once float32 rounding has tipped a ReLU
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
    return found + _growth_rows()


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

        # The same step in the units of the peer, whose pixels go from 0 to 255.
        adam = keras.optimizers.Adam(255 * Pixels().step_size, MOMENTUM, SECOND_MOMENTUM, TINY / 255)
        clip = [lambda images: tf.clip_by_value(images, 0.0, 255.0)]  # what the step before left outside
        with warnings.catch_warnings():  # it calls the model with a list
            warnings.filterwarnings("ignore", "The structure of `inputs`", UserWarning)
            found.append(
                visualizer(
                    score,
                    starts[first : first + batch],
                    input_modifiers=clip,
                    regularizers=[],
                    steps=STEPS,
                    optimizer=adam,
                )
            )
    return np.concatenate(found)


def start(filters: int, seed: int = 0) -> np.ndarray:
    """Return the noise that our pictures start from, `(filters, 28, 28, 1)`, 0..255."""
    shape, pixels = (28, 28, 1), Pixels()
    return 255 * pixels.picture(pixels.start(seed, tf.range(filters), shape), shape).numpy()


def _growth_rows() -> list[dict]:
    equal = f"TomiNet with {max(FILTERS_GROWTH)} filters in {LAYER}, new weights, traced before, best of {ROUNDS}"
    return [
        {
            "name": f"{row['filters']} filters x {row['steps']} steps ({row['varied']} grow)",
            "ours": round(row["seconds"], 3),
            "peer": None,
            "ratio": None,
            "unit": "s",
            "equal": equal,
        }
        for row in seconds_by_size(FILTERS_GROWTH, STEPS_GROWTH)
    ]


def _reached(model: keras.Model, ours: Pictures, theirs: np.ndarray) -> dict:
    """Return for how many filters our picture excites as much as the peer's."""
    own = np.arange(len(theirs))
    mine, peers = responses(model, LAYER, ours.images)[own, own], responses(model, LAYER, theirs)[own, own]
    share = float(np.mean(mine >= (1 - ROUNDING) * peers))
    equal = f"filters that excite at least {1 - ROUNDING} of what the peer's do; smallest ratio {min(mine / peers):.3f}"
    return {"name": "activation reached", "ours": share, "peer": None, "ratio": None, "unit": "of 1", "equal": equal}

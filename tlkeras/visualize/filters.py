"""How each filter responds to noise, to real images, and to the picture that was made for it."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import ops

from tlkeras import backend
from tlkeras._files import progress
from tlkeras.backend import Tensor
from tlkeras.data import splits
from tlkeras.visualize import objectives
from tlkeras.visualize.ascent import MEMORY, Pictures, measure


def responses(model: keras.Model, layer: str, images: np.ndarray, *, memory: int = MEMORY) -> np.ndarray:
    """Return the mean activation of every channel of a layer for every image.

    Args:
        model: functional or Sequential, nested ones included.
        layer: name, at any depth; with activations `(batch, ..., channels)`.
        images: `(n, height, width, channels)`, in the range that the model takes.
        memory: bytes for a batch.

    Returns:
        `(n, channels)` float32.

    Raises:
        ValueError: no images, images that do not fit the model, an unknown layer, or one without channels.
    """
    forward = objectives.activations(model, layer)
    splits.check_images(model, images, raw=False)
    images = np.asarray(images)
    (shape,), width = measure([forward], images.shape[1:], memory, widest=256)
    if len(shape) < 3:
        raise ValueError(f"Expected a layer with channels, (batch, ..., channels). Received: {(None, *shape[1:])}")

    def means(batch: Tensor) -> Tensor:
        return ops.mean(ops.cast(forward(batch), "float32"), tuple(range(1, len(shape) - 1)))

    compiled = backend.compiled(means, model)
    starts = progress(range(0, len(images), width), layer, unit="batch")
    batches = (images[start : start + width].astype(np.float32) for start in starts)
    return np.concatenate([ops.convert_to_numpy(compiled(batch)) for batch in batches])


def filter_rows(
    model: keras.Model,
    layer: str,
    pictures: Pictures,
    images: np.ndarray,
    *,
    noises: int = 64,
    nearest: int = 3,
    value_range: tuple[float, float] = (0.0, 255.0),
    seed: int = 0,
) -> list[dict]:
    """Compare the picture of each filter with noise and with the best real image.

    A filter is dead if its activation is the same for all noise, all real images, and the picture made for it.

    Args:
        model, layer: as the pictures were made with.
        pictures: of channels of that layer, from `activation_maximization`.
        images: real ones, `(n, height, width, channels)`, in the range that the model takes.
        noises: images of uniform noise to compare with.
        nearest: how many real images to name.
        value_range: of the noise.
        seed: of the noise.

    Returns:
        A row a filter: `filter`, `before` (the start), `after`, `noise` (mean over the noises), `real` (the best real
        image), `over_noise` and `over_real` (differences, in units of activation), `dead`, and `nearest` (indices of
        the images that excite it most, best first).

    Raises:
        ValueError: as `responses` does.
    """
    shape = (noises, *pictures.images.shape[1:])
    channels = pictures.targets[:, 0]
    noise = responses(model, layer, np.random.default_rng(seed).uniform(*value_range, shape).astype(np.float32))
    real = responses(model, layer, images)
    return list(_rows(pictures, channels, noise[:, channels], real[:, channels], nearest))


def carried_over(model: keras.Model, layer: str, old: Pictures, new: Pictures) -> list[dict]:
    """Measure how well pictures made for an earlier state of a model still fit it.

    Args:
        model, layer: the model as it is now.
        old: pictures of channels of the layer, made before.
        new: of the same channels and seed, made now.

    Returns:
        A row a filter: `filter`; `kept`, the activation of the old picture divided by that of the new one (1: the
        filter looks for the same; None: the new picture excites nothing); `alike`, the correlation of their pixels.

    Raises:
        ValueError: pictures of different channels.
    """
    if not np.array_equal(old.targets, new.targets):
        raise ValueError(
            f"Expected pictures of the same channels. Received: {old.targets.tolist()}, {new.targets.tolist()}"
        )
    channels = new.targets[:, 0]
    answers = responses(model, layer, old.images)[np.arange(len(channels)), channels]
    pixels = [pictures.images.reshape(len(channels), -1) for pictures in (old, new)]
    centred = [part - part.mean(1, keepdims=True) for part in pixels]
    lengths = np.prod([np.linalg.norm(part, axis=1) for part in centred], axis=0)
    alike = (centred[0] * centred[1]).sum(1) / np.maximum(lengths, np.finfo(np.float32).tiny)
    return [
        {
            "filter": int(channel),
            "kept": float(answer / reached) if reached > 0 else None,
            "alike": float(same),
        }
        for channel, answer, reached, same in zip(channels, answers, new.after, alike, strict=True)
    ]


def _rows(
    pictures: Pictures, channels: np.ndarray, noise: np.ndarray, real: np.ndarray, nearest: int
) -> Iterator[dict]:
    order = np.argsort(-real, axis=0, kind="stable")[:nearest]
    for index, channel in enumerate(channels):
        seen = np.concatenate([noise[:, index], real[:, index], pictures.activations[:, index]])
        mean, best, after = noise[:, index].mean(), real[:, index].max(), pictures.after[index]
        yield {
            "filter": int(channel),
            "before": float(pictures.before[index]),
            "after": float(after),
            "noise": float(mean),
            "real": float(best),
            "over_noise": float(after - mean),
            "over_real": float(after - best),
            "dead": bool(np.ptp(seen) == 0),
            "nearest": tuple(order[:, index].tolist()),
        }

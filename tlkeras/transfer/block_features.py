"""Features of every block of a frozen network, averaged over its map: one forward pass for all of them."""

from collections.abc import Sequence

import keras
import numpy as np

from tlkeras.transfer.features import compiled_forward, inference_batch


def pooled_model(model: keras.Model, names: Sequence[str]) -> keras.Model:
    """Return a model that gives the mean of each channel of the named layers, one vector an image.

    Args:
        model: a flat network.
        names: of layers whose outputs are maps.

    Returns:
        A model with one output, `(batch, sum of the channels)`, in the order of `names`.

    Raises:
        ValueError: no names, an unknown layer, or one whose output is no map.
    """
    known = {layer.name: layer.output for layer in model.layers}
    maps = [known.get(name) for name in names]
    if not maps or any(tensor is None or len(tensor.shape) != 4 for tensor in maps):
        raise ValueError(f"Expected names of layers with maps, out of {list(known)}. Received: {list(names)}")
    pooled = [keras.layers.GlobalAveragePooling2D()(tensor) for tensor in maps]
    return keras.Model(model.input, pooled[0] if len(pooled) == 1 else keras.layers.Concatenate()(pooled))


def block_features(model: keras.Model, names: Sequence[str], images: np.ndarray) -> dict[str, np.ndarray]:
    """Return the averaged features of each named layer, `name -> (n, channels)` float32.

    Args:
        model: a flat network, raw 0..255 images in.
        names: of layers whose outputs are maps.
        images: `(n, height, width, channels)`, 0..255.

    Raises:
        ValueError: as `pooled_model` does.
    """
    together = pooled_model(model, names)
    run, size = compiled_forward(together), inference_batch(together)
    values = np.concatenate([run(images[i : i + size]).numpy() for i in range(0, len(images), size)])
    ends = np.cumsum([model.get_layer(name).output.shape[-1] for name in names])
    return dict(zip(names, np.split(values, ends[:-1], axis=1), strict=True))

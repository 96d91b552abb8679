"""Features of the frozen part of a network, computed once.

While the base is frozen its output for an image never changes, so an epoch of training needs only the
trained part. `split` finds the last place where nothing that trains, or is random, lies before.
"""

import hashlib
from collections import OrderedDict

import keras
import numpy as np

from tlkeras.data import fingerprint as data_fingerprint
from tlkeras.models.weights import fingerprint

SHARED_BYTES = 512 * 2**20


def split(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Split a flat model at the last tensor that all later layers depend on and no trained or random layer feeds.

    Frozen batch normalisation is in inference mode, hence static; Dropout and augmentation layers are not.

    Returns:
        `(base, head)`, which share the model's layers: `head(base(x)) == model(x)`; None if there is nothing to save.
    """
    tensor, static = model.inputs[0], True
    for layer in model.layers[1:]:
        single = isinstance(layer.output, keras.KerasTensor) and len(layer._inbound_nodes) == 1
        static = static and single and not layer.trainable_weights and not _random(layer)
        if not static:
            break
        if _is_bottleneck(model, layer):
            tensor = layer.output
    if tensor is model.inputs[0]:
        return None
    base = keras.Model(model.inputs[0], tensor)
    return (base, keras.Model(tensor, model.outputs[0])) if base.weights else None


def _random(layer: keras.layers.Layer) -> bool:
    return any(isinstance(value, keras.random.SeedGenerator) for value in vars(layer).values())


def _is_bottleneck(model: keras.Model, layer: keras.layers.Layer) -> bool:
    """Whether every path from the layers before `layer` to the output leads through it."""
    position = {other.name: i for i, other in enumerate(model.layers)}
    here = position[layer.name]
    for later in model.layers[here + 1 :]:
        for parent in later._inbound_nodes[0].parent_nodes:
            if position.get(parent.operation.name, here) < here:
                return False
    return True


class FeatureCache:
    """Features by content: the key covers architecture, preprocessing, weights and images, so nothing stale is served.

    Args:
        max_bytes: the oldest features go when the sum would be larger.
    """

    def __init__(self, max_bytes: int = SHARED_BYTES) -> None:
        self._arrays: OrderedDict[str, np.ndarray] = OrderedDict()
        self._max_bytes = max_bytes
        self.hits = self.misses = 0

    def features(self, base: keras.Model, images: np.ndarray, *, batch_size: int = 1000) -> np.ndarray:
        """Return `base(images)` in inference mode, float, `(n, ...)`; computed once for the same base and images."""
        key = self._key(base, images)
        if key in self._arrays:
            self.hits += 1
            self._arrays.move_to_end(key)
            return self._arrays[key]
        self.misses += 1
        features = base.predict(images, batch_size=batch_size, verbose=0)
        while self._arrays and features.nbytes + sum(a.nbytes for a in self._arrays.values()) > self._max_bytes:
            self._arrays.popitem(last=False)
        self._arrays[key] = features
        return features

    @staticmethod
    def _key(base: keras.Model, images: np.ndarray) -> str:
        settings = [(type(layer).__name__, layer.get_config()) for layer in base.layers]
        architecture = hashlib.sha256(repr(settings).encode()).hexdigest()
        return f"{architecture}-{fingerprint(base)}-{data_fingerprint(images)}"


SHARED = FeatureCache()  # one per process: the draws of a study share the validation set and the frozen base

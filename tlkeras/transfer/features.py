"""Features of the frozen part of a network, computed once; and the averaged maps of any of its layers.

While the base is frozen its output for an image never changes, so an epoch of training needs only the
trained part. `split` finds the last place where nothing that trains, or is random, lies before.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence

import keras
import numpy as np

from tlkeras import backend, graph
from tlkeras.backend import Tensor
from tlkeras.data import fingerprint as data_fingerprint
from tlkeras.models.weights import fingerprint

SHARED_BYTES = 512 * 2**20
MAP_BYTES = 2**26  # of the largest map of one batch


def split(model: keras.Model) -> tuple[keras.Model, keras.Model] | None:
    """Split a flat model at the last tensor that all later layers depend on and no trained or random layer feeds.

    Frozen batch normalisation is in inference mode, hence static; Dropout and augmentation layers are not.

    Returns:
        `(base, head)`, which share the model's layers: `head(base(x)) == model(x)`; None if there is nothing to save.
    """
    calls = graph.calls(model)
    order = list(calls)
    tensor = None
    for position, operation in enumerate(order[1:-1], start=1):
        outputs = [output for call in calls[operation] for output in call.outputs]
        if len(outputs) != 1 or not _static(operation):
            break
        if _is_bottleneck(calls, order, position):
            tensor = outputs[0]
    if tensor is None:
        return None
    base = keras.Model(model.inputs[0], tensor)
    return (base, keras.Model(tensor, model.outputs[0])) if base.weights else None


def _static(operation: keras.Operation) -> bool:
    """Whether the operation neither trains (normalisation without scale and offset has a state too) nor is random."""
    trains = isinstance(operation, keras.layers.Layer) and operation.trainable and operation.weights
    return not trains and not graph.is_random(operation)


def _is_bottleneck(calls: dict[keras.Operation, list[graph.Call]], order: list[keras.Operation], position: int) -> bool:
    """Whether every path from the operations before `position` to the output leads through the one there."""
    before = set(order[:position])
    later = [call for operation in order[position + 1 :] for call in calls[operation]]
    return not any(before.intersection(call.sources) for call in later)


class FeatureCache:
    """Features by content: the key covers architecture, preprocessing, weights and images, so nothing stale is served.

    Args:
        max_bytes: the oldest features go when the sum would be larger; what is larger by itself is not kept.
    """

    def __init__(self, max_bytes: int = SHARED_BYTES) -> None:
        self._arrays: OrderedDict[str, np.ndarray] = OrderedDict()
        self._max_bytes = max_bytes
        self.hits = self.misses = 0

    def features(
        self,
        base: keras.Model,
        images: np.ndarray,
        forward: Callable[[np.ndarray], Tensor] | None = None,
        *,
        copy: bool = True,
    ) -> np.ndarray:
        """Return `base(images)` in inference mode, `(n, ...)` float32 or more; computed once for what is the same.

        Args:
            base: what computes the features.
            images: `(n, ...)`, as `base` takes them.
            forward: `compiled_forward(base)`, so that several calls trace it once; made where it is not given.
            copy: False gives the array that is kept, for who only reads: what is written into it is served to all.
        """
        key = self._key(base, images)
        if key in self._arrays:
            self.hits += 1
            self._arrays.move_to_end(key)
        else:
            self.misses += 1
            size = inference_batch(base, shape=images.shape[1:])
            features = _in_batches(forward or compiled_forward(base), images, size)
            if features.nbytes > self._max_bytes:
                return features
            self._keep(key, features)
        return self._arrays[key].copy() if copy else self._arrays[key]

    def _keep(self, key: str, features: np.ndarray) -> None:
        """Keep features in the place of the oldest."""
        while features.nbytes + sum(array.nbytes for array in self._arrays.values()) > self._max_bytes:
            self._arrays.popitem(last=False)
        self._arrays[key] = features

    @staticmethod
    def _key(base: keras.Model, images: np.ndarray) -> str:
        architecture = hashlib.sha256(repr(base.get_config()["layers"]).encode()).hexdigest()
        return f"{architecture}-{fingerprint(base)}-{data_fingerprint(images)}"


def inference_batch(model: keras.Model, most: int = 1000, shape: tuple[int, ...] | None = None) -> int:
    """Return how many images to run at once: at most `most`, and no map above 64 MiB in float32.

    Args:
        model: functional or Sequential.
        most: images at once.
        shape: of an image, (height, width, channels), for a model that takes any.
    """
    return max(1, min(most, MAP_BYTES // (4 * graph.largest_output(model, shape))))


def compiled_forward(model: keras.Model) -> Callable[[np.ndarray], Tensor]:
    """Return `model` in inference mode, compiled: half the time of `predict` for a small network, no pipeline."""
    return backend.compiled(backend.side_by_side(model), model)


def _in_batches(forward: Callable[[np.ndarray], Tensor], images: np.ndarray, size: int) -> np.ndarray:
    batches = (images[start : start + size] for start in range(0, len(images), size))
    return at_least_float32(np.concatenate([keras.ops.convert_to_numpy(forward(batch)) for batch in batches]))


def at_least_float32(features: np.ndarray) -> np.ndarray:
    """Return features as floats of 32 bits or more: in half precision the sum of their squares overflows."""
    return features.astype(np.result_type(features, np.float32), copy=False)


SHARED = FeatureCache()  # one per process: the draws of a study share the validation set and the frozen base


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
    values = _in_batches(compiled_forward(together), images, inference_batch(together, shape=images.shape[1:]))
    ends = np.cumsum([model.get_layer(name).output.shape[-1] for name in names])
    return dict(zip(names, np.split(values, ends[:-1], axis=1), strict=True))

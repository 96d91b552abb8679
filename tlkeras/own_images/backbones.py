"""The pretrained networks that can be had, and their features of each photograph, computed once and kept on disk."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import _files, models
from tlkeras.data import home
from tlkeras.data.images import squares
from tlkeras.models import records
from tlkeras.own_images.folder import Photographs
from tlkeras.transfer.features import compiled_forward, inference_batch

# Network -> its last map, whose mean over all positions is the feature vector of an image.
MAPS = {"squeezenet": "fire9_concat", "alexnet": "pool5", "vgg16": "block5_pool"}
SIDE = 224  # pixels, of ImageNet's networks
_STAND_IN_SIDE = 64  # pixels, of networks that were trained on 32
BATCH = 32  # images between two looks at the clock


@dataclass(frozen=True)
class Backbone:
    """A network with weights that can be had; `stand_in` if they are this project's own, of small images."""

    network: str
    weights: str
    fingerprint: str
    stand_in: bool

    @property
    def side(self) -> int:
        """Pixels of the square that it is given."""
        return _STAND_IN_SIDE if self.stand_in else SIDE

    def classifier(self, num_classes: int) -> keras.Model:
        """Build the network with a new head; raw 0..255 images in, probabilities out."""
        builder = getattr(models, self.network)
        return builder(num_classes, (self.side, self.side, 3), weights=self.weights)

    def extractor(self) -> keras.Model:
        """Build what gives the features: the mean of each channel of the last map, `(batch, channels)`."""
        model = self.classifier(2)
        maps = model.get_layer(MAPS[self.network]).output
        pooled = keras.layers.GlobalAveragePooling2D(name=f"{self.network}_features")(maps)
        return keras.Model(model.input, pooled, name=f"{self.network}_base")


def available(names: Sequence[str] | None = None) -> tuple[list[Backbone], dict[str, str]]:
    """Return the backbones that can be had, cheapest first, and why the others cannot.

    Args:
        names: networks out of `MAPS`; None is all of them.

    Raises:
        ValueError: an unknown name.
        WeightsUnavailableError: none of them can be had.
    """
    unknown = sorted(set(names or ()) - set(MAPS))
    if unknown:
        raise ValueError(f"Expected backbones out of {list(MAPS)}. Received: {unknown}")
    found, missing = [], {}
    for network in MAPS:
        if names is None or network in names:
            try:
                best = records.best_available(network)
                found.append(Backbone(network, best.name, best.fingerprint, best.stand_in))
            except records.WeightsUnavailableError as error:
                first, *reasons = map(str.strip, str(error).splitlines())
                missing[network] = f"{first} {'; '.join(reasons)}"
    if not found:
        raise records.WeightsUnavailableError(f"Expected weights of at least one backbone. Received: {missing}")
    return found, missing


def features(
    backbone: Backbone, photographs: Photographs, *, told: Callable[[int], None] = lambda count: None
) -> np.ndarray:
    """Return the features of photographs, float32 `(n, channels)`; each image runs through a backbone once in its life.

    They are kept in `features/` of the cache by the content of the image. Whatever was computed when somebody
    interrupts is kept, too.

    Args:
        backbone: see `available`.
        photographs: of any sizes; their middle squares are seen.
        told: called with a number of images whenever so many are done.
    """
    path = home() / "features" / f"{backbone.network}-{backbone.fingerprint}-{backbone.side}.npz"
    known, names = _known(path), photographs.digests()
    missing = {name: image for name, image in zip(names, photographs.images, strict=True) if name not in known}
    told(sum(name in known for name in names))
    if missing:
        try:
            _compute(backbone, missing, known, told)
        finally:
            _keep(path, known)
    return np.stack([known[name] for name in names])


def _compute(
    backbone: Backbone, missing: Mapping[str, np.ndarray], known: dict[str, np.ndarray], told: Callable[[int], None]
) -> None:
    """Add the features of the missing images to the known ones, batch by batch."""
    extractor = backbone.extractor()
    forward = compiled_forward(extractor)
    size, items = inference_batch(extractor, BATCH), list(missing.items())
    for start in range(0, len(items), size):
        part = items[start : start + size]
        values = np.asarray(forward(squares([image for _, image in part], backbone.side)))
        known.update({name: value for (name, _), value in zip(part, values, strict=True)})
        told(len(part))


def _known(path: Path) -> dict[str, np.ndarray]:
    """Return what the cache holds; a file that cannot be read, or is another network's, is computed again."""
    try:
        stored = _files.read_arrays(path)
        if str(stored.get("of", path.name)) != path.name:
            return {}
        return dict(zip(map(str, stored["names"]), stored["features"], strict=True))
    except (ValueError, KeyError):
        return {}


def _keep(path: Path, known: Mapping[str, np.ndarray]) -> None:
    """Write the cache; another process may have added to it meanwhile, and a full or read-only disk costs nothing."""
    if not known:
        return
    together = {**_known(path), **known}
    with contextlib.suppress(OSError):
        arrays = {"names": np.array(list(together)), "features": np.stack(list(together.values()))}
        _files.write_arrays(path, {"of": np.array(path.name), **arrays})

"""Images of report 003: few of each class, at 32x32, and the source network that has seen others."""

import keras
import numpy as np
from PIL import Image

from tlkeras import data
from tlkeras.data import Dataset
from tlkeras.experiments.report import Inputs, once
from tlkeras.models import records, resnet32
from tlkeras.reports.l2t.settings import Settings

SIDE = 32
CLASSES = 200  # of Tiny ImageNet, which the source has seen


@once
def target(name: str) -> Dataset:
    """Load a data set once a process."""
    return data.load(name)


@once
def small(name: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return "train" and "test": images uint8 `(n, 32, 32, 3)`, labels `(n,)`. Larger ones are shrunk."""
    found = target(name)
    return {"train": (shrunk(found.x_train), found.y_train), "test": (shrunk(found.x_test), found.y_test)}


def shrunk(images: np.ndarray) -> np.ndarray:
    """Shrink uint8 images `(n, height, width, 3)` to 32x32, bilinear with antialiasing, as the official code does."""
    if images.shape[1:3] == (SIDE, SIDE):
        return images
    return np.stack([np.asarray(Image.fromarray(x).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for x in images])


def draw(labels: np.ndarray, per_class: int, classes: int, scarce: int, seed: int) -> np.ndarray:
    """Draw as many images of each class, and fewer of one, if asked: the class then is the seed's last digit.

    Args:
        labels: `(n,)` integers.
        per_class: images of a class.
        classes: how many there are.
        scarce: images of the scarce class; 0 is as many as of the others.
        seed: of the draw; every method gets the same.

    Returns:
        Indices `(count,)`, int64.
    """
    chosen = data.splits.few_shot(labels, per_class * classes, seed=seed, balanced=True, num_classes=classes)
    if not scarce:
        return chosen
    own = np.flatnonzero(labels[chosen] == scarce_class(seed, classes))
    return np.delete(chosen, own[scarce:])


def scarce_class(seed: int, classes: int) -> int:
    """Return which class has fewer images: the report names none, so it is another one with each seed."""
    return seed % classes


@once
def pretrained() -> dict:
    """Return which source weights there are: Jang et al.'s, else those of this project, named a stand-in."""
    found = records.best_available("resnet32")
    name = "tinyimagenet" if found.stand_in else found.name  # the stand-in's name in recorded runs
    return {"name": name, "fingerprint": found.fingerprint, "stand_in": found.stand_in}


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses: "data" and "weights", each with a fingerprint."""
    weights = [] if arm.method == "scratch" else [pretrained()]
    return {"data": [target(arm.dataset).provenance()], "weights": weights}


def source(num_classes: int = CLASSES) -> keras.Model:
    """Return ResNet32 with the weights of `pretrained`; for other classes its classifier is new."""
    weights = "tinyimagenet32" if pretrained()["stand_in"] else "official"
    return resnet32(num_classes, weights=weights, classifier_activation=None)

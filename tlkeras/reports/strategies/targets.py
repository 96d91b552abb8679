"""Targets of the strategies' study: data sets by name, cut by class, in the shape that SqueezeNet takes."""

import dataclasses

import numpy as np

from tlkeras import data
from tlkeras.data import Dataset
from tlkeras.experiments.report import once

_STAND_IN = "mnist"  # takes the place of grey data that cannot be had
SIDE = 32  # smallest side that SqueezeNet takes


@once
def target(name: str) -> Dataset:
    """Load a data set once a process; digits stand in, named as such, for letters or clothes that cannot be had."""
    try:
        return data.load(name)
    except data.DataUnavailableError:
        if data.RECORDS[name].shape[2] != 1:
            raise
    digits = data.load(_STAND_IN)
    source = f"{_STAND_IN}: {digits.source.removesuffix(' (stand-in)')}"
    return dataclasses.replace(digits, name=name, source=source, stand_in=True)


def cut(name: str, per_class: int, test_count: int, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Draw as many training images of each class; the test images are the same for every seed.

    Args:
        name: of the data set.
        per_class: training images of each class; fewer where the smallest class has fewer.
        test_count: test images, fewer where there are fewer.
        seed: of the draw.

    Returns:
        "train", "test" -> (images uint8 (n, height, width, 3), labels int32 (n,)).
    """
    found = target(name)
    smallest = int(np.bincount(found.y_train, minlength=found.num_classes).min())
    count = min(per_class, smallest) * found.num_classes
    train = data.splits.few_shot(found.y_train, count, seed=seed, balanced=True, num_classes=found.num_classes)
    (test,) = data.splits.holdout(found.y_test, (min(test_count, len(found.y_test)),), seed=0)
    return {
        "train": (coloured(found.x_train[train]), found.y_train[train]),
        "test": (coloured(found.x_test[test]), found.y_test[test]),
    }


def coloured(images: np.ndarray) -> np.ndarray:
    """Return images `(n, height, width, 3)` with sides of at least 32: grey ones repeated, small ones in a black frame.

    Args:
        images: uint8 `(n, height, width, 1 or 3)`.
    """
    missing = [max(0, SIDE - side) for side in images.shape[1:3]]
    frame = [(lack // 2, lack - lack // 2) for lack in missing]
    framed = np.pad(images, ((0, 0), *frame, (0, 0)))
    return np.repeat(framed, 3, axis=-1) if images.shape[-1] == 1 else framed

"""Images that two sets share: nearest neighbours of shrunken, standardised pixels, and of a network's features."""

from collections.abc import Callable, Sequence

import numpy as np

from tlkeras.data.images import squares

SIDE = 16  # pixels, of what is compared
ALIKE = 0.05  # unlike photographs stay above 0.1
BLOCK = 1_000  # images compared at a time
_FLAT = 1  # the length of grey values below which an image has no contrast
_SMALLEST = 1e-6  # a spread or length that is divided by
Images = np.ndarray | Sequence[np.ndarray]
Spaces = dict[str, tuple[list[np.ndarray], float]]  # name -> the vectors of one set or two, and the largest distance


def overlaps(
    first: Images,
    second: Images | None = None,
    *,
    largest: float = ALIKE,
    model: Callable | None = None,
    largest_of_features: float = ALIKE,
) -> list[dict]:
    """Find pairs of images that show the same: copies, resized, saved again or slightly cropped.

    The middle square of each image is shrunk to 16 x 16 grey pixels, less their mean, over their length. The distance
    of two images is 1 minus the product of these, that is 1 minus their correlation. Plain pictures, such as ships
    before the sky, come near each other by their pixels, and pictures of one thing by their features; with a model, a
    pair has to be near by both, so that larger distances can be looked at. Look at the pairs all the same.

    Args:
        first: images, uint8 `(n, height, width, 3)` or a sequence of `(height, width, 3)`, of any sizes.
        second: compared with them; None compares the first among themselves.
        largest: distance of the pixels of a pair, 0..2.
        model: a function from a batch of images to features `(n, ...)`, such as a Keras model without its top; both
            sets must have the size that it takes. Each feature is standardised over both sets.
        largest_of_features: distance of the features of a pair, 1 minus their cosine, 0..2.

    Returns:
        Rows of `first`, `second` (numbers of the images), `distance` (0 is the same) and, with a model,
        `feature_distance`; the smallest distance first. An image without contrast is like none.

    Raises:
        ValueError: a set without images.
    """
    sets = _sets(first, second)
    spaces = {"distance": ([_standardised(images) for images in sets], largest)}
    if model is not None:
        spaces["feature_distance"] = (_features(model, sets), largest_of_features)
    return _pairs(spaces)[0]


def closest(first: Images, second: Images | None = None, *, most: int) -> tuple[list[dict], int]:
    """Return the closest pairs that `overlaps` finds by pixels, at most `most`, and how many there are.

    Of n frames of one film nearly all n * n / 2 pairs are alike, which memory need not hold.

    Raises:
        ValueError: a set without images.
    """
    return _pairs({"distance": ([_standardised(images) for images in _sets(first, second)], ALIKE)}, most)


def _sets(first: Images, second: Images | None) -> list[Images]:
    if not len(first) or (second is not None and not len(second)):
        received = f"{len(first)} and {'none' if second is None else len(second)}"
        raise ValueError(f"Expected images in both sets. Received: {received}")
    return [first] if second is None else [first, second]


def _pairs(spaces: Spaces, most: int | None = None) -> tuple[list[dict], int]:
    """Return the pairs that are near in every space, the closest first, at most `most`, and how many there are."""
    rows: list[dict] = []
    count = 0
    for start in range(0, len(spaces["distance"][0][0]), BLOCK):
        near = {name: _distances(vectors, start) for name, (vectors, _) in spaces.items()}
        found = np.logical_and.reduce([near[name] < limit for name, (_, limit) in spaces.items()])
        if len(spaces["distance"][0]) == 1:
            found = np.triu(found, start + 1)  # each pair once
        first, second = np.nonzero(found)
        count += len(first)
        for place in np.argsort(near["distance"][first, second].round(4), kind="stable")[:most]:
            row, column = first[place], second[place]
            numbers = {"first": start + int(row), "second": int(column)}
            rows.append(numbers | {name: round(float(block[row, column]), 4) for name, block in near.items()})
        rows = sorted(rows, key=lambda row: (row["distance"], row["first"], row["second"]))[:most]
    return rows, count


def _standardised(images: Images) -> np.ndarray:
    """Return each image as 256 grey values of mean 0 and length 1, float32; one without any contrast is 0."""
    grey = squares(list(images), SIDE).astype(np.float32).mean(-1).reshape(len(images), -1)
    return _of_length_one(grey - grey.mean(1, keepdims=True), _FLAT)


def _features(model: Callable, sets: Sequence[Images]) -> list[np.ndarray]:
    """Return the features of each set, each feature standardised over all sets, each row of length 1."""
    found = []
    for images in sets:
        batches = [np.stack(list(images[start : start + BLOCK])) for start in range(0, len(images), BLOCK)]
        rows = np.concatenate([np.asarray(model(batch)) for batch in batches])
        found.append(rows.reshape(len(rows), -1).astype(np.float32))
    joined = np.concatenate(found)
    mean, spread = joined.mean(0), np.maximum(joined.std(0), _SMALLEST)
    return [_of_length_one((rows - mean) / spread, _SMALLEST) for rows in found]


def _of_length_one(rows: np.ndarray, least: float) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.where(lengths < least, 0, rows / np.maximum(lengths, least))


def _distances(vectors: Sequence[np.ndarray], start: int) -> np.ndarray:
    return 1 - vectors[0][start : start + BLOCK] @ vectors[-1].T

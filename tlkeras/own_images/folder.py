"""Read a folder of photographs, and say what is amiss before anything is trained on it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tlkeras import data
from tlkeras.data.images import ImageTree, image_paths, squares
from tlkeras.data.shared import closest

_FEWEST = 5  # images of a class: one for each fold of the cross-validation
_MOST_CLASSES = 1_000  # more are usually folders of another kind, such as one for each photograph
_MOST_PAIRS = 1_000  # of images that show the same; frames of a film have millions
_SCARCE = 20  # images of a class, below which its own recall is anybody's guess
_FOR_TRAINING = ("train", "training", "all")


class FolderError(ValueError):
    """A folder that no classifier can be trained on; the message says what to change."""


@dataclass(frozen=True, eq=False)
class Photographs:
    """Labelled photographs: `images` are uint8 RGB `(height, width, 3)` of any size, `labels` int32 `(n,)`."""

    images: tuple[np.ndarray, ...]
    labels: np.ndarray
    files: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def digests(self) -> list[str]:
        """Return a name for the content of each image, whatever its file is called."""
        return [hashlib.sha256(f"{image.shape}".encode() + image.tobytes()).hexdigest()[:24] for image in self.images]

    def squares(self, side: int) -> np.ndarray:
        """Return the middle square of each image, uint8 `(n, side, side, 3)`."""
        return squares(self.images, side)


@dataclass(frozen=True, eq=False)
class Collection:
    """What a folder holds: the images to train on, and those of further splits, which are looked at once at the end."""

    name: str
    class_names: tuple[str, ...]
    train: Photographs
    held_out: Photographs | None
    problems: tuple[str, ...]
    fingerprint: str
    stand_in: bool = False

    def counts(self) -> dict[str, int]:
        """Return the number of training images of each class."""
        sizes = np.bincount(self.train.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, map(int, sizes), strict=True))

    def scarce(self) -> dict[str, int]:
        """Return the classes with so few images that little can be said of them, and how many they have."""
        return {name: count for name, count in self.counts().items() if count < _SCARCE}


def read(path: Path | str) -> Collection:
    """Read `class/image` or `split/class/image`, or a data set of images by its name, such as "hymenoptera".

    A Path always is a folder, and a folder of that name goes before a data set. Of several splits, one called "train"
    or "training" is trained on and the others are held out; without one, all images are pooled.

    Raises:
        FolderError: no such folder, no images in it, more than memory shall hold, fewer than two classes, more than
            1,000, or a class with fewer than five training images.
    """
    try:
        named = isinstance(path, str) and path in data.RECORDS and not Path(path).is_dir()
        tree = data.load(str(path)) if named else _read_folder(Path(path))
    except ValueError as error:
        raise FolderError(str(error)) from None
    if not isinstance(tree, ImageTree):
        raise FolderError(f"Expected a folder of images, or the name of one. Received: {str(path)!r}, which is arrays")
    names = [split for split in tree.images if split.lower() in _FOR_TRAINING] or list(tree.images)
    collection = Collection(
        tree.name,
        tree.class_names,
        _joined(tree, names),
        _joined(tree, others) if (others := [split for split in tree.images if split not in names]) else None,
        (*tree.problems, *_pooled(names)),
        tree.fingerprint,
        tree.stand_in,
    )
    _check(collection)
    return collection


def _pooled(names: Sequence[str]) -> list[str]:
    """Return a problem where several splits are trained on because none is called so, else none."""
    if len(names) < 2 or names[0].lower() in _FOR_TRAINING:
        return []
    return [f"a held-out set: of the splits {', '.join(names)} none is called train, so all are trained on"]


def _read_folder(path: Path) -> data.Dataset | ImageTree:
    """Read a folder that has not too many classes, which are counted before any photograph is decoded."""
    labels = [label for _, label, _ in image_paths(path, [])]
    if (count := len(set(labels))) > _MOST_CLASSES:
        raise FolderError(
            f"Expected at most {_MOST_CLASSES:,} classes; is each photograph in a folder of its own? "
            f"Received: {count:,} classes of {len(labels):,} files"
        )
    return data.load(path)


def _joined(tree: ImageTree, splits: Sequence[str]) -> Photographs:
    return Photographs(
        tuple(image for split in splits for image in tree.images[split]),
        np.concatenate([tree.labels[split] for split in splits]),
        tuple(file for split in splits for file in tree.files[split]),
    )


def _check(collection: Collection) -> None:
    counts = collection.counts()
    if len(counts) < 2:
        raise FolderError(
            f"Expected at least two classes, each a folder of its own: class/image. Received: {list(counts)}"
        )
    few = {name: count for name, count in counts.items() if count < _FEWEST}
    if few:
        raise FolderError(
            f"Expected at least {_FEWEST} training images of each class: add some, or take the class out. "
            f"Received: {few}"
        )


def near_duplicates(first: Photographs, second: Photographs | None = None) -> tuple[list[dict], int]:
    """Return pairs of images that show the same: copies, resized or saved again, of a set or of two sets.

    Args:
        first: images.
        second: compared with them; None compares the first among themselves.

    Returns:
        Rows of `first`, `second` (files), `same_class` and `likeness` (up to 1), the most alike first and at most
        1,000; and how many pairs there are. See `tlkeras.data.overlaps`.
    """
    other = second or first
    pairs, count = closest(first.images, second.images if second else None, most=_MOST_PAIRS)
    rows = [
        {
            "first": first.files[row["first"]],
            "second": other.files[row["second"]],
            "same_class": bool(first.labels[row["first"]] == other.labels[row["second"]]),
            "likeness": round(1 - row["distance"], 4),
        }
        for row in pairs
    ]
    return rows, count

"""The photographs of report 004, cut as its arms need them."""

import functools

import numpy as np

from tlkeras import data
from tlkeras.data.images import ImageTree
from tlkeras.experiments.report import once
from tlkeras.reports.ants_bees.settings import Settings
from tlkeras.transfer import FeatureCache
from tlkeras.transfer.batches import fixed_views

Pair = tuple[np.ndarray, np.ndarray]  # images uint8 (n, height, width, 3), labels int32 (n,)
_CACHE_BYTES = 2**31  # ten views of all photographs through both networks, and two through most of VGG16


@once
def images() -> ImageTree:
    """Load the ants and bees once a process; patches of photographs stand in where they cannot be had."""
    return data.load("hymenoptera")


@functools.cache
def cache() -> FeatureCache:
    """Return the features that the seeds and arms of a process share."""
    return FeatureCache(_CACHE_BYTES)


@functools.lru_cache(4)
def _squares(tree: ImageTree, split: str, side: int, count: int) -> Pair:
    """Return the middle squares of `count` photographs of a split, evenly over its classes, all of them at most."""
    photographs, labels = tree.arrays(split, side)
    places = np.linspace(0, len(labels) - 1, min(count, len(labels))).round().astype(int)
    chosen = np.argsort(labels, kind="stable")[places]
    return photographs[chosen], labels[chosen]


def training(arm: Settings, seed: int) -> Pair:
    """Return the training images: larger than the network takes, for random crops, or in so many fixed views.

    The seed draws the half that is mirrored and added.
    """
    photographs, labels = _squares(images(), "train", arm.resize, arm.train_count)
    if arm.mirrored:
        half = np.random.default_rng(seed).permutation(len(labels))[: len(labels) // 2]
        photographs = np.concatenate([photographs, photographs[half, :, ::-1]])
        labels = np.concatenate([labels, labels[half]])
    return _viewed(photographs, labels, arm, arm.views) if arm.views else (photographs, labels)


def validation(arm: Settings, count: int = 1) -> Pair:
    """Return the validation images, the same for every seed: the middle of each, or `count` views in turn."""
    return _viewed(*_squares(images(), "val", arm.resize, arm.validation_count), arm, count)


def _viewed(photographs: np.ndarray, labels: np.ndarray, arm: Settings, count: int) -> Pair:
    return np.concatenate(fixed_views(photographs, arm.side, count)), np.tile(labels, count)

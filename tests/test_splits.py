"""Draws are seeded, balanced and without replacement; images and labels that do not fit are named beforehand."""

import keras
import numpy as np
import pytest
from helpers import labelled, tiny

from tlkeras.data import fingerprint, splits
from tlkeras.data.splits import check_images, check_labelled

TEN_CLASSES = np.repeat(np.arange(10), 40)[np.random.default_rng(7).permutation(400)]


@pytest.mark.parametrize("balanced", [True, False])
def test_few_shot_is_seeded_and_without_replacement(balanced):
    first = splits.few_shot(TEN_CLASSES, 100, seed=3, balanced=balanced)
    again = splits.few_shot(TEN_CLASSES, 100, seed=3, balanced=balanced)
    other = splits.few_shot(TEN_CLASSES, 100, seed=4, balanced=balanced)
    assert first.dtype == np.int64
    assert first.shape == (100,)
    assert len(set(first.tolist())) == 100
    assert fingerprint(first) == fingerprint(again) != fingerprint(other)


def test_balanced_few_shot_takes_the_same_from_each_class_in_random_order():
    drawn = TEN_CLASSES[splits.few_shot(TEN_CLASSES, 100, seed=0, balanced=True)]
    assert np.bincount(drawn).tolist() == [10] * 10
    assert np.any(np.diff(drawn) < 0)


def test_plain_few_shot_is_uniform():
    labels = np.zeros(20, int)
    counts = np.zeros(20)
    for seed in range(2000):
        counts[splits.few_shot(labels, 5, seed=seed, balanced=False)] += 1
    # Each index is hit 500 times on average, with a standard deviation of 19.4.
    assert np.abs(counts - 500).max() < 5 * 19.4


def test_few_shot_can_take_everything():
    drawn = splits.few_shot(TEN_CLASSES, 400, seed=0, balanced=True)
    assert sorted(drawn.tolist()) == list(range(400))


@pytest.mark.parametrize(
    ("labels", "count", "options", "message"),
    [
        (TEN_CLASSES, 410, {"balanced": True}, r"1\.\.400 samples.*Received: count=410"),
        (TEN_CLASSES, 410, {"balanced": False}, r"1\.\.400 samples.*Received: count=410"),
        (TEN_CLASSES, 0, {"balanced": False}, "Received: count=0"),
        (TEN_CLASSES, 10.0, {"balanced": False}, "Received: count=10.0"),
        (TEN_CLASSES, True, {"balanced": False}, "Received: count=True"),
        (TEN_CLASSES, 99, {"balanced": True}, "10 classes divide evenly.*Received: count=99"),
        (np.array([0, 0, 0, 1]), 4, {"balanced": True}, "class 1 has only 1 samples.*Received: count=4"),
        (np.array([0, 0, 1, 1]), 3, {"balanced": True, "num_classes": 3}, "class 2 has only 0 samples"),
        (np.array([0, 1, 5]), 2, {"balanced": True, "num_classes": 2}, r"labels in 0\.\.1.*max=5"),
        (np.array([-1, 1]), 2, {"balanced": False}, "Received: min=-1"),
        (np.array([[0], [1]]), 2, {"balanced": False}, r"labels of shape \(n,\)"),
        (np.array([]), 1, {"balanced": False}, "labels of integers"),
    ],
)
def test_few_shot_refuses(labels, count, options, message):
    with pytest.raises(ValueError, match=message):
        splits.few_shot(labels, count, seed=0, **options)


@pytest.mark.parametrize("samples", [TEN_CLASSES, 400])
def test_holdout_parts_are_disjoint_and_seeded(samples):
    parts = splits.holdout(samples, [300, 60, 40], seed=1)
    assert [len(part) for part in parts] == [300, 60, 40]
    assert sorted(np.concatenate(parts).tolist()) == list(range(400))
    assert fingerprint(*parts) == fingerprint(*splits.holdout(samples, [300, 60, 40], seed=1))
    assert fingerprint(*parts) != fingerprint(*splits.holdout(samples, [300, 60, 40], seed=2))


def test_holdout_leaves_the_rest_out():
    (part,) = splits.holdout(50, [7], seed=0)
    assert part.dtype == np.int64
    assert part.shape == (7,)
    assert splits.holdout(5, [], seed=0) == ()


@pytest.mark.parametrize("sizes", [[300, 101], [-1], [2.5], [True]])
def test_holdout_refuses(sizes):
    with pytest.raises(ValueError, match="Received: sizes="):
        splits.holdout(400, sizes, seed=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_good_images_pass(dtype):
    splits.validate_images(np.full((2, 4, 4, 3), 255, dtype), (4, 4, 3))
    splits.validate_images(np.empty((0, 4, 4, 3), dtype), (4, 4, 3))


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 4, 4, 1)), r"shape \(n, 4, 4, 3\)\. Received: shape=\(2, 4, 4, 1\)"),
        (np.zeros((4, 4, 3)), r"Received: shape=\(4, 4, 3\)"),
        (np.full((1, 4, 4, 3), np.nan), r"finite values. Received: NaN or infinity in images \[0\]$"),
        (np.full((1, 4, 4, 3), np.inf), "finite values"),
        (np.full((1, 4, 4, 3), -0.5), r"0\.\.255. Received: min=-0.5"),
        (np.full((1, 4, 4, 3), 256), r"0\.\.255. Received: min=256"),
        (np.full((1, 4, 4, 3), "a"), "Received: dtype=<U1"),
        (np.full((1, 4, 4, 3), True), "Received: dtype=bool"),
    ],
)
def test_bad_images_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        splits.validate_images(x, (4, 4, 3))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.array([0, 3]), r"0\.\.2\. Received: min=0, max=3"),
        (np.array([-1]), "Received: min=-1"),
        (np.array([0.0]), "Received: dtype=float64"),
        (np.array([[1]]), r"Received: shape=\(1, 1\)"),
    ],
)
def test_bad_labels_are_refused(y, message):
    splits.validate_labels(np.array([0, 2], np.uint8), 3)
    with pytest.raises(ValueError, match=message):
        splits.validate_labels(y, 3)


IMAGES, LABELS = labelled()


@pytest.fixture(scope="module")
def model():
    return tiny()


def test_good_data_pass(model):
    check_labelled(model, IMAGES, LABELS)
    check_labelled(model, IMAGES.astype(np.float32), LABELS.astype(np.int64))
    check_labelled(model, IMAGES.tolist(), LABELS.tolist())
    for dtype in (np.float32, np.uint8):
        check_images(model, np.zeros_like(IMAGES, dtype))  # black images are images


BAD = {
    "half images": (IMAGES[:, :4], LABELS, r"images of shape \(n, 8, 8, 1\)\. Received: shape=\(12, 4, 8, 1\)$"),
    "no channels": (IMAGES[..., 0], LABELS, r"images of shape \(n, 8, 8, 1\)\. Received: shape=\(12, 8, 8\)$"),
    "negative": (IMAGES - 300.0, LABELS, r"values in 0\.\.255\. Received: min=-"),
    "NaN": (np.full(IMAGES.shape, np.nan), LABELS, r"finite values\. Received: NaN or infinity in images \[0, 1, 2"),
    "scaled": (IMAGES / 255.0, LABELS, r"raw images, 0\.\.255.* Received: float64 from 0\.0 to 1\.0, which look"),
    "scaled and cut off": (
        (IMAGES / 255).astype(np.uint8),
        LABELS,
        r"0\.\.255.* Received: uint8 from 0 to 1, which look",
    ),
    "masks": ((IMAGES > 99).astype(np.int64), LABELS, r"Received: int64 from 0 to 1, which look scaled to 0\.\.1$"),
    "another class": (IMAGES, LABELS + 1, r"labels in 0\.\.2, which start at 0: subtract 1\. Received: min=1, max=3$"),
    "float labels": (IMAGES, LABELS.astype(float), "labels of integers"),
    "a label missing": (IMAGES, LABELS[:-1], r"one label each\. Received: 12 images, 11 labels$"),
    "nothing": (IMAGES[:0], LABELS[:0], r"one label each\. Received: 0 images, 0 labels$"),
}


@pytest.mark.parametrize(("images", "labels", "message"), BAD.values(), ids=BAD)
def test_bad_data_are_named(model, images, labels, message):
    with pytest.raises(ValueError, match=message):
        check_labelled(model, images, labels)


def test_no_image_is_no_image(model):
    with pytest.raises(ValueError, match=r"at least one image\. Received: 0 images$"):
        check_images(model, IMAGES[:0])


def test_preprocessed_images_need_only_be_finite(model):
    for images in (IMAGES / 255.0, IMAGES - 300.0):
        check_labelled(model, images, LABELS, raw=False)
    with pytest.raises(ValueError, match=r"NaN or infinity in images \[3\]$"):
        check_labelled(model, np.where(np.arange(12)[:, None, None, None] == 3, np.inf, IMAGES), LABELS, raw=False)
    with pytest.raises(ValueError, match=r"integers or floats\. Received: dtype=bool"):
        check_images(model, IMAGES > 9, raw=False)


def test_images_may_be_larger_where_they_are_cut_down_and_of_any_side_where_the_model_takes_any(model):
    images, labels = labelled(shape=(9, 11, 1))
    check_labelled(model, images, labels, shape=(9, 11, 1))
    with pytest.raises(ValueError, match=r"images of shape \(n, 9, 12, 1\)"):
        check_images(model, images, shape=(9, 12, 1))
    inputs = keras.Input((None, None, 1))
    anything = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(inputs)))
    check_labelled(anything, images, labels)
    with pytest.raises(ValueError, match=r"images of shape \(n, 9, 11, 1\)\. Received: shape=\(12, 9, 11, 2\)"):
        check_images(anything, labelled(shape=(9, 11, 2))[0])

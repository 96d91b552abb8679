"""Images and labels that do not fit a model are named before anything is computed."""

import keras
import numpy as np
import pytest
from helpers import labelled, tiny

from tlkeras.checks import check_images, check_labelled

IMAGES, LABELS = labelled()


@pytest.fixture(scope="module")
def model():
    return tiny()


def test_good_data_pass(model):
    check_labelled(model, IMAGES, LABELS)
    check_labelled(model, IMAGES.astype(np.float32), LABELS.astype(np.int64))
    check_labelled(model, IMAGES.tolist(), LABELS.tolist())
    check_images(model, np.zeros_like(IMAGES, np.float32))  # black images are images


BAD = {
    "half images": (IMAGES[:, :4], LABELS, r"images of shape \(n, 8, 8, 1\)\. Received: shape=\(12, 4, 8, 1\)$"),
    "no channels": (IMAGES[..., 0], LABELS, r"images of shape \(n, 8, 8, 1\)\. Received: shape=\(12, 8, 8\)$"),
    "negative": (IMAGES - 300.0, LABELS, r"values in 0\.\.255\. Received: min=-"),
    "NaN": (np.full(IMAGES.shape, np.nan), LABELS, r"finite values\. Received: NaN or infinity in images \[0, 1, 2"),
    "scaled": (IMAGES / 255.0, LABELS, r"raw images, 0\.\.255.* Received: floats from 0\.0 to 1\.0, which look scaled"),
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

"""Bad images and labels are named before a step is trained."""

import numpy as np
import pytest
from helpers import labelled, tiny

from tlkeras.transfer import finetune, inputs, two_phases

IMAGES, LABELS = labelled()


@pytest.fixture(scope="module")
def model():
    return tiny()


def test_good_data_pass(model):
    inputs.check_pair(model, IMAGES, LABELS)
    inputs.check_pair(model, IMAGES.astype(np.float32), LABELS.astype(np.int64))
    inputs.check_pair(model, np.zeros_like(IMAGES, np.float32), LABELS)  # black images are images


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (IMAGES[:, :4], LABELS, "images of shape"),
        (IMAGES[..., 0], LABELS, "images of shape"),
        (IMAGES - 300.0, LABELS, "values in 0..255"),
        (np.full(IMAGES.shape, np.nan), LABELS, "finite"),
        (IMAGES / 255.0, LABELS, "look scaled"),
        (IMAGES, LABELS + 1, r"labels in 0\.\.2"),
        (IMAGES, LABELS.astype(float), "integers"),
        (IMAGES, LABELS[:-1], "one label each"),
        (IMAGES[:0], LABELS[:0], "one label each"),
    ],
)
def test_bad_data_are_named(model, images, labels, message):
    with pytest.raises(ValueError, match=message):
        inputs.check_pair(model, images, labels)


def test_finetune_checks_before_it_trains(model):
    before = model.get_weights()
    with pytest.raises(ValueError, match="labels in"):
        finetune(model, (IMAGES, LABELS), (IMAGES, LABELS + 1), two_phases(1, 1), seed=0)
    assert all((old == new).all() for old, new in zip(before, model.get_weights(), strict=True))

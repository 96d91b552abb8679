"""Unfit models, pairs, images and plans are refused before anything is trained, with what was expected and received."""

import keras
import numpy as np
import pytest
from l2t_helpers import ALIKE, PAIRS, SMALL, images, made, networks

from tlkeras.l2t import LearningToTransfer, Settings

X, Y = images(7)


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "message"),
    [
        (X, Y, 6, r"at least two images in every batch.*Received: 7 images in batches of 6$"),
        (X, Y, 1, r"at least two images in every batch"),
        (X[:, :4], Y, 7, r"Expected images \(n, 8, 8, 3\)\. Received: shape=\(7, 4, 8, 3\)$"),
        (X, Y[:5], 7, r"Received: 7 images, 5 labels$"),
        (X[:0], Y[:0], 7, r"Received: 0 images, 0 labels$"),
        (X, Y + 1, 7, r"Expected labels in 0\.\.2"),
        (np.where(X < 9, np.nan, X), Y, 7, r"Received: NaN or infinity$"),
    ],
)
def test_unfit_data_are_refused(x, y, batch_size, message):
    with pytest.raises(ValueError, match=message):
        made(pairs=[], **ALIKE).fit(x, y, epochs=1, batch_size=batch_size)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"epochs": 0}, r"at least one epoch.* Received: epochs=0, validation_every=1$"),
        ({"validation_every": 0}, r"Received: epochs=3, validation_every=0$"),
        ({"validation": (X[:0], Y[:0])}, r"Received: 0 images, 0 labels$"),
        ({"validation": (X, Y + 1)}, r"Expected labels in 0\.\.2"),
        ({"validation": (X[:, :4], Y)}, r"Received: shape=\(7, 4, 8, 3\)$"),
    ],
)
def test_an_unfit_plan_is_refused_before_it_costs_an_epoch(options, message):
    seen = []
    watch = keras.callbacks.LambdaCallback(on_train_begin=seen.append)
    with pytest.raises(ValueError, match=message):
        made(pairs=[], **ALIKE).fit(*images(), **{**SMALL, **options}, callbacks=[watch])
    assert not seen


def test_models_that_do_not_fit_are_refused():
    source, target = networks()
    with pytest.raises(ValueError, match=r"in one precision, such as float32\. Received: \['float32', 'float64'\]$"):
        LearningToTransfer(networks(name="float64")[0], target, PAIRS)
    mixed = keras.Sequential([target, keras.layers.Dense(3, dtype="mixed_float16")])
    with pytest.raises(ValueError, match=r"Received: \['float32', 'mixed_float16'\]$"):
        LearningToTransfer(source, mixed, [], **ALIKE)
    target.trainable = False
    with pytest.raises(ValueError, match=r"weights to train\. Received: all frozen, or none$"):
        LearningToTransfer(source, target, PAIRS)
    target.trainable = True
    larger = keras.Model(inputs := keras.Input((9, 9, 3)), keras.layers.Conv2D(2, 3)(inputs))
    with pytest.raises(ValueError, match=r"take the same images\. Received: "):
        LearningToTransfer(larger, target, PAIRS)
    with pytest.raises(ValueError, match=r"outputs \(batch, classes\)\. Received: \(None, 7, 7, 2\)$"):
        LearningToTransfer(larger, larger, [])
    with pytest.raises(ValueError, match=r"pairs to ask what, where or which about\. Received: none$"):
        LearningToTransfer(source, target, [])


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"0 or more lookahead steps\. Received: lookahead=-1$"):
        Settings(lookahead=-1)

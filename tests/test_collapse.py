"""A collapsed classifier is named once, a healthy one never."""

import math
import warnings

import keras
import numpy as np
import pytest
from helpers import images, tiny

from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector

GUESSING = {"loss": math.log(3)}


def collapsed():
    model = tiny()
    kernel, bias = model.get_layer("dense").weights
    kernel.assign(np.zeros(kernel.shape))
    bias.assign(np.zeros(bias.shape))
    return model


def test_warns_once_and_remembers_the_epoch():
    detector = CollapseDetector(collapsed(), images())
    detector.on_epoch_end(0, {"loss": 1.5})
    with pytest.warns(CollapsedClassifierWarning, match="by epoch 2: loss 1.0986"):
        detector.on_epoch_end(1, GUESSING)
    detector.on_epoch_end(2, GUESSING)  # a second warning would be an error here
    assert detector.collapsed_at == 2


@pytest.mark.parametrize("stop", [False, True])
def test_stops_the_training_on_demand(stop):
    model = collapsed()
    model.compile(keras.optimizers.SGD(1e-30), "sparse_categorical_crossentropy")
    detector = CollapseDetector(model, images(), stop=stop)
    with pytest.warns(CollapsedClassifierWarning):
        history = model.fit(images(), np.zeros(12, np.int32), epochs=3, verbose=0, callbacks=[detector])
    assert len(history.epoch) == (1 if stop else 3)


def test_an_untrained_network_at_the_same_loss_is_not_collapsed():
    detector = CollapseDetector(tiny(), images())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector.on_epoch_end(0, GUESSING)
    assert detector.collapsed_at is None


def test_constant_predictions_at_another_loss_are_not_called_collapsed():
    detector = CollapseDetector(collapsed(), images())
    detector.on_epoch_end(0, {"loss": 0.3})
    assert detector.collapsed_at is None


def test_one_image_cannot_tell():
    with pytest.raises(ValueError, match="Received: 1"):
        CollapseDetector(tiny(), images(1))

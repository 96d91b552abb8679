"""Our evaluation gives Keras' numbers, whatever the batch size."""

import keras
import numpy as np
import pytest
from helpers import labelled, randomised, tiny

from tlkeras.transfer import evaluation
from tlkeras.transfer.evaluation import Evaluator, Validation, evaluate
from tlkeras.transfer.freezing import compile_classifier, has_logits

PIXELS, LABELS = labelled(23)


def by_layer(layer):
    inputs = keras.Input((8, 8, 1))
    return keras.Model(inputs, layer(keras.layers.Dense(3)(keras.layers.Flatten()(inputs))))


MODELS = {
    "softmax": lambda: tiny(),
    "logits": lambda: tiny(classifier_activation=None),
    "softmax layer": lambda: by_layer(keras.layers.Softmax()),
}


@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
def test_equals_keras(build):
    model = randomised(build(), seed=1)
    compile_classifier(model, keras.optimizers.Adam())
    keras_loss, keras_accuracy = model.evaluate(PIXELS, LABELS, verbose=0)
    for batch_size in (1000, 23, 10, 7):
        loss, accuracy = Evaluator(model, batch_size)(PIXELS, LABELS)
        assert loss == pytest.approx(keras_loss, abs=1e-5)
        assert accuracy == pytest.approx(keras_accuracy, abs=1e-5)
    assert evaluate(model, PIXELS, LABELS.astype(np.uint8)) == pytest.approx((keras_loss, keras_accuracy), abs=1e-5)


@pytest.mark.parametrize(
    ("layer", "logits"),
    [
        (keras.layers.Softmax(), False),
        (keras.layers.Activation("softmax"), False),
        (keras.layers.Dense(3, activation="softmax"), False),
        (keras.layers.Dense(3), True),
        (keras.layers.Flatten(), True),
        (keras.Sequential([keras.layers.Dense(3), keras.layers.Softmax()]), False),
        (keras.Sequential([keras.layers.Dense(3)]), True),
    ],
)
def test_logits_are_told_from_probabilities(layer, logits):
    assert has_logits(by_layer(layer)) is logits


def test_new_weights_are_seen_without_a_new_evaluator():
    model = tiny()
    evaluator = Evaluator(model)
    before = evaluator(PIXELS, LABELS)
    randomised(model, seed=5)
    assert evaluator(PIXELS, LABELS) == pytest.approx(evaluate(model, PIXELS, LABELS))
    assert evaluator(PIXELS, LABELS) != before


@pytest.mark.parametrize("kept_bytes", [0, 2**20], ids=["copied each time", "kept"])
@pytest.mark.parametrize(("every", "validated"), [(1, [0, 1, 2, 3, 4]), (2, [1, 3, 4]), (9, [4])])
def test_every_nth_epoch_and_the_last_are_validated(every, validated, kept_bytes, monkeypatch):
    monkeypatch.setattr(evaluation, "KEPT_BYTES", kept_bytes)
    model = tiny()
    callback = Validation(model, PIXELS, LABELS, every=every)
    callback.set_params({"epochs": 5})
    logs = [{"loss": 1.0} for _ in range(5)]
    for epoch, entry in enumerate(logs):
        callback.on_epoch_end(epoch, entry)
    assert [epoch for epoch, entry in enumerate(logs) if len(entry) > 1] == validated
    loss, accuracy = evaluate(model, PIXELS, LABELS)
    assert logs[4] == {"loss": 1.0, "val_loss": pytest.approx(loss), "val_accuracy": pytest.approx(accuracy)}

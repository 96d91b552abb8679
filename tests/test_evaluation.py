"""Our scores are those of Keras and scikit-learn; recalibrated statistics are those of the images, and alone change."""

import keras
import numpy as np
import pytest
from helpers import images, labelled, randomised, tiny
from sklearn.metrics import roc_auc_score

from tlkeras.transfer import Phase, evaluation, finetune, recalibrate
from tlkeras.transfer.evaluation import Evaluator, UndefinedMetricWarning, Validation, evaluate
from tlkeras.transfer.freezing import compile_classifier

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
        assert loss == pytest.approx(keras_loss, rel=1e-6, abs=1e-5)  # float32
        assert accuracy == pytest.approx(keras_accuracy, abs=1e-5)
    assert evaluate(model, PIXELS, LABELS.astype(np.uint8)) == pytest.approx((keras_loss, keras_accuracy), abs=1e-5)


def test_weights_count_for_a_data_set_as_for_arrays():
    model, weights = randomised(tiny(), seed=1), np.linspace(0.1, 2, len(LABELS))
    expected = evaluate(model, PIXELS, LABELS, weights)
    assert expected != evaluate(model, PIXELS, LABELS)
    for data in ((PIXELS, LABELS), iter([(PIXELS[:9], LABELS[:9]), (PIXELS[9:], LABELS[9:])])):
        assert evaluate(model, data, sample_weight=weights) == expected
    with pytest.raises(ValueError, match=r"as sample_weight=\. Received: both$"):
        evaluate(model, (PIXELS, LABELS, weights), sample_weight=weights)


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


BINARY = np.array([0, 0, 1, 1, 1])
ODDS = np.array([-1.0, 0.5, 0.2, 3.0, 1.0])


def probabilities(log_odds):
    return np.stack([1 / (1 + np.exp(log_odds)), 1 / (1 + np.exp(-log_odds))], axis=1)


def test_it_is_scikit_learns():
    expected = roc_auc_score(BINARY, ODDS)
    assert 0.5 < expected < 1
    assert evaluation.roc_auc(BINARY, ODDS) == evaluation.roc_auc(BINARY, probabilities(ODDS)) == expected


def test_it_ranks_beyond_the_rounding_of_float32():
    odds = np.array([18.0, 20.0, 30.0])
    found = probabilities(odds).astype(np.float32)
    found[:, 0] = np.exp(-odds)
    assert found[1, 1] == found[2, 1] == 1
    np.testing.assert_allclose(evaluation.log_odds(found), odds, rtol=1e-3)
    assert evaluation.roc_auc(np.array([0, 1, 1]), found) == 1


@pytest.mark.parametrize("scores", [np.zeros(5) + np.nan, np.full((5, 2), np.nan)])
def test_no_finite_scores(scores):
    assert np.isnan(evaluation.roc_auc(BINARY, scores))


def test_one_class_only():
    assert np.isnan(evaluation.roc_auc(np.ones(5, int), ODDS))


def test_three_classes():
    with pytest.raises(ValueError, match=r"two classes, \(n, 2\)\. Received: shape=\(5, 3\)"):
        evaluation.roc_auc(BINARY, np.ones((5, 3)))


PHASES = (Phase("first", "head", 2, 0.01), Phase("second", "all", 1, 0.01))


def scored_each_epoch(labels, **options):
    model, pictures = tiny(num_classes=2), images(12)
    train = pictures, np.arange(12, dtype=np.int32) % 2
    history = finetune(
        model,
        train,
        (pictures[: len(labels)], labels),
        PHASES,
        seed=0,
        metrics={"roc_auc": evaluation.roc_auc},
        **options,
    )
    return model, history, pictures[: len(labels)]


def test_it_is_computed_at_each_validation():
    model, history, pictures = scored_each_epoch(np.array([0, 1] * 5), validation_every=2)
    first, second, third = history.metrics["val_roc_auc"]
    assert first is None and 0 <= second <= 1
    outputs = keras.ops.convert_to_numpy(model(pictures))
    assert third == pytest.approx(evaluation.roc_auc(np.array([0, 1] * 5), outputs))
    assert history.curves()["val_roc_auc"] == [None, round(second, 4), round(third, 4)]


def test_undefined_is_none_and_named_once_a_phase_and_training_goes_on():
    with pytest.warns(UndefinedMetricWarning, match=r"val_roc_auc is undefined .* labels \[1\]") as found:
        _, history, _ = scored_each_epoch(np.ones(6, np.int32))
    assert sum(warning.category is UndefinedMetricWarning for warning in found) == len(PHASES)
    assert history.metrics["val_roc_auc"] == [None] * 3
    assert all(np.isfinite(history.val_loss))


def test_the_best_epoch_can_be_that_of_the_largest_area(tmp_path):
    model, history, pictures = scored_each_epoch(
        np.array([0, 1] * 5), keep="best", checkpoints=tmp_path, monitor="val_roc_auc"
    )
    outputs = keras.ops.convert_to_numpy(model(pictures))
    best = max(history.metrics["val_roc_auc"][2:])
    assert evaluation.roc_auc(np.array([0, 1] * 5), outputs) == pytest.approx(best)


STATISTICS = ("moving_mean", "moving_variance")


@pytest.fixture
def normalised():
    """Return two normalisations, of pixels and of features: the first sees the images themselves."""
    pixels = keras.Input((4, 4, 2))
    x = keras.layers.BatchNormalization(name="first", momentum=0.9)(pixels)
    x = keras.layers.Dense(3, activation="relu", name="between")(x)
    x = keras.layers.BatchNormalization(name="second")(x)
    return randomised(keras.Model(pixels, x))


@pytest.fixture
def floats():
    return images(10, shape=(4, 4, 2)).astype(np.float32)


def statistics(normalised, name):
    layer = normalised.get_layer(name)
    return np.asarray(layer.moving_mean), np.asarray(layer.moving_variance)


def test_layers_of_chance_before_a_normalisation_do_as_in_inference(floats):
    pixels = keras.Input((4, 4, 2))
    x = keras.layers.Dropout(0.5)(keras.layers.RandomBrightness(0.5)(pixels))
    model = keras.Model(pixels, keras.layers.BatchNormalization(name="first")(x))
    assert recalibrate(model, floats) == 1
    mean, variance = statistics(model, "first")
    np.testing.assert_allclose(mean, floats.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, floats.var(axis=(0, 1, 2)), rtol=1e-4)


def test_nested_models_are_recalibrated_as_flat_ones(normalised, floats):
    pixels = keras.Input((4, 4, 2))
    nested = keras.Model(pixels, keras.layers.Dropout(0.5)(normalised(pixels, training=False)))
    recalibrate(normalised, floats)
    expected = normalised.get_weights()
    randomised(normalised, seed=0)
    assert recalibrate(nested, floats) == 2
    for old, new in zip(expected, normalised.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_one_batch_gives_exactly_its_mean_and_variance(normalised, floats):
    assert recalibrate(normalised, floats) == 2
    mean, variance = statistics(normalised, "first")
    np.testing.assert_allclose(mean, floats.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(variance, floats.var(axis=(0, 1, 2)), rtol=1e-4)


def test_a_deeper_layer_sees_normalised_inputs_afterwards(normalised, floats):
    recalibrate(normalised, floats)
    second = normalised.get_layer("second")
    outputs = np.asarray(normalised(floats, training=False)).reshape(-1, 3)
    np.testing.assert_allclose(outputs.mean(axis=0), second.beta, atol=1e-3)
    np.testing.assert_allclose(outputs.std(axis=0), second.gamma, rtol=1e-2)
    np.testing.assert_allclose(outputs, np.asarray(normalised(floats, training=True)).reshape(-1, 3), atol=1e-3)


def test_several_batches_give_their_average(normalised, floats):
    recalibrate(normalised, floats, batch_size=5)
    mean, variance = statistics(normalised, "first")
    halves = floats[:5], floats[5:]
    np.testing.assert_allclose(mean, np.mean([half.mean(axis=(0, 1, 2)) for half in halves], axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, np.mean([half.var(axis=(0, 1, 2)) for half in halves], axis=0), rtol=1e-4)


def test_no_batch_is_much_smaller_than_the_others(normalised, floats):
    recalibrate(normalised, floats, batch_size=9)  # 5 + 5, not 9 + 1
    expected = statistics(normalised, "first")
    recalibrate(normalised, floats, batch_size=5)
    np.testing.assert_array_equal(statistics(normalised, "first"), expected)


def test_old_statistics_leave_no_trace(normalised, floats):
    recalibrate(normalised, floats, batch_size=5)
    expected = normalised.get_weights()
    for name in ("first", "second"):
        layer = normalised.get_layer(name)
        layer.moving_mean.assign(layer.moving_mean + 1000)
        layer.moving_variance.assign(layer.moving_variance * 1000)
    recalibrate(normalised, floats, batch_size=5)
    for old, new in zip(expected, normalised.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_nothing_but_moving_statistics_changes():
    model = randomised(tiny())
    model.get_layer("batch_norm_1").trainable = False
    before = {weight.path: np.array(weight) for weight in model.weights}
    assert recalibrate(model, images()) == 2
    changed = {weight.path for weight in model.weights if not np.array_equal(before[weight.path], weight)}
    assert changed == {path for path in before if path.endswith(STATISTICS)}
    assert [model.get_layer(f"batch_norm_{i}").trainable for i in (1, 2)] == [False, True]
    assert [model.get_layer(f"batch_norm_{i}").momentum for i in (1, 2)] == [0.99, 0.99]


def test_settings_are_restored_after_an_error(normalised):
    normalised.get_layer("second").trainable = False
    with pytest.raises(ValueError, match="images of shape"):
        recalibrate(normalised, images(4, shape=(3, 3, 5)))
    layers = normalised.get_layer("first"), normalised.get_layer("second")
    assert [(layer.momentum, layer.trainable) for layer in layers] == [(0.9, True), (0.99, False)]


def test_a_model_without_a_graph_is_refused(floats):
    class Plain(keras.Model):
        pass

    with pytest.raises(ValueError, match=r"functional model, .* Received: "):
        recalibrate(Plain(), floats)


@pytest.mark.parametrize("count", [0, 1])
def test_one_image_is_not_enough(normalised, floats, count):
    with pytest.raises(ValueError, match=rf"at least 2 images\. Received: {count}$"):
        recalibrate(normalised, floats[:count])


def test_a_model_without_normalisation_is_left_alone():
    pixels = keras.Input((2,))
    assert recalibrate(keras.Model(pixels, keras.layers.Dense(2)(pixels)), np.full((4, 2), 9, np.uint8)) == 0

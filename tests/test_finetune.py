"""Training in phases: cached or not, the same weights; the curves, the best epoch and the proofs are what they say."""

import dataclasses
import importlib
import inspect
import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import TRAINABLE, labelled, tiny

from tlkeras.models.weights import fingerprint
from tlkeras.transfer import FeatureCache, Phase, features, finetune
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.finetune import CURVES
from tlkeras.transfer.freezing import FreezingError

MODULE = importlib.import_module("tlkeras.transfer.finetune")  # its name in the package is the function
TRAIN, VALIDATION = labelled(20), labelled(10, seed=1)
HEAD = Phase("head", "head", 3, 0.01, expect=39)
ALL = Phase("all", "all", 2, 0.001, schedule="cosine", expect=204)


class Rates(keras.callbacks.Callback):
    """Note the learning rate at the end of each epoch."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def on_epoch_end(self, epoch, logs=None):
        self.rates.append(float(self.model.optimizer.learning_rate))


@dataclasses.dataclass
class Done:
    model: keras.Model
    history: object
    rates: list


def done(phases, *, seed=0, validation=VALIDATION, **options):
    model, made = tiny(), []

    def callbacks():
        made.append(Rates())
        return made[-1:]

    options = {"cache": FeatureCache(), "batch_size": 8, "callbacks": callbacks} | options
    history = finetune(model, TRAIN, validation, phases, seed=seed, **options)
    return Done(model, history, [callback.rates for callback in made])


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    """Two phases with features cached in the first, validated every other epoch, checkpoints kept."""
    return done((HEAD, ALL), validation_every=2, checkpoints=tmp_path_factory.mktemp("checkpoints"))


@pytest.fixture(scope="module")
def uncached():
    return done((HEAD, ALL), validation_every=2, cache=None)


@pytest.fixture(scope="module")
def head():
    return done((HEAD,))


def test_cached_features_give_the_weights_of_plain_training(cached, uncached):
    assert cached.history.cached == {"head": True, "all": False}
    assert uncached.history.cached == {"head": False, "all": False}
    for one, other in zip(cached.model.get_weights(), uncached.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for name in CURVES:
        numbers = [np.array(getattr(run.history, name), float) for run in (cached, uncached)]
        np.testing.assert_allclose(*numbers, atol=1e-5)


def test_curves_have_an_entry_for_each_epoch_and_none_where_not_validated(cached):
    history = cached.history
    assert history.phase == ["head"] * 3 + ["all"] * 2
    assert all(len(getattr(history, name)) == 5 for name in CURVES)
    for curve in (history.val_accuracy, history.val_loss):
        assert [value is None for value in curve] == [True, False, False, True, False]
    last = history.val_loss[-1], history.val_accuracy[-1]
    assert last == pytest.approx(evaluate(cached.model, *VALIDATION), abs=1e-5)
    rounded = history.curves(digits=2)
    assert list(rounded) == [*CURVES, "phase"]
    assert rounded["val_loss"] == [None if value is None else round(value, 2) for value in history.val_loss]


def test_the_head_phase_moves_the_head_and_the_next_everything(cached):
    head, everything = (cached.history.moved[name] for name in ("head", "all"))
    assert {name for name, move in head.items() if move} == {"dense"}
    assert all(move > 0 for move in everything.values())
    assert set(everything) == set(TRAINABLE)
    assert cached.history.trainable == {"head": 39, "all": 204}
    assert set(cached.history.seconds) == {"head", "all"}


def test_the_checkpoint_of_the_head_phase_is_the_whole_model_with_its_base_bit_identical(cached):
    paths = cached.history.best
    assert {name: path.name for name, path in paths.items()} == {name: f"{name}.weights.h5" for name in ("head", "all")}
    model, fresh = tiny(seed=9), tiny()
    model.load_weights(paths["head"])
    same = [np.array_equal(a, b) for a, b in zip(fresh.get_weights(), model.get_weights(), strict=True)]
    assert same == [True] * 12 + [False] * 2


def test_rates_are_constant_or_fall_to_zero_over_the_phase(cached):
    constant, falling = cached.rates
    assert constant == pytest.approx([0.01] * 3)
    assert falling == pytest.approx([0.0005, 0.0], abs=1e-7)  # half a cosine after half of the steps


def test_a_step_schedule_drops_the_rate_to_a_tenth():
    phase = Phase("head", "head", 5, 0.01, schedule="step", drop_every=2)
    (rates,) = done((phase,)).rates  # of the step after each epoch
    assert rates == pytest.approx([0.01, 0.001, 0.001, 0.0001, 0.0001])


def test_without_options_nothing_is_kept_and_every_epoch_is_validated(capsys):
    steps, before = [], features.SHARED.misses
    model = tiny(seed=11)
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: steps.append(int(model.optimizer.iterations))
    )
    epochs = [Phase("head", "head", 2, 0.01)]
    started = time.perf_counter()
    history = finetune(model, labelled(40), VALIDATION, epochs, seed=0, callbacks=lambda: [count])
    assert 0 < history.seconds["head"] <= time.perf_counter() - started
    assert steps == [2, 4]  # 40 images in batches of 32
    assert history.cached == {"head": True} and features.SHARED.misses == before + 2
    assert None not in history.val_loss and (history.best, history.metrics) == ({}, {})
    assert (history.loss[-1], history.accuracy[-1]) != pytest.approx((history.val_loss[-1], history.val_accuracy[-1]))
    assert history.curves() == {
        **{name: [round(value, 4) for value in getattr(history, name)] for name in CURVES},
        "phase": ["head"] * 2,
    }
    assert any(round(value, 4) != round(value, 3) for value in history.loss)
    assert capsys.readouterr().out == ""
    parameters = inspect.signature(finetune).parameters
    assert {name: parameters[name].default for name in ("augment", "metrics", "keep", "monitor")} == {
        "augment": None,
        "metrics": None,
        "keep": "last",
        "monitor": "val_accuracy",
    }


@pytest.mark.parametrize(("count", "at_once"), [(20, 20), (50, 50), (51, 50)])
def test_at_most_fifty_steps_are_taken_in_one_call(count, at_once):
    model = tiny()
    finetune(model, labelled(count), None, (dataclasses.replace(ALL, epochs=1),), seed=0, batch_size=1)
    assert model.steps_per_execution == at_once and int(model.optimizer.iterations) == count
    model = tiny()
    parts = []
    watch = keras.callbacks.LambdaCallback(on_train_end=lambda logs: parts.append(watch.model.steps_per_execution))
    finetune(model, labelled(count), None, (HEAD,), seed=0, batch_size=1, callbacks=lambda: [watch])
    assert parts == [at_once] and watch.model is model


def test_every_phase_shuffles_with_another_seed(monkeypatch):
    seeds, batches = [], MODULE.training_batches
    monkeypatch.setattr(MODULE, "training_batches", lambda *a: seeds.append(a[2]) or batches(*a))
    one = Phase("one", "head", 1, 0.01)
    finetune(tiny(), TRAIN, None, (one, dataclasses.replace(one, name="two")), seed=5)
    assert seeds == [5, 1005]  # recorded runs depend on these numbers


def test_models_that_take_any_side_may_be_trained_on_augmented_images():
    inputs = keras.Input((None, None, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(3, activation="softmax", name="dense")(x))
    phase = Phase("all", "all", 1, 0.01)
    history = finetune(model, TRAIN, None, (phase,), seed=0, augment=lambda pictures, seed: pictures[:, 1:])
    assert history.cached == {"all": False} and history.moved["all"]["dense"] > 0
    with pytest.raises(ValueError, match=r"views of shape \(None, None, 1\)\. Received: \(8, 8, 2\), out of images"):
        finetune(model, labelled(20, shape=(8, 8, 2)), None, (phase,), seed=0, augment=lambda p, s: p[..., :2])


def test_augmentation_may_cut_larger_images_down():
    shapes = []

    def cut(pictures, seed):
        shapes.append(tuple(pictures.shape[1:]))
        return pictures[:, 2:10, 2:10]

    train = labelled(20, shape=(12, 11, 1))
    with pytest.raises(ValueError, match=r"images of shape \(n, 8, 8, 1\)\. Received: shape=\(20, 12, 11, 1\)$"):
        finetune(tiny(), train, VALIDATION, (HEAD,), seed=0)
    plain = dataclasses.replace(ALL, augment=False)
    with pytest.raises(ValueError, match=r"Received: shape=\(20, 12, 11, 1\)$"):
        finetune(tiny(), train, VALIDATION, (HEAD, plain), seed=0, augment=cut)
    expected = r"^Expected views of shape \(8, 8, 1\)\. Received: \(7, 8, 1\), out of images of shape \(12, 11, 1\)$"
    with pytest.raises(ValueError, match=expected):
        finetune(tiny(), train, VALIDATION, (HEAD,), seed=0, augment=lambda pictures, seed: pictures[:, :7, :8])
    history = finetune(tiny(), train, VALIDATION, (dataclasses.replace(HEAD, epochs=1),), seed=0, augment=cut)
    assert history.cached == {"head": False} and set(shapes) == {(12, 11, 1)}


def test_the_seed_decides(head):
    again, other = done((HEAD,)), done((HEAD,), seed=1)
    assert fingerprint(again.model) == fingerprint(head.model) != fingerprint(other.model)
    assert again.history.curves(9) == head.history.curves(9)


def test_best_reloads_the_best_epoch(tmp_path):
    phase = Phase("head", "head", 6, 0.5)
    run = done((phase,), keep="best", checkpoints=tmp_path, monitor="val_loss")
    losses = run.history.val_loss
    assert min(losses) < losses[-1]  # else this test would show nothing
    assert evaluate(run.model, *VALIDATION)[0] == pytest.approx(min(losses), abs=1e-5)


@pytest.mark.parametrize(("mode", "best"), [("max", max), ("min", min)])
def test_the_best_epoch_of_a_metric_is_what_its_mode_says(tmp_path, mode, best):
    def f1(labels, probabilities):
        return float(np.mean(probabilities[:, 0]))  # the name tells nothing

    options = {"keep": "best", "checkpoints": tmp_path, "monitor": "val_f1", "metrics": {"f1": f1}}
    run = done((Phase("head", "head", 6, 0.5),), mode=mode, **options)
    scores = run.history.metrics["val_f1"]
    assert min(scores) < scores[-1] < max(scores)
    outputs = keras.ops.convert_to_numpy(run.model(VALIDATION[0]))
    assert f1(None, outputs) == pytest.approx(best(scores), abs=1e-5)


def test_augmented_phases_see_the_views_and_cache_nothing():
    seen = []

    def dark(pictures, seed):
        seen.append((pictures.shape[1:], pictures.dtype, seed.shape, seed.dtype))
        return pictures * 0

    phase = dataclasses.replace(HEAD, epochs=1)
    run = done((phase,), augment=dark, validation=None)
    black = done((phase,), augment=lambda pictures, seed: tf.zeros_like(pictures), validation=None)
    assert run.history.cached == {"head": False}
    assert seen == [(tf.TensorShape([8, 8, 1]), tf.float32, tf.TensorShape([2]), tf.int32)]
    assert fingerprint(run.model) == fingerprint(black.model)
    kernel = run.model.get_layer("dense").kernel
    np.testing.assert_array_equal(kernel, tiny().get_layer("dense").kernel)  # features of black are zero
    assert run.history.moved["head"]["dense"] > 0
    assert run.history.val_loss == [None]


@pytest.mark.parametrize(("every", "validated"), [(2, [False, True]), (3, [False, False])])
def test_a_callback_may_stop_a_phase_early(every, validated):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    run = done((dataclasses.replace(HEAD, epochs=9),), callbacks=lambda: [Stop()], validation_every=every)
    assert run.history.phase == ["head"] * 2
    assert [value is not None for value in run.history.val_loss] == validated
    assert len(run.history.accuracy) == 2


class Recorder(keras.callbacks.Callback):
    """Note the attributes at the start of each phase, what is seen, and the size of the model."""

    def __init__(self):
        super().__init__()
        self.count, self.seen = 0, []

    def on_epoch_end(self, epoch, logs=None):
        self.count += 1
        logs["extra"] = 1.0
        self.seen.append((self.count, self.model.count_params(), "val_loss" in logs))


@pytest.mark.parametrize("cache", [FeatureCache(), None], ids=["cached", "uncached"])
def test_a_list_of_callbacks_begins_every_phase_as_it_is_given_and_sees_the_whole_model(tmp_path, cache):
    recorder = Recorder()
    stop = keras.callbacks.EarlyStopping("val_accuracy", patience=1, min_delta=9, restore_best_weights=True)
    keep = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")
    phases = [dataclasses.replace(HEAD, epochs=5), dataclasses.replace(ALL, epochs=5)]
    run = done(phases, callbacks=[stop, recorder, keep], cache=cache)
    assert run.history.phase == ["head"] * 2 + ["all"] * 2
    assert stop.stopped_epoch == 1 and recorder.count == 2
    assert recorder.seen == [(count, run.model.count_params(), True) for count in (1, 2, 1, 2)]
    saved = keras.models.load_model(tmp_path / "1.keras")
    assert fingerprint(saved) == fingerprint(run.model)  # the best epoch of the last phase, restored


def test_a_callback_may_stop_within_an_epoch():
    stop = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: setattr(stop.model, "stop_training", True)
    )
    assert done((HEAD,), callbacks=stop).history.phase == ["head"]
    assert done((HEAD,), callbacks=None).history.phase == ["head"] * 3


@pytest.mark.parametrize("callbacks", [["loss"], [keras.callbacks.EarlyStopping]])
def test_what_is_no_callback_is_refused(callbacks):
    with pytest.raises(ValueError, match=r"^Expected instances of Keras callbacks, or what makes them\. Received: \["):
        done((HEAD,), callbacks=callbacks)


def undefined(labels, probabilities):
    return float("nan")


def test_an_epoch_without_a_value_is_not_the_best(tmp_path):
    options = {"monitor": "val_undefined", "mode": "max", "metrics": {"undefined": undefined}}
    options["checkpoints"] = tmp_path
    (tmp_path / "head.weights.h5").write_bytes(b"of another training")
    with pytest.warns(UserWarning, match="val_undefined is undefined"):
        run = done((HEAD,), **options)
    assert run.history.best == {} and run.history.metrics == {"val_undefined": [None] * 3}
    message = r"^Expected an epoch with a loss and a value of val_undefined\. Received: nan after every epoch$"
    with pytest.warns(UserWarning, match="undefined"), pytest.raises(ValueError, match=message):
        done((HEAD,), keep="best", **options)


def test_the_last_epoch_is_kept_beside_the_best_one(tmp_path):
    run = done((Phase("head", "head", 6, 0.5),), checkpoints=tmp_path, monitor="val_loss")
    losses = run.history.val_loss
    assert evaluate(run.model, *VALIDATION)[0] == pytest.approx(losses[-1], abs=1e-5)
    run.model.load_weights(run.history.best["head"])
    assert evaluate(run.model, *VALIDATION)[0] == pytest.approx(min(losses), abs=1e-5)


def test_a_frozen_layer_that_moves_is_noticed():
    def leak(epoch, logs):
        layer = model.get_layer("conv_1")
        layer.bias.assign(layer.bias + 1.0)

    model = tiny()
    callback = keras.callbacks.LambdaCallback(on_epoch_end=leak)
    with pytest.raises(FreezingError, match=r"frozen but moved \['conv_1'\], stuck \[\]$"):
        finetune(model, TRAIN, None, (HEAD,), seed=0, callbacks=lambda: [callback])


def test_bad_data_stop_before_training(monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *arguments, **options: pytest.fail("it trained"))
    pixels, labels = TRAIN
    for train, validation in ((TRAIN, (pixels, labels + 1)), ((pixels, labels + 1), VALIDATION)):
        with pytest.raises(
            ValueError, match=r"labels in 0\.\.2, which start at 0: subtract 1\. Received: min=1, max=3$"
        ):
            finetune(tiny(), train, validation, (HEAD,), seed=0)
    for augment in (None, lambda pictures, seed: pytest.fail("there is nothing to augment")):
        with pytest.raises(ValueError, match=r"one label each\. Received: 0 images, 0 labels$"):
            finetune(tiny(), (pixels[:0, 1:], labels[:0]), None, (HEAD,), seed=0, augment=augment)


@pytest.mark.parametrize("names", [[], ["head", "head"], ["head", "all", "head"]])
def test_phases_need_a_name_each(names):
    phases = [dataclasses.replace(HEAD, name=name) for name in names]
    with pytest.raises(ValueError, match=r"^Expected at least one phase, and another name for each\. Received: \["):
        finetune(tiny(), TRAIN, None, phases, seed=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"keep": "best"},
            r"^Expected keep='last', or 'best' with a folder\. Received: keep='best', checkpoints=None$",
        ),
        ({"keep": "first", "checkpoints": "folder"}, r"Received: keep='first', checkpoints='folder'$"),
        ({"validation_every": 0}, r"^Expected whole numbers from 1 up\. Received: batch_size=8, validation_every=0$"),
        ({"batch_size": 0}, r"Received: batch_size=0, validation_every=1$"),
        ({"checkpoints": "folder", "monitor": "val_acc"}, r"Expected a monitor .*Received: monitor='val_acc'$"),
        (
            {"checkpoints": "folder", "monitor": "val_f1", "metrics": {"f1": undefined}},
            r"^Expected mode='max' or mode='min', .* Received: monitor='val_f1', mode='auto'$",
        ),
        ({"metrics": {"accuracy": undefined}}, r"^Expected other names of metrics .* Received: \['accuracy'\]$"),
        ({"checkpoints": "folder", "validation": None}, r"Expected a monitor .*Received: monitor='val_accuracy'$"),
    ],
)
def test_bad_options_stop_before_training(tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(keras.Model, "fit", lambda *arguments, **options: pytest.fail("it trained"))
    with pytest.raises(ValueError, match=message):
        done((HEAD,), **options)


def test_an_unexpected_count_stops_before_training(monkeypatch):
    monkeypatch.setattr(keras.Model, "fit", lambda *arguments, **options: pytest.fail("it trained"))
    with pytest.raises(FreezingError, match=r"Expected 40 trainable parameters\. Received: 39 in \['dense'\]$"):
        done((dataclasses.replace(HEAD, expect=40),))

"""Training in phases: cached or not, the same weights; the curves, the best epoch and the proofs are what they say."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import TRAINABLE, labelled, tiny

from tlkeras.models.weights import fingerprint
from tlkeras.transfer import FeatureCache, Phase, finetune, two_phases
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.finetune import CURVES
from tlkeras.transfer.freezing import FreezingError

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
    with pytest.raises(ValueError, match=r"views of shape \(8, 8, 1\)\. Received: \(7, 8, 1\), out of images"):
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


def test_a_callback_may_stop_a_phase_early():
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 1

    run = done((dataclasses.replace(HEAD, epochs=9),), callbacks=lambda: [Stop()], validation_every=2)
    assert run.history.phase == ["head"] * 2
    assert [value is None for value in run.history.val_loss] == [True, False]
    assert len(run.history.accuracy) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": "best"}, r"keep='last', or 'best' with a folder\. Received: keep='best', checkpoints=None$"),
        ({"keep": "first", "checkpoints": "folder"}, r"Received: keep='first', checkpoints='folder'$"),
        ({"validation_every": 0}, r"from 1 up\. Received: batch_size=8, validation_every=0$"),
        ({"batch_size": 0}, r"Received: batch_size=0, validation_every=1$"),
        ({"checkpoints": "folder", "monitor": "val_acc"}, r"Expected a monitor .*Received: monitor='val_acc'$"),
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


@pytest.mark.parametrize(
    "change",
    [{"epochs": 0}, {"learning_rate": 0.0}, {"learning_rate": -1e-3}, {"schedule": "linear"}, {"drop_every": 0}],
)
def test_bad_phases_are_refused(change):
    with pytest.raises(
        ValueError, match=r"a schedule out of \('constant', 'cosine', 'step'\)\. Received: \{'name': 'head'"
    ):
        dataclasses.replace(HEAD, **change)


def test_two_phases_are_those_of_the_report():
    first, second = two_phases()
    assert (first.train, first.epochs, first.learning_rate) == ("head", 35, 1e-3)
    assert (second.train, second.epochs, second.learning_rate) == ("all", 15, pytest.approx(1e-4))

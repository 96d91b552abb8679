"""Training: learns, resumes to the same numbers, stops at NaN with the last good weights, and refuses what is unfit."""

import warnings

import keras
import numpy as np
import pytest
from l2t_helpers import ALIKE, PAIRS, SHORT, SMALL, everything, images, made, networks

from tlkeras.l2t import LearningToTransfer, MissingClassesWarning, NonFiniteLossError, Settings
from tlkeras.models.weights import WeightFileError, fingerprint
from tlkeras.transfer.batches import random_flip_crop


class KilledError(BaseException):
    """Stands for a signal."""


class Kill(keras.callbacks.Callback):
    """End the process, as it were, in the middle of an epoch."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch, self.now = epoch, -1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now == self.epoch:
            raise KilledError


def test_a_killed_training_resumes_to_the_same_numbers(tmp_path):
    whole, path = made(), tmp_path / "run.npz"
    settings = {**SMALL, "augment": random_flip_crop(2), "validation": images(6, 1)}
    expected = whole.fit(*images(), **settings)
    ended = everything(whole)
    with pytest.raises(KilledError):
        made().fit(*images(), **settings, checkpoint=path, callbacks=[Kill(1)])
    assert [file.name for file in tmp_path.iterdir()] == ["run.npz"]
    _, target = networks(seed=1)  # its own first values do not matter
    resumed = LearningToTransfer(whole.source, target, PAIRS, settings=SHORT, seed=1)
    assert resumed.fit(*images(), **settings, checkpoint=path) == expected
    for name, value in everything(resumed).items():
        assert np.array_equal(value, ended[name]), name
    assert resumed.fit(*images(), **settings, checkpoint=path) == expected  # nothing is left to do


def test_the_history_has_one_value_an_epoch_and_the_cosine():
    history = made(which=True).fit(*images(), **SMALL, validation=images(6, 1), validation_every=2)
    assert {name: len(values) for name, values in history.items()} == dict.fromkeys(history, 3)
    assert history["learning_rate"] == pytest.approx([0.05, 0.05 * 0.75, 0.05 * 0.25])
    assert [value is None for value in history["val_loss"]] == [True, False, False]
    assert history["matching"] == pytest.approx([sum(terms) for terms in history["pairs"]])
    assert np.add(history["cross_entropy"], history["matching"]) == pytest.approx(history["loss"])
    assert {"accuracy", "lookahead", "before", "after"} <= set(history)


def test_it_learns_and_the_source_stays():
    learner = made()
    before = fingerprint(learner.source)
    x, y = images(12)
    x[y == 0, :4], x[y == 1, 4:], x[y == 2, :, :4] = 255, 255, 255
    history = learner.fit(x, y, epochs=40, batch_size=12, learning_rate=0.2)
    assert history["cross_entropy"][-1] < 0.8 * history["cross_entropy"][0]
    assert history["matching"][-1] < history["matching"][0]
    assert fingerprint(learner.source) == before
    found = learner.transfer_weights(x)
    assert [a.shape for a in found["what"]] == [(12, 4), (12, 6), (12, 4)]
    assert [a.shape for a in found["where"]] == [(12,)] * 3


def test_scratch_needs_no_pairs_and_the_seed_decides():
    runs = []
    for seed in (0, 0, 1):
        learner = made(pairs=[], **ALIKE)
        runs.append(learner.fit(*images(), **SMALL, seed=seed)["cross_entropy"])
    assert runs[0] == runs[1] != runs[2]


def test_a_softmax_target_trains_like_one_with_logits():
    source, target = networks()
    softmax = keras.Model(target.input, keras.layers.Softmax()(target.output))
    history = LearningToTransfer(source, softmax, PAIRS, **ALIKE).fit(*images(), **SMALL)
    expected = made(**ALIKE).fit(*images(), **SMALL)
    assert history["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-4)


def test_callbacks_see_the_logs_and_may_stop():
    seen = []

    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs)[:2]))
            self.model.stop_training = epoch == 1

    learner = made(**ALIKE)
    assert len(learner.fit(*images(), **SMALL, callbacks=[Stop()])["loss"]) == 2
    assert seen == [(0, ["accuracy", "cross_entropy"]), (1, ["accuracy", "cross_entropy"])]


def test_a_loss_that_is_not_finite_stops_with_the_pair_and_the_last_good_weights(tmp_path):
    learner, path = made(**ALIKE), tmp_path / "run.npz"
    learner.fit(*images(), **SMALL, checkpoint=path)
    kept, before = path.read_bytes(), everything(learner)
    kernel = learner.learner.variables.weights[-2]  # of the last pair's branch
    kernel.assign(np.full(kernel.shape, np.inf))
    broken = everything(learner)
    with pytest.raises(NonFiniteLossError, match=r"Received: s1b1 -> relu2: (nan|inf) \(epoch 0, batch 0"):
        learner.fit(*images(), **SMALL)
    assert all(np.array_equal(value, broken[name]) for name, value in everything(learner).items())
    assert path.read_bytes() == kept
    learner.fit(*images(), **SMALL, checkpoint=path)  # takes the checkpoint over
    assert all(np.array_equal(value, before[name]) for name, value in everything(learner).items())


def test_a_diverging_training_keeps_the_checkpoint_of_the_last_good_epoch(tmp_path):
    path = tmp_path / "run.npz"
    with pytest.raises(NonFiniteLossError, match=r"Expected finite losses and weights\. Received: .*learning rate"):
        made(**ALIKE).fit(*images(), epochs=50, batch_size=6, learning_rate=1e4, checkpoint=path)
    if path.exists():
        with np.load(path) as file:
            assert all(np.isfinite(file[name]).all() for name in file.files if name != "facts")


def test_missing_classes_are_named_once():
    x, y = images(6)
    with pytest.warns(MissingClassesWarning, match=r"No training image of the classes \[2\], out of 3$") as warned:
        made(pairs=[], **ALIKE).fit(x, np.minimum(y, 1), epochs=2, batch_size=3)
    assert sum(warning.category is MissingClassesWarning for warning in warned) == 1


def test_another_training_or_a_damaged_file_is_not_resumed(tmp_path):
    path = tmp_path / "run.npz"
    made(**ALIKE).fit(*images(), **{**SMALL, "epochs": 1}, checkpoint=path)
    with pytest.raises(ValueError, match=r"Expected the training .*Received: \{'epochs': \(1, 3\)\}$"):
        made(**ALIKE).fit(*images(), **SMALL, checkpoint=path)
    made(**ALIKE).fit(*images(), **SMALL, warm_up=1, checkpoint=tmp_path / "warm.npz")
    with pytest.raises(ValueError, match=r"Received: \{'warm_up': \(1, None\)\}$"):
        made(**ALIKE).fit(*images(), **SMALL, checkpoint=tmp_path / "warm.npz")
    with pytest.raises(ValueError, match=r"Received: \{'settings': "):
        made(settings=Settings(beta=1.0), **ALIKE).fit(*images(), **{**SMALL, "epochs": 1}, checkpoint=path)
    arrays = dict(np.load(path))
    for facts in ("[]", "{", '{"training": {}}', '{"training": 1, "history": {}}'):
        np.savez(tmp_path / "odd.npz", **{**arrays, "facts": np.array(facts)})
        with pytest.raises(WeightFileError, match=r"Expected a checkpoint of learning to transfer.*odd\.npz$"):
            made(**ALIKE).fit(*images(), **{**SMALL, "epochs": 1}, checkpoint=tmp_path / "odd.npz")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightFileError, match=r"a whole \.npz file"):
        made(**ALIKE).fit(*images(), **{**SMALL, "epochs": 1}, checkpoint=path)


def test_any_two_functional_models_with_nested_and_foreign_parts_work():
    keras.utils.set_random_seed(0)
    block = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Conv2D(4, 3, padding="same"), keras.layers.BatchNormalization()]
    )
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Activation("relu", name="first")(block(x))
    x = keras.layers.Dropout(0.1)(x)
    x = keras.layers.Conv2D(5, 3, strides=2, activation="relu", name="second")(x)
    target = keras.Model(inputs, keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(x)))
    learner = LearningToTransfer(networks()[0], target, [("s1b1", "first"), ("s2b1", "second")], settings=SHORT)
    before = target.get_weights()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        history = learner.fit(*images(), **SMALL)
    assert np.isfinite(history["after"]).all()
    moved = [not np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True)]
    assert moved.count(False) == 1 and not moved[1]  # the bias that batch normalisation takes away at once


X, Y = images(7)


@pytest.mark.parametrize(
    ("x", "y", "batch_size", "message"),
    [
        (X, Y, 6, r"at least two images in every batch.*Received: 7 images in batches of 6$"),
        (X, Y, 1, r"at least two images in every batch"),
        (X[:, :4], Y, 7, r"Expected images of shape \(n, 8, 8, 3\)\. Received: shape=\(7, 4, 8, 3\)$"),
        (X, Y[:5], 7, r"Received: 7 images, 5 labels$"),
        (X[:0], Y[:0], 7, r"Received: 0 images, 0 labels$"),
        (X, Y + 1, 7, r"Expected labels in 0\.\.2"),
        (np.where(X < 9, np.nan, X), Y, 7, r"NaN or infinity"),
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
    inputs = [keras.Input((8, 8, 3)), keras.Input((8, 8, 3))]
    two = keras.Model(inputs, keras.layers.Add()(inputs))
    with pytest.raises(ValueError, match=r"one input \(batch, height, width, channels\)\. Received: "):
        LearningToTransfer(two, target, PAIRS)
    with pytest.raises(ValueError, match=r"outputs \(batch, classes\)\. Received: \(None, 7, 7, 2\)$"):
        LearningToTransfer(larger, larger, [])
    with pytest.raises(ValueError, match=r"pairs to ask what, where or which about\. Received: none$"):
        LearningToTransfer(source, target, [])


def test_the_plain_way_trains_to_the_same_numbers_but_for_rounding(tmp_path):
    path = tmp_path / "run.npz"
    options = {**SMALL, "epochs": 2, "checkpoint": path}
    fast = made(**ALIKE).fit(*images(), **options)
    path.unlink()
    plain = made(**ALIKE, fast=False).fit(*images(), **options)
    assert plain["loss"] == pytest.approx(fast["loss"], rel=1e-4)
    assert made(**ALIKE).fit(*images(), **options) == plain  # a checkpoint is of both ways


def test_a_checkpoint_of_something_else_is_not_resumed(tmp_path):
    np.savez(tmp_path / "other.npz", numbers=np.zeros(3))
    with pytest.raises(WeightFileError, match=r"a checkpoint of learning to transfer\. Received: .*other\.npz$"):
        made(**ALIKE).fit(*images(), **SMALL, checkpoint=tmp_path / "other.npz")
    with pytest.raises(
        WeightFileError, match=r"a checkpoint of these networks\. Received: other shapes of \['first_moments/0'"
    ):
        made(**ALIKE).learner.restore(everything(made()))

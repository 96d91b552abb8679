"""A checkpoint holds the best epoch of one phase, whatever goes wrong; a collapsed classifier is named once."""

import math
import warnings

import keras
import numpy as np
import pytest
from helpers import images, randomised, tiny

from tlkeras import _files
from tlkeras.models.weights import fingerprint
from tlkeras.transfer import BestCheckpoint
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector, check_monitor, direction
from tlkeras.transfer.freezing import compile_classifier

COPY = tiny()  # reads the files, and tells what they should hold


@pytest.fixture(scope="module")
def model():
    return tiny()


def started(path, model, **options):
    """Return a callback in the state in which `fit` calls it after an epoch."""
    callback = BestCheckpoint(path, **options)
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def after_epochs(callback, model, name, scores):
    """Give `model` new weights for each epoch, and return the fingerprints of what the file holds after it."""
    found = []
    for epoch, score in enumerate(scores):
        randomised(model, seed=epoch)
        callback.on_epoch_end(epoch, {name: score, "loss": 1.0})
        found.append(stored(callback.path) if callback.path.exists() else None)
    return found


def stored(path):
    COPY.load_weights(path)
    return fingerprint(COPY)


def epoch_weights(count):
    return [fingerprint(randomised(COPY, seed=epoch)) for epoch in range(count)]


@pytest.mark.parametrize(
    ("monitor", "scores", "best"),
    [("val_accuracy", [0.5, 0.4, 0.7, 0.7], [0, 0, 2, 2]), ("val_loss", [2.0, 1.0, 1.5, 0.5], [0, 1, 1, 3])],
)
def test_only_better_epochs_are_saved(model, tmp_path, monitor, scores, best):
    callback = started(tmp_path / "new" / "best.weights.h5", model, monitor=monitor)
    expected = epoch_weights(4)
    assert after_epochs(callback, model, monitor, scores) == [expected[epoch] for epoch in best]
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["best.weights.h5"]


@pytest.mark.parametrize(("mode", "best"), [("max", [0, 0, 2]), ("min", [0, 1, 1])])
def test_whoever_watches_a_metric_of_their_own_says_which_way_is_better(model, tmp_path, mode, best):
    callback = started(tmp_path / "best.weights.h5", model, monitor="val_f1", mode=mode)
    expected = epoch_weights(3)
    assert after_epochs(callback, model, "val_f1", [0.5, 0.4, 0.7]) == [expected[epoch] for epoch in best]


@pytest.mark.parametrize("prefix", ["", "val_"])
def test_the_direction_is_known_of_names_that_mean_one_thing(prefix):
    known = {"loss": "min", "mean_squared_error": "min", "accuracy": "max", "auc": "max", "f1_score": "max"}
    for name, mode in (known | {"roc_auc": "max"}).items():
        assert direction(prefix + name) == mode
        assert direction(prefix + name, "min") == "min"


@pytest.mark.parametrize("name", ["val_f1", "vacancies", "sauce", "accuracy_loss", "acc", "VAL_LOSS"])
def test_a_name_that_does_not_tell_needs_a_mode(tmp_path, name):
    expected = rf"^Expected mode='max' or mode='min', .* Received: monitor='{name}', mode='auto'$"
    with pytest.raises(ValueError, match=expected):
        BestCheckpoint(tmp_path / "best.weights.h5", name)
    with pytest.raises(ValueError, match=r"^Expected a mode out of .* Received: mode='up'$"):
        BestCheckpoint(tmp_path / "best.weights.h5", name, mode="up")


def test_epochs_that_were_not_validated_are_passed_over(model, tmp_path):
    callback = started(tmp_path / "best.weights.h5", model)
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1, None)
    assert list(tmp_path.iterdir()) == []
    callback.on_epoch_end(2, {"loss": 1.0, "val_accuracy": 0.1})
    assert callback.path.exists()


def test_a_network_of_nan_is_never_the_best(model, tmp_path):
    callback = started(tmp_path / "best.weights.h5", model)
    callback.on_epoch_end(0, {"loss": math.nan, "val_accuracy": 0.25})
    callback.on_epoch_end(1, {"loss": 1.0, "val_loss": math.nan, "val_accuracy": 0.25})  # of its last step
    assert (callback.best, list(tmp_path.iterdir())) == (None, [])
    callback.on_epoch_end(2, {"loss": 1.0, "val_accuracy": 0.1})
    callback.on_epoch_end(3, {"loss": math.nan, "val_accuracy": 0.25})
    assert callback.best == 0.1


def test_the_whole_model_is_saved_while_a_part_trains(model, tmp_path):
    part = keras.Model(model.get_layer("flatten_6").output, model.output)
    callback = BestCheckpoint(tmp_path / "best.weights.h5", model=model)
    callback.set_model(part)
    callback.on_train_begin()
    callback.on_epoch_end(0, {"val_accuracy": 0.5})
    assert stored(callback.path) == fingerprint(model)


def test_a_second_phase_needs_a_new_one(model, tmp_path):
    path = tmp_path / "best.weights.h5"
    callback = started(path, model)
    with pytest.raises(ValueError, match=rf"new BestCheckpoint for each phase\. Received: one used before, {path}$"):
        callback.on_train_begin()
    first = after_epochs(callback, model, "val_accuracy", [0.9])
    randomised(model, seed=7)
    assert after_epochs(started(path, model), model, "val_accuracy", [0.1, 0.2]) == [first[0], epoch_weights(2)[1]]


@pytest.mark.parametrize("name", ["best.h5", "best.keras", "best", "best.weights.h5.old"])
def test_another_suffix_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"ends in '\.weights\.h5'\. Received: .*{name}$"):
        BestCheckpoint(tmp_path / name)


def test_a_save_that_fails_midway_keeps_the_last_good_file(model, tmp_path, monkeypatch):
    callback = started(tmp_path / "best.weights.h5", model)
    (good,) = after_epochs(callback, model, "val_accuracy", [0.5])

    def full_disk(path, **options):
        with open(path, "wb") as file:
            file.write(b"half a file")
        raise OSError("No space left on device")

    monkeypatch.setattr(model, "save_weights", full_disk)
    with pytest.raises(OSError, match="No space left"):
        callback.on_epoch_end(1, {"val_accuracy": 0.9})
    assert stored(callback.path) == good
    assert [path.name for path in tmp_path.iterdir()] == ["best.weights.h5"]


def test_half_a_file_of_a_killed_run_is_never_taken_for_a_whole_one(model, tmp_path):
    with pytest.raises(FileNotFoundError), _files.replacing(tmp_path / "best.weights.h5") as left:
        pass
    left.write_bytes(b"half a file")  # as a process leaves it that is killed while it writes
    callback = started(tmp_path / "best.weights.h5", model)
    callback.on_epoch_end(0, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("validation", [True, False])
def test_check_monitor_knows_what_will_be_logged(model, validation):
    compile_classifier(model, keras.optimizers.Adam())
    names = ["loss", "accuracy"]
    for name in [*names, *(f"val_{name}" for name in names if validation)]:
        check_monitor(model, name, validation=validation)
    unknown = ["acc", "val_acc", "auc"] + ([] if validation else ["val_accuracy", "val_loss"])
    for name in unknown:
        with pytest.raises(ValueError, match=rf"^Expected a monitor out of .*Received: monitor='{name}'$"):
            check_monitor(model, name, validation=validation)


def test_check_monitor_knows_metric_objects():
    model = tiny()
    model.compile(loss="mse", metrics=[keras.metrics.AUC(name="area"), "accuracy"])
    check_monitor(model, "val_area", validation=True)
    check_monitor(model, "accuracy", validation=True)


def test_a_fit_ends_with_the_best_epoch(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    compile_classifier(model, keras.optimizers.Adam())
    scores, seen = iter([0.2, 0.8, 0.5]), []

    class Scripted(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_accuracy"] = next(scores)
            seen.append(fingerprint(self.model))

    inputs, labels = np.ones((4, 2), np.float32), np.array([0, 1, 0, 1], np.int32)
    callback = BestCheckpoint(tmp_path / "best.weights.h5")
    model.fit(inputs, labels, epochs=3, verbose=0, callbacks=[Scripted(), callback])
    assert len(set(seen)) == 3
    model.load_weights(callback.path)
    assert fingerprint(model) == seen[1]
    with pytest.raises(ValueError, match="new BestCheckpoint"):
        model.fit(inputs, labels, verbose=0, callbacks=[callback])


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
    with pytest.raises(ValueError, match="Received: 1 images"):
        CollapseDetector(tiny(), images(1))

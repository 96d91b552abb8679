"""Models, freezing, training, features, probes, scores and pictures on Keras' backend, whichever it is."""

import importlib
import json
import pkgutil

import keras
import numpy as np
import pytest
import reference
from helpers import images, labelled, tiny

import tlkeras
from tlkeras import backend
from tlkeras.experiments import environment
from tlkeras.l2t import training as l2t_training
from tlkeras.models import layers
from tlkeras.transfer import batches, evaluation, features, freezing, phases, probe
from tlkeras.transfer.finetune import finetune
from tlkeras.visualize import Fourier, Pixels, ascent, objectives, transforms

EXPECTED = json.loads(reference.PATH.read_text())
# Relative to the largest number; heat and slopes go through two more sums of thousands of terms.
TOLERANCES = {"scores": 1e-5, "features": 1e-5, "responses": 1e-5, "heat": 1e-3, "slopes": 1e-3, "losses": 1e-4}
PAIR = labelled(24)
pytestmark = pytest.mark.usefixtures("float32")


@pytest.fixture(scope="module")
def measured(float32):
    return reference.measured()


@pytest.mark.parametrize("name", TOLERANCES)
@pytest.mark.parametrize("network", EXPECTED)
def test_it_gives_the_numbers_of_tensorflow(measured, network, name):
    expected, found = np.array(EXPECTED[network][name]), np.array(measured[network][name])
    assert np.abs(found - expected).max() <= TOLERANCES[name] * np.abs(expected).max()


def test_every_module_imports_where_the_other_backends_are_not_installed():
    others = {"tensorflow", "jax", "torch"} - {backend.NAME}
    bound = {"tensorflow": ("tlkeras.l2t.algorithm", "tlkeras.l2t.fast", "tlkeras.models.normalization_derivatives")}
    elsewhere = tuple(name for other in others for name in bound.get(other, ()))
    names = [module.name for module in pkgutil.walk_packages(tlkeras.__path__, "tlkeras.", onerror=_ignored)]
    free = [
        name
        for name in names
        if name != "tlkeras.__main__" and not others & set(name.split(".")) and not name.startswith(elsewhere)
    ]
    assert len(free) > 90
    for name in free:
        importlib.import_module(name)


def _ignored(name):
    """Pass over a folder that cannot be imported; the test says which ones may not."""


def test_two_phases_freeze_cache_and_train(tmp_path):
    model, cache = tiny(), features.FeatureCache()
    plan = tlkeras.two_phases(head_epochs=2, all_epochs=2, learning_rate=1e-2)
    history = finetune(
        model, PAIR, PAIR, plan, seed=0, cache=cache, keep="best", checkpoints=tmp_path, metrics={"half": _half}
    )
    head, everything = history.moved.values()
    assert [name for name, move in head.items() if move] == ["dense"] and all(everything.values())
    assert list(history.cached.values()) == [True, False] and cache.misses == 1
    assert len(history.loss) == 4 and np.isfinite(history.loss).all()
    assert history.metrics == {"val_half": [0.5] * 4}
    best = max(history.val_accuracy[2:])
    assert evaluation.evaluate(model, *PAIR)[1] == pytest.approx(best)


def _half(labels, probabilities):
    return 0.5


def test_cached_features_train_as_the_whole_network_does():
    def trained(cache):
        model = tiny()
        plan = [phases.Phase("head", "head", 3, 1e-2)]
        return finetune(model, PAIR, None, plan, seed=3, cache=cache).loss

    np.testing.assert_allclose(trained(features.FeatureCache()), trained(None), rtol=1e-5)


def test_the_same_seed_twice_gives_the_same_losses_and_another_does_not():
    def trained(seed):
        keras.utils.set_random_seed(seed)
        plan = [phases.Phase("all", "all", 2, 1e-2, augment=True)]
        return finetune(tiny(), PAIR, None, plan, seed=seed, batch_size=8, augment=batches.random_affine()).loss

    assert trained(1) == trained(1) != trained(2)


def test_a_first_step_of_adam_is_as_long_as_the_rate_of_the_layer():
    plan = [phases.Phase("all", "all", 1, 1e-3, multipliers=(multipliers := phases.graded(tiny(), 0.1)))]
    moved = finetune(tiny(), PAIR, None, plan, seed=0, batch_size=24).moved["all"]
    for layer in ("conv_1", "conv_2", "dense"):
        assert moved[layer] == pytest.approx(1e-3 * multipliers[layer], rel=1e-2)


@pytest.mark.parametrize("make", [batches.random_affine, batches.random_flip_crop, lambda: batches.random_crop(6)])
def test_views_follow_the_seed(make):
    pictures = keras.ops.convert_to_tensor(images(5), "float32")
    seeds = [keras.ops.convert_to_tensor(np.array(seed, np.int32)) for seed in ((1, 2), (1, 2), (1, 3))]
    first, same, other = (np.asarray(make()(pictures, seed)) for seed in seeds)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    assert first.min() >= 0 and first.max() <= 255.01


def test_an_epoch_has_each_image_once_in_an_order_of_its_own():
    keras.utils.set_random_seed(1)
    inputs = np.arange(20, dtype=np.float32)[:, None]
    data = batches.training_batches((inputs, np.arange(20), np.ones(20, np.float32)), 8, seed=4)

    def epoch():
        read = [data[i] for i in range(len(data))] if isinstance(data, keras.utils.PyDataset) else list(data)
        getattr(data, "on_epoch_end", lambda: None)()
        assert [len(part[0]) for part in read] == [8, 8, 4]
        return np.concatenate([np.asarray(part[1]) for part in read]).tolist()

    first, second = epoch(), epoch()
    assert sorted(first) == sorted(second) == list(range(20)) and first != second


def test_a_probe_of_features_and_statistics_that_fit():
    model = tiny()
    assert evaluation.recalibrate(model, PAIR[0]) == 2
    base, _ = features.split(_frozen(model))
    fitted = probe.fit_probe([features.SHARED.features(base, PAIR[0])], PAIR[1], seed=0)
    assert fitted.probabilities([features.SHARED.features(base, PAIR[0])]).shape == (24, 3)


def _frozen(model):
    freezing.freeze(model, "head")
    return model


@pytest.mark.parametrize("parametrization", [Pixels(), Fourier()])
def test_an_ascent_raises_its_channels_and_follows_its_seed(parametrization):
    model = tlkeras.tominet(10, (28, 28, 1), weights="fashion_mnist", new_head=True)
    objective = objectives.channel("conv_2", [0, 5, 9]) - 0.1 * objectives.total_variation()
    robust = (transforms.jitter(1), transforms.rotate(5), transforms.scale(0.9, 1.1))
    climb = ascent.prepare(model, objective, parametrization=parametrization, robust_to=robust)
    pictures = climb(steps=20, seed=1)
    assert (pictures.after > pictures.before).all()
    assert pictures.images.min() >= 0 and pictures.images.max() <= 255
    np.testing.assert_array_equal(climb(steps=20, seed=1).images, pictures.images)
    assert not np.array_equal(climb(steps=20, seed=2).images, pictures.images)


def test_a_class_has_a_picture_and_new_weights_are_seen():
    model = tiny()
    climb = ascent.prepare(model, objectives.class_logit([0, 2]))
    before = climb(steps=5).after
    model.set_weights([2 * weight for weight in model.get_weights()])
    assert not np.allclose(climb(steps=5).after, before)


def test_a_saved_model_predicts_the_same(tmp_path):
    model = layers.portable(tiny())
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(*(m.predict(PAIR[0], verbose=0) for m in (model, again)), rtol=1e-6)


def test_the_backend_is_on_record():
    described = environment.describe()
    assert described["versions"][backend.NAME]
    assert described["device"].startswith("CPU") or backend.gpus()


def test_learning_to_transfer_names_the_backends_that_it_has(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(NotImplementedError, match="KERAS_BACKEND=torch"):
        l2t_training.engine()

"""The JAX engine of learning to transfer: without TensorFlow, the official code's numbers, and many seeds at once."""

import importlib.util
from pathlib import Path

import jax
import keras
import l2t_oracle
import numpy as np
import pytest
from l2t_helpers import PAIRS, SHORT, engine, images, networks, start

from tlkeras.l2t import LearningToTransfer, NonFiniteLossError, Settings
from tlkeras.l2t import jax as l2t
from tlkeras.models.weights import WeightFileError

jax.config.update("jax_disable_most_optimizations", True)  # compiling takes longer than computing
GOLDEN = Path(__file__).parents[1] / "golden"
SEEDS = (3, 5)
PLAIN = {"what": False, "where": False}  # is compiled sooner
FITTED = {"epochs": 2, "batch_size": 5, "learning_rate": 0.05}  # of 12 images: the last batch has two


def shifted(x, seed):
    """Move the images of a batch to the side, by as much as their seed says."""
    return jax.numpy.roll(x, seed[0] % 3, axis=2)


def trainings(seeds=SEEDS, name="float64", **options):
    """Return one training a seed, each with a target of its own."""
    found = []
    for seed in seeds:
        source, target = networks(0, name)
        target.set_weights(networks(seed, name)[1].get_weights())
        found.append(LearningToTransfer(source, target, PAIRS, settings=SHORT, seed=seed, **options))
    return found


def drawn(seeds=SEEDS):
    """Return images and labels for each seed."""
    parts = [images(12, seed) for seed in seeds]
    return np.stack([x for x, _ in parts]).astype(np.float64), np.stack([y for _, y in parts])


def close(first, second):
    """Whether two histories are the same, but for rounding in float64."""
    assert first.keys() == second.keys()
    for name, values in first.items():
        if name in ("val_loss", "val_accuracy"):
            continue
        assert np.allclose(values, second[name], rtol=1e-9, atol=1e-12), name


def test_it_needs_no_tensorflow():
    assert importlib.util.find_spec("tensorflow") is None
    assert keras.backend.backend() == "jax"


def test_an_iteration_gives_the_numbers_of_the_official_code():
    """The first iteration of "what, where and which", on the networks of the report."""
    oracle = l2t_oracle.read(GOLDEN / "l2t.npz")
    batch = {name: oracle.pop(name) for name in ("x0", "y0")}
    found = l2t_oracle.Case("www_lr001", l2t_oracle.generator(GOLDEN)).found(batch, oracle["lr"], steps=1)
    errors = l2t_oracle.errors(found, oracle)
    assert max(errors.values()) < 1e-9


def test_seeds_together_equal_seeds_alone():
    x, y = drawn()
    together, alone = trainings(which=True), trainings(which=True)
    found = l2t.study(together, x, y, seeds=SEEDS, augment=shifted, validation_every=1, **FITTED)
    for number, seed in enumerate(SEEDS):
        expected = alone[number].fit(x[number], y[number], seed=seed, augment=shifted, **FITTED)
        close(expected, found[number])
        for name, value in alone[number].learner.named_variables().items():
            assert np.allclose(value, together[number].learner.named_variables()[name], rtol=1e-9, atol=1e-12), name
    assert not np.allclose(found[0]["loss"], found[1]["loss"])


def test_validation_is_that_of_the_target():
    (x, y), made = drawn(), trainings(**PLAIN)
    found = l2t.study(made, x, y, seeds=SEEDS, validation=(x[0], y[0]), validation_every=2, **FITTED)
    for history, training in zip(found, made, strict=True):
        assert [score is None for score in history["val_accuracy"]] == [True, False]
        outputs = np.asarray(training.target(x[0], training=False))
        assert history["val_accuracy"][-1] == np.mean(outputs.argmax(1) == y[0])
        logarithms = outputs - np.log(np.exp(outputs).sum(1, keepdims=True))
        assert history["val_loss"][-1] == pytest.approx(-logarithms[np.arange(12), y[0]].mean())


def test_one_seed_that_diverges_leaves_the_others_alone():
    x, y = drawn()
    made, sound = trainings(**PLAIN), trainings(**PLAIN)
    kernel = made[1].target.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.inf))
    found = l2t.study(made, x, y, seeds=SEEDS, **FITTED)
    close(l2t.study(sound, x, y, seeds=SEEDS, **FITTED)[0], found[0])
    assert isinstance(found[1], NonFiniteLossError)
    assert "(epoch 0, batch 0, learning rate 0.05, seed 5)" in str(found[1])
    assert made[1].learner.steps == 0


def test_too_little_memory_halves_the_seeds(monkeypatch):
    together, tried = l2t._together, []

    def short(trainings, *arguments):
        tried.append(len(trainings))
        if len(trainings) > 1:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 9 bytes.")
        return together(trainings, *arguments)

    monkeypatch.setattr(l2t, "_together", short)
    x, y = drawn()
    with pytest.warns(l2t.SeedsHalvedWarning, match="No memory for 2 seeds at once; 1 are tried") as warned:
        found = l2t.study(trainings(**PLAIN), x, y, seeds=SEEDS, **FITTED)
    assert (tried, len(found)) == ([2, 1, 1], 2)
    assert len([warning for warning in warned if warning.category is l2t.SeedsHalvedWarning]) == 1


@pytest.mark.parametrize("message", ["RESOURCE_EXHAUSTED: out of memory", "INTERNAL: the device is gone"])
def test_a_lost_device_keeps_what_was_done(monkeypatch, message):
    together, done = l2t._together, []

    def lost(*arguments):
        if done:
            raise jax.errors.JaxRuntimeError(message)
        done.extend(together(*arguments))
        return done

    monkeypatch.setattr(l2t, "_together", lost)
    x, y = drawn()
    with pytest.raises(l2t.DeviceError, match=f"Received: {message}") as raised:
        l2t.study(trainings(**PLAIN), x, y, seeds=SEEDS, at_once=1, **FITTED)
    assert raised.value.histories == done


def test_a_checkpoint_resumes_to_the_same_numbers(tmp_path):
    path, (x, y) = tmp_path / "run.npz", drawn()
    whole = trainings(**PLAIN)[0].fit(x[0], y[0], **FITTED)
    stop = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(stop.model, "stop_training", True))
    assert len(trainings(**PLAIN)[0].fit(x[0], y[0], checkpoint=path, callbacks=[stop], **FITTED)["loss"]) == 1
    resumed = trainings(**PLAIN)[0]
    close(whole, resumed.fit(x[0], y[0], checkpoint=path, **FITTED))
    with pytest.raises(WeightFileError, match="other shapes of"):
        resumed.learner.restore({"steps": np.int64(0)})
    assert resumed.transfer_weights(x[0]) == {}


@pytest.mark.parametrize(
    ("changed", "received"),
    [
        ({"seeds": (3,)}, "argument 3 is shorter"),
        ({"precision": "float16"}, "precision='float16'"),
        ({"epochs": 0}, "epochs=0"),
    ],
)
def test_unfit_arguments_are_named(changed, received):
    x, y = drawn()
    with pytest.raises(ValueError, match=received):
        l2t.study(trainings(), x, y, **{"seeds": SEEDS} | FITTED | changed)


def test_trainings_of_other_questions_are_refused():
    x, y = drawn()
    mixed = [trainings()[0], trainings(which=True)[1]]
    with pytest.raises(ValueError, match="Expected trainings of the same source, pairs, questions and shapes"):
        l2t.study(mixed, x, y, seeds=SEEDS, **FITTED)


def test_the_meta_gradient_agrees_with_finite_differences():
    parts = trainings()[0].learner.parts._replace(settings=Settings())
    old, generator = start(parts), np.random.default_rng(1)
    x, y = images(6)
    out = jax.jit(lambda old: engine().iteration(parts, old, x.astype(np.float64), y, 0.05, 1))(old)
    features = parts.matching.source_features(x.astype(np.float64))
    batch = l2t.Batch(x.astype(np.float64), y, parts.matching.goals(features))
    start_at, nothing = out.new._replace(statistics=out.statistics), jax.tree.map(np.zeros_like, out.new.weights)

    @jax.jit
    def after(meta):
        weighting = parts.meta.weights(meta, features, np.float64(0.5 / 6))
        return l2t.after_lookahead(parts, weighting, nothing, start_at, batch, np.float64(0.05))[0]

    direction = [generator.normal(size=value.shape) for value in old.meta]
    size = 1e-4 / np.sqrt(sum(np.square(d).sum() for d in direction))
    ends = [after([v + sign * size * d for v, d in zip(old.meta, direction, strict=True)]) for sign in (1, -1)]
    expected = sum(float((g * d).sum()) for g, d in zip(out.meta_gradients, direction, strict=True))
    assert expected == pytest.approx(float(ends[0] - ends[1]) / (2 * size), rel=1e-4)

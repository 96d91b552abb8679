"""Source networks are trained on real data only, described by what is shipped, and come back from their files."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
from helpers import images, randomised, tiny

from tlkeras import data, transfer
from tlkeras.data import Dataset
from tlkeras.models import resnet32, squeezenet, tominet, weights
from tlkeras.reports.l2t import pretraining as resnet32_source
from tlkeras.reports.squeezenet import pretraining as squeezenet_source
from tlkeras.reports.tominet import pretraining as tominet_sources
from tlkeras.transfer import pretrain
from tlkeras.transfer.evaluation import evaluate
from tlkeras.transfer.pretrain import cut


def made(train, test, shape=(8, 8, 1), name="letters"):
    """Return a small data set of three classes, each image different."""
    pixels, labels = images(train + test, shape=shape), np.arange(train + test, dtype=np.int32) % 3
    return Dataset(
        name=name,
        x_train=pixels[:train],
        y_train=labels[:train],
        x_test=pixels[train:],
        y_test=labels[train:],
        class_names=("a", "b", "c"),
        source="made",
        stand_in=False,
        fingerprint=data.fingerprint(pixels, labels),
        licence="CC0",
    )


SMALL = made(60, 20)


@pytest.fixture
def loaded(monkeypatch):
    """Let `data.load` return what `made` makes of these arguments, where no stand-in is allowed."""

    def use(*arguments):
        def load(name, *, embedded):
            assert embedded is False, "source networks are trained on real data only"
            return made(*arguments, name=name)

        monkeypatch.setattr(data, "load", load)

    return use


# The cut.


@pytest.mark.parametrize(
    ("sizes", "counts", "expected"),
    [
        ((50, 10), (None, None, None), (40, 10, 10)),  # a fifth, when there are few
        ((52, 10), (40_000, 10_000, 10_000), (42, 10, 10)),
        ((60, 20), (30, 7, 5), (30, 7, 5)),
        ((50, 10), (20, None, None), (20, 10, 10)),
        ((50, 10), (None, 3, None), (47, 3, 10)),
    ],
)
def test_parts_are_disjoint_and_keep_their_labels(sizes, counts, expected):
    source = made(*sizes)
    parts = cut(source, counts)
    assert {name: len(labels) for name, (_, labels) in parts.items()} == dict(
        zip(("train", "validation", "test"), expected, strict=True)
    )
    everything = [image.tobytes() for pixels, _ in parts.values() for image in pixels]
    assert len(set(everything)) == sum(expected)
    labels = {image.tobytes(): label for image, label in zip(source.x_train, source.y_train, strict=True)}
    for name in ("train", "validation"):
        assert all(labels[image.tobytes()] == label for image, label in zip(*parts[name], strict=True))


def test_the_seed_decides_the_parts():
    first, again, other = (cut(SMALL, seed=seed)["train"][0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_without_validation_images_whole_sets_keep_their_order():
    parts = cut(SMALL, (None, 0, None))
    assert list(parts) == ["train", "test"]
    np.testing.assert_array_equal(parts["train"][0], SMALL.x_train)
    np.testing.assert_array_equal(parts["test"][0], SMALL.x_test)
    assert len(cut(SMALL, (30, 0, None))["train"][0]) == 30


def test_validation_gets_at_most_ten_thousand_images():
    many = dataclasses.replace(SMALL, x_train=np.zeros((60_000, 1, 1, 1), np.uint8), y_train=np.zeros(60_000, np.int32))
    assert [len(labels) for _, labels in cut(many).values()] == [50_000, 10_000, 20]


# The verb.


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A TomiNet trained on made images, with its record and the path of its file."""
    path = tmp_path_factory.mktemp("weights") / "made.npz"
    model, record = pretrain(tiny(), SMALL, epochs=3, batch_size=8, path=path, facts={"command": "by hand"})
    return model, record, path


def test_the_record_says_how_the_weights_came_about(trained):
    model, record, path = trained
    parts = cut(SMALL)
    loss, accuracy = evaluate(model, *parts["test"])
    assert record["settings"] == {
        "seed": 0,
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "schedule": "constant",
    }
    assert (record["data"], record["class_names"]) == (SMALL.provenance(), ["a", "b", "c"])
    assert record["counts"] == {"train": 48, "validation": 12, "test": 20}
    assert (record["test_loss"], record["test_accuracy"]) == (round(loss, 4), round(accuracy, 4))
    assert {name: len(curve) for name, curve in record["history"].items()} == dict.fromkeys(record["history"], 3)
    assert record["versions"]["keras"] == keras.__version__ and record["command"] == "by hand"
    stored = json.loads(path.with_suffix(".json").read_text())
    assert {name: stored[name] for name in record} == json.loads(json.dumps(record))
    assert sorted(file.name for file in path.parent.iterdir()) == ["made.json", "made.npz"]


def test_the_best_epoch_is_kept(trained):
    model, record, _ = trained
    _, accuracy = evaluate(model, *cut(SMALL)["validation"])
    assert round(accuracy, 4) == max(record["history"]["val_accuracy"])


def test_the_file_gives_the_model_back(trained):
    model, _, path = trained
    fresh = tiny(seed=5)
    assert weights.load_pretrained(fresh, "made", head="dense", folder=path.parent).new_layers == ()
    for one, other in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_without_validation_the_last_epoch_is_kept_and_nothing_is_saved_unless_asked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, record = pretrain(tiny(), SMALL, epochs=1, counts=(None, 0, None), seed=3)
    assert record["counts"] == {"train": 60, "test": 20} and record["settings"]["seed"] == 3
    assert record["history"]["val_loss"] == [None]
    assert list(tmp_path.iterdir()) == []


def unchanged(model, parts, checkpoint):
    """Train nothing, and say what was asked for."""
    return {"parts": list(parts), "checkpoint": checkpoint and checkpoint.name}


def test_another_way_to_train_gets_parts_and_checkpoint_and_what_is_shipped_is_described(tmp_path):
    checkpoint, model = tmp_path / "run.npz", randomised(tiny())
    checkpoint.write_bytes(b"half a training")
    before = model.get_weights()
    twin, record = pretrain(
        model,
        SMALL,
        training=unchanged,
        checkpoint=checkpoint,
        finish=keras.models.clone_model,
        dtype="float16",
        path=tmp_path / "made.npz",
        without="dense",
        facts={"settings": {"epochs": 9}},
    )
    assert record["history"] == {"parts": ["train", "validation", "test"], "checkpoint": "run.npz"}
    assert record["settings"] == {"epochs": 9}
    assert not checkpoint.exists(), "or the next training would train nothing"
    assert twin is not model and all(map(np.array_equal, before, model.get_weights()))
    assert all(np.array_equal(value, value.astype(np.float16)) for value in twin.get_weights())
    assert (record["test_loss"], record["test_accuracy"]) == pytest.approx(
        evaluate(twin, SMALL.x_test, SMALL.y_test), abs=1e-4
    )
    stored = weights.read(tmp_path / "made.npz")
    assert not any(name.startswith("dense/") for name in stored)
    assert all(array.dtype == np.float16 for array in stored.values())


def test_a_training_that_is_stopped_keeps_its_checkpoint(tmp_path):
    def stopped(model, parts, checkpoint):
        checkpoint.write_bytes(b"half a training")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pretrain(tiny(), SMALL, training=stopped, checkpoint=tmp_path / "run.npz")
    assert (tmp_path / "run.npz").exists()


def test_a_checkpoint_may_be_a_text_and_curves_may_be_numpys(tmp_path):
    def training(model, parts, checkpoint):
        checkpoint.write_bytes(b"a whole training")
        return {"loss": np.array([1.0, 0.5], np.float32)}

    checkpoint, path = str(tmp_path / "run.npz"), str(tmp_path / "made.npz")
    facts = {"folds": np.int64(3)}
    pretrain(randomised(tiny()), SMALL, training=training, checkpoint=checkpoint, path=path, facts=facts)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["made.json", "made.npz"]
    stored = weights.record("made", tmp_path)
    assert (stored["history"], stored["folds"]) == ({"loss": [1.0, 0.5]}, 3)


def test_only_another_training_goes_on_from_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match=r"^Expected a training that goes on .* Received: checkpoint=.*run\.npz$"):
        pretrain(tiny(), SMALL, checkpoint=tmp_path / "run.npz")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"path": "made.weights"}, ValueError, r"ends in \.npz.* Received: path=.*made\.weights"),
        ({"dtype": "float61"}, ValueError, r"\('float32', 'float16'\).* Received: .*dtype='float61'"),
        ({"path": "made.npz", "without": "head"}, ValueError, r"'dense'\]\. Received: .*without='head'$"),
        ({"path": "file/made.npz"}, OSError, "file"),
        ({"path": "made.npz", "facts": {"command": keras.Model}}, TypeError, "Received: type$"),
    ],
    ids=["suffix", "dtype", "layer", "folder", "facts"],
)
def test_what_could_not_be_saved_is_refused_before_the_training(options, error, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(error, match=message):
        pretrain(tiny(), SMALL, training=lambda *arguments: pytest.fail("it trained"), **options)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("change", "counts", "message"),
    [
        ({"x_test": SMALL.x_test / 255}, (None, None, None), r"0\.\.255"),
        ({"y_test": SMALL.y_test + 1}, (None, None, None), "labels"),
        ({}, (None, None, 0), "Received: 0 images"),
    ],
    ids=["scaled", "labels", "none"],
)
def test_test_images_that_do_not_fit_are_refused_before_the_training(change, counts, message):
    source = dataclasses.replace(SMALL, **change)
    with pytest.raises(ValueError, match=message):
        pretrain(tiny(), source, counts=counts, training=lambda *arguments: pytest.fail("it trained"))


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    model = randomised(tiny())
    layer = model.get_layer("batch_norm_1")
    layer.moving_variance.assign(layer.moving_variance * 1e6)
    with (
        np.errstate(over="ignore"),
        pytest.raises(ValueError, match=r"finite in float16\. Received: .*\['batch_norm_1/moving_variance'\]$"),
    ):
        pretrain(model, SMALL, training=unchanged, dtype="float16", path=tmp_path / "made.npz")
    assert list(tmp_path.iterdir()) == []


# The networks that are shipped.


def test_the_reports_own_sizes_are_the_default():
    assert dataclasses.asdict(tominet_sources.Settings("mnist")) == {
        "dataset": "mnist",
        "train_count": 40_000,
        "validation_count": 10_000,
        "test_count": 10_000,
        "epochs": 15,
        "batch_size": 32,
        "learning_rate": 1e-3,
        "seed": 0,
    }


def test_tominet_writes_a_file_that_loads(loaded, monkeypatch, tmp_path):
    loaded(60, 20, (28, 28, 1))
    monkeypatch.setattr(tominet_sources, "Settings", functools.partial(tominet_sources.Settings, epochs=1))
    record = tominet_sources.pretrain("letters", tmp_path)
    stored = json.loads((tmp_path / "tominet_letters.json").read_text())
    assert {name: stored[name] for name in record} == json.loads(json.dumps(record))
    assert stored["counts"] == {"train": 48, "validation": 12, "test": 20}
    assert (stored["data"]["name"], stored["settings"]["epochs"]) == ("letters", 1)
    assert stored["command"] == "python -m tlkeras pretrain letters" and "commit" in stored
    model = tominet(3)
    assert weights.load_pretrained(model, "tominet_letters", head="dense", folder=tmp_path).new_layers == ()
    test = cut(made(60, 20, (28, 28, 1)))["test"]
    assert evaluate(model, *test) == pytest.approx((stored["test_loss"], stored["test_accuracy"]), abs=1e-4)


def test_squeezenet_comes_back_without_its_head(loaded, monkeypatch, tmp_path):
    """Its training, a minute of compilation, is left out: that of TomiNet goes the same way."""
    loaded(30, 10, (32, 32, 3))
    source, small, verb, asked = squeezenet_source, functools.partial(squeezenet, fires=((2, 3),) * 8), pretrain, {}

    def untrained(model, dataset, **options):
        asked.update(options)
        assert any(layer.name.endswith("_norm") for layer in model.layers)
        model.set_weights([value + np.float32(0.01) for value in model.get_weights()])  # biases are no longer zero
        return verb(model, dataset, training=unchanged, **options)

    monkeypatch.setattr(transfer, "pretrain", untrained)
    monkeypatch.setattr(source, "squeezenet", small)
    record = source.pretrain(folder=tmp_path)
    assert record["counts"] == {"train": 24, "validation": 6, "test": 10}
    assert (record["preprocessing"], record["settings"]) == ("caffe", dataclasses.asdict(source.Settings()))
    assert {name: asked[name] for name in ("epochs", "batch_size", "learning_rate", "schedule", "seed")} == {
        "epochs": 10,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "schedule": "cosine",
        "seed": 0,
    }
    kept = weights.record(source.STAND_IN, tmp_path)
    fresh = small(10, weights=None)
    assert kept["parameters"] == fresh.count_params() - fresh.get_layer("conv10").count_params()
    taken = weights.load_pretrained(fresh, source.STAND_IN, head="conv10", new_head=True, folder=tmp_path)
    assert taken.new_layers == ("conv10",)


def test_the_converted_squeezenet_gives_the_same_logits():
    source = squeezenet_source
    keras.utils.set_random_seed(0)
    model = squeezenet(3, weights=None, preprocessing=source.TRAINED)
    twin = source.with_shipped_preprocessing(model)
    assert twin.get_config()["layers"][:3] == squeezenet(3, preprocessing="caffe").get_config()["layers"][:3]
    assert source.SHIPPED == "caffe" != source.TRAINED
    pictures = images(4, shape=(32, 32, 3))
    before, after = (keras.Model(m.input, m.get_layer("fire9_concat").output)(pictures) for m in (model, twin))
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def test_normalisation_folds_into_the_convolutions_of_squeezenet():
    source = squeezenet_source
    keras.utils.set_random_seed(0)
    plain = squeezenet(3, weights=None, classifier_activation=None)
    normalized = source.with_normalization(plain)
    pictures = images(8, shape=(32, 32, 3))
    for _ in range(3):  # statistics that are not those of a new layer
        normalized(pictures, training=True)
    for layer in normalized.layers:
        if layer.name.endswith("_norm"):
            layer.gamma.assign(np.linspace(0.5, 1.5, layer.gamma.shape[0]))
            layer.beta.assign(np.linspace(-0.1, 0.1, layer.beta.shape[0]))
    folded = source.without_normalization(normalized, squeezenet(3, weights=None, classifier_activation=None))
    assert [layer.activation.__name__ for layer in folded.layers if layer.name.startswith("fire2_s")] == ["relu"]
    expected = np.asarray(normalized(pictures))
    np.testing.assert_allclose(folded(pictures), expected, atol=1e-3 * np.abs(expected).max())


@pytest.fixture
def small_resnet(loaded, monkeypatch, tmp_path):
    """A data set of three classes, a network of two stages, two epochs, and a cache of its own."""
    loaded(12, 6, (8, 8, 3))
    network = functools.partial(resnet32, filters=(4, 6), blocks=1)
    monkeypatch.setattr(resnet32_source, "resnet32", network)
    monkeypatch.setattr(
        resnet32_source, "Settings", functools.partial(resnet32_source.Settings, epochs=2, batch_size=6)
    )
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    return network


def full(*arguments, **options):
    raise OSError("disk full")


def test_a_stopped_training_of_resnet32_goes_on(small_resnet, monkeypatch, tmp_path):
    with pytest.MonkeyPatch.context() as stopped, pytest.raises(OSError, match="disk full"):
        stopped.setattr(weights, "save", full)
        resnet32_source.pretrain("resnet32", tmp_path)
    (checkpoint,) = (tmp_path / "home" / "weights").iterdir()
    assert checkpoint.name.startswith("resnet32_tinyimagenet.") and checkpoint.name.endswith(".checkpoint.npz")
    monkeypatch.setattr(resnet32_source, "random_flip_crop", lambda padding: lambda *batch: pytest.fail("it trained"))
    record = resnet32_source.pretrain("resnet32", tmp_path)
    assert len(record["history"]["accuracy"]) == 2
    assert not checkpoint.exists(), "or the next training would train nothing"


def test_resnet32_is_shipped_as_float16(small_resnet, tmp_path):
    model, record = resnet32_source.train(resnet32_source.Settings(), tmp_path / "run.npz")
    assert len(record["history"]["accuracy"]) == 2 and record["counts"] == {"train": 12, "test": 6}
    stored = resnet32_source.pretrain("resnet32", tmp_path)
    assert stored["test_accuracy"] == record["test_accuracy"]
    on_disk = json.loads((tmp_path / "resnet32_tinyimagenet.json").read_text())
    assert on_disk["command"] == "python -m tlkeras pretrain resnet32" and on_disk["settings"]["epochs"] == 2
    fresh = small_resnet(3, (8, 8, 3))
    weights.load_pretrained(fresh, "resnet32_tinyimagenet", head="fc", folder=tmp_path)
    for one, other in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_shipped_file_of_resnet32_is_what_its_record_says():
    record = weights.record("resnet32_tinyimagenet")
    assert record["settings"] == dataclasses.asdict(resnet32_source.Settings())
    assert record["data"]["name"] == "tinyimagenet32" and not record["data"]["stand_in"]
    assert len(record["history"]["accuracy"]) == record["settings"]["epochs"]
    assert record["test_accuracy"] > 0.3, "200 classes: chance is 0.005"
    path = weights.PRETRAINED / "resnet32_tinyimagenet.npz"
    assert path.stat().st_size < 1.1e6
    model = resnet32(200, weights="tinyimagenet32", classifier_activation=None)
    kernel = model.get_layer("s3b5_conv2").kernel.numpy()
    assert np.array_equal(kernel, kernel.astype(np.float16)), "these are the file's weights, not the layer's own"


SOURCES = {
    "letters": tominet_sources,
    squeezenet_source.STAND_IN: squeezenet_source,
    "resnet32": resnet32_source,
}


@pytest.mark.parametrize(("name", "source"), SOURCES.items(), ids=SOURCES)
def test_data_that_cannot_be_had_leave_what_is_shipped(name, source, monkeypatch, tmp_path):
    """The smoke profile has no real data."""
    monkeypatch.setattr(keras.Model, "fit", lambda *arguments, **options: pytest.fail("it trained"))
    before = {path: path.read_bytes() for path in weights.PRETRAINED.iterdir()}
    for options in ({}, {"folder": tmp_path}):
        with pytest.raises(data.DataUnavailableError):
            source.pretrain(name, **options)
    assert {path: path.read_bytes() for path in weights.PRETRAINED.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
def test_other_names_are_refused(source):
    with pytest.raises(ValueError, match=r"^Expected .*Received: 'cifar10'$"):
        source.pretrain("cifar10")

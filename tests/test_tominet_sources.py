"""Source networks are cut as the report cuts them, trained on real data only, and come back from their files."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest
from helpers import images

from tlkeras import data
from tlkeras.models import tominet, weights
from tlkeras.reports.tominet import pretraining as sources
from tlkeras.transfer.evaluation import evaluate


def made(train, test, name="letters", stand_in=False):
    """Return a small data set of three classes, each image different."""
    pixels, labels = images(train + test, shape=(28, 28, 1)), np.arange(train + test, dtype=np.int32) % 3
    return data.Dataset(
        name, pixels[:train], labels[:train], pixels[train:], labels[train:], ("a", "b", "c"),
        source="made", stand_in=stand_in, fingerprint=data.fingerprint(pixels, labels), licence="CC0",
    )  # fmt: skip


@pytest.fixture
def loaded(monkeypatch):
    """Let `data.load` return what `made` makes of these arguments."""

    def use(*arguments, **options):
        monkeypatch.setattr(data, "load", lambda name: made(*arguments, **options, name=name))

    return use


def counts(cut):
    return {name: len(labels) for name, (_, labels) in cut.items()}


@pytest.mark.parametrize(
    ("sizes", "settings", "expected"),
    [
        ((50, 10), {}, (40, 10, 10)),  # a fifth, when there are few
        ((52, 10), {}, (42, 10, 10)),
        ((60, 20), {"train_count": 30, "validation_count": 7, "test_count": 5}, (30, 7, 5)),
        ((50, 10), {"train_count": 20}, (20, 10, 10)),
    ],
)
def test_sizes_of_the_parts(loaded, sizes, settings, expected):
    loaded(*sizes)
    source, cut = sources.parts(sources.Settings("letters", **settings))
    assert counts(cut) == dict(zip(("train", "validation", "test"), expected, strict=True))
    assert source.name == "letters"
    everything = [image.tobytes() for pixels, _ in cut.values() for image in pixels]
    assert len(set(everything)) == sum(expected)
    labels = {image.tobytes(): label for image, label in zip(source.x_train, source.y_train, strict=True)}
    assert all(labels[image.tobytes()] == label for image, label in zip(*cut["train"], strict=True))


def test_the_seed_decides_the_parts(loaded):
    loaded(50, 10)
    first, again, other = (sources.parts(sources.Settings("letters", seed=seed))[1] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first["train"][0], again["train"][0])
    assert not np.array_equal(first["train"][0], other["train"][0])


def test_the_reports_own_sizes_are_the_default():
    assert dataclasses.asdict(sources.Settings("mnist")) == {
        "dataset": "mnist", "train_count": 40_000, "validation_count": 10_000, "test_count": 10_000, "epochs": 15,
        "batch_size": 32, "learning_rate": 1e-3, "seed": 0,
    }  # fmt: skip


def test_pretraining_writes_a_file_that_loads(loaded, monkeypatch, tmp_path):
    loaded(60, 20)
    monkeypatch.setattr(sources, "Settings", functools.partial(sources.Settings, epochs=1))
    record = sources.pretrain("letters", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tominet_letters.json", "tominet_letters.npz"]
    stored = json.loads((tmp_path / "tominet_letters.json").read_text())
    assert {name: stored[name] for name in record} == json.loads(json.dumps(record))
    assert stored["counts"] == {"train": 48, "validation": 12, "test": 20}
    assert (stored["class_names"], stored["settings"]["epochs"]) == (["a", "b", "c"], 1)
    assert {name: len(curve) for name, curve in stored["history"].items()} == dict.fromkeys(stored["history"], 1)
    model = tominet(3)
    assert weights.load_pretrained(model, "tominet_letters", head="dense", folder=tmp_path).new_layers == ()
    _, cut = sources.parts(sources.Settings("letters"))
    assert evaluate(model, *cut["test"]) == pytest.approx((stored["test_loss"], stored["test_accuracy"]), abs=1e-4)


def test_stand_ins_are_refused_before_any_training(loaded, monkeypatch, tmp_path):
    loaded(60, 20, stand_in=True)
    monkeypatch.setattr(keras.Model, "fit", lambda *arguments, **options: pytest.fail("it trained"))
    before = {path: path.read_bytes() for path in weights.PRETRAINED.iterdir()}
    for folder in (weights.PRETRAINED, tmp_path):
        with pytest.raises(data.DataUnavailableError, match=r"real data only\. Received: Dataset\(name='letters'"):
            sources.pretrain("letters", folder)
    assert {path: path.read_bytes() for path in weights.PRETRAINED.iterdir()} == before
    assert list(tmp_path.iterdir()) == []


def test_unavailable_data_leave_the_shipped_file():
    before = (weights.PRETRAINED / "tominet_letters.npz").read_bytes()
    with pytest.raises(data.DataUnavailableError, match="letters"):
        sources.pretrain("letters")  # the smoke profile has no letters
    assert (weights.PRETRAINED / "tominet_letters.npz").read_bytes() == before


def test_other_data_sets_are_refused():
    with pytest.raises(ValueError, match=r"Expected one of \('fashion_mnist', .*\)\. Received: 'cifar10'$"):
        sources.pretrain("cifar10")

"""The source is trained on real data only, resumes, and is shipped as float16 with its record."""

import dataclasses
import functools
import json

import keras
import numpy as np
import pytest

from tlkeras import data
from tlkeras.models import weights
from tlkeras.models.resnet32 import resnet32
from tlkeras.reports.l2t import pretraining as l2t_source


@pytest.fixture
def small(monkeypatch):
    """A data set of three classes and a network of two stages, one epoch."""
    generator = np.random.default_rng(0)
    pixels, labels = generator.integers(0, 256, (18, 8, 8, 3)).astype(np.uint8), np.arange(18, dtype=np.int32) % 3
    made = data.Dataset(
        "tinyimagenet32", pixels[:12], labels[:12], pixels[12:], labels[12:], ("a", "b", "c"), source="made",
        stand_in=False, fingerprint=data.fingerprint(pixels), licence="CC0",
    )  # fmt: skip
    monkeypatch.setattr(data, "load", lambda name, embedded: made)
    network = functools.partial(resnet32, filters=(4, 6), blocks=1)
    monkeypatch.setattr(l2t_source, "resnet32", network)
    monkeypatch.setattr(l2t_source, "Settings", functools.partial(l2t_source.Settings, epochs=2, batch_size=6))
    return network


def test_what_is_trained_is_shipped_as_float16_and_a_stopped_training_goes_on(small, tmp_path):
    checkpoint = tmp_path / "run.npz"
    model, record = l2t_source.train(l2t_source.Settings(), checkpoint)
    assert len(record["history"]["accuracy"]) == 2 and record["counts"] == {"train": 12, "test": 6}
    stored = l2t_source.pretrain(tmp_path, checkpoint)  # nothing is left to train
    assert stored["test_accuracy"] == record["test_accuracy"]
    assert not checkpoint.exists(), "or the next training would train nothing"
    on_disk = json.loads((tmp_path / "resnet32_tinyimagenet.json").read_text())
    assert on_disk["command"] == "python -m tlkeras pretrain resnet32" and on_disk["settings"]["epochs"] == 2
    fresh = small(3, (8, 8, 3))
    weights.load_pretrained(fresh, "resnet32_tinyimagenet", head="fc", folder=tmp_path)
    for a, b in zip(fresh.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_file_stays_below_its_size(tmp_path):
    keras.utils.set_random_seed(0)
    weights.save(resnet32(), tmp_path / "made.npz", {}, dtype="float16")
    assert (tmp_path / "made.npz").stat().st_size < 1.1e6


def test_the_shipped_file_is_what_its_record_says():
    record = weights.record("resnet32_tinyimagenet")
    assert record["settings"] == dataclasses.asdict(l2t_source.Settings())
    assert record["data"]["name"] == "tinyimagenet32" and not record["data"]["stand_in"]
    assert len(record["history"]["accuracy"]) == record["settings"]["epochs"]
    assert record["test_accuracy"] > 0.3, "200 classes: chance is 0.005"
    path = weights.PRETRAINED / "resnet32_tinyimagenet.npz"
    assert path.stat().st_size < 1.1e6
    model = resnet32(weights="tinyimagenet")
    kernel = model.get_layer("s3b5_conv2").kernel.numpy()
    assert np.array_equal(kernel, kernel.astype(np.float16)), "these are the file's weights, not the layer's own"


def test_a_stand_in_is_no_source(monkeypatch, tmp_path):
    def load(name, embedded):
        assert (name, embedded) == ("tinyimagenet32", False)
        raise data.DataUnavailableError("none")

    monkeypatch.setattr(data, "load", load)
    with pytest.raises(data.DataUnavailableError):
        l2t_source.pretrain(tmp_path, tmp_path / "run.npz")
    assert not list(tmp_path.iterdir())

"""The stand-in is trained on real data only, does the same after its first layer was converted, and ships small."""

import keras
import numpy as np
import pytest
from helpers import images

from tlkeras import data
from tlkeras.models import squeezenet, weights
from tlkeras.reports.squeezenet import pretraining as source


@pytest.fixture
def loaded(monkeypatch):
    """Let `data.load` return forty small images of three classes."""

    def use(stand_in=False):
        pixels, labels = images(40, shape=(32, 32, 3)), np.arange(40, dtype=np.int32) % 3
        made = data.Dataset(
            "made", pixels[:30], labels[:30], pixels[30:], labels[30:], ("a", "b", "c"),
            source="made", stand_in=stand_in, fingerprint=data.fingerprint(pixels), licence="CC0",
        )  # fmt: skip
        monkeypatch.setattr(data, "load", lambda name: made)

    return use


def test_the_converted_network_gives_the_same_logits():
    keras.utils.set_random_seed(0)
    model = squeezenet(3, weights=None, preprocessing=source.TRAINED)
    twin = source.with_shipped_preprocessing(model)
    assert twin.get_layer("preprocessing").mode == source.SHIPPED == "caffe"
    pictures = images(4, shape=(32, 32, 3))
    before, after = (keras.Model(m.input, m.get_layer("fire9_concat").output)(pictures) for m in (model, twin))
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=1e-4 * np.abs(before).max())


def test_normalisation_folds_into_the_convolutions():
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


def test_what_is_trained_comes_back_without_its_head(loaded, tmp_path):
    loaded()
    record = source.pretrain(tmp_path, source.Settings(epochs=1, batch_size=10))
    assert record["counts"] == {"train": 24, "validation": 6, "test": 10}
    kept = weights.record(source.STAND_IN, tmp_path)
    assert (kept["parameters"], kept["preprocessing"]) == (722_496, "caffe")
    assert (tmp_path / kept["file"]).stat().st_size < 1.6e6
    fresh = squeezenet(10, weights=None)
    loaded_weights = weights.load_pretrained(fresh, source.STAND_IN, head="conv10", new_head=True, folder=tmp_path)
    assert loaded_weights.new_layers == ("conv10",)


def test_no_stand_in_is_made_of_a_stand_in(loaded, tmp_path):
    loaded(stand_in=True)
    with pytest.raises(data.DataUnavailableError, match="real data only"):
        source.pretrain(tmp_path)
    assert not any(tmp_path.iterdir())

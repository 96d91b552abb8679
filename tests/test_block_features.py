"""The features of a block are the means of its map, whatever other blocks are asked for."""

import numpy as np
import pytest
from helpers import images, randomised, tiny

from tlkeras.transfer import features
from tlkeras.transfer.features import block_features


def test_every_block_gives_the_means_of_its_map(monkeypatch):
    model = randomised(tiny())
    found = block_features(model, ["conv_1", "batch_norm_2"], images())
    assert {name: values.shape for name, values in found.items()} == {"conv_1": (12, 4), "batch_norm_2": (12, 3)}
    wanted = model.get_layer("conv_1")(images() / np.float32(255)).numpy().mean(axis=(1, 2))
    np.testing.assert_allclose(found["conv_1"], wanted, rtol=1e-4)
    monkeypatch.setattr(features, "MAP_BYTES", 1)  # one image at a time
    (alone,) = block_features(model, ["batch_norm_2"], images()).values()
    np.testing.assert_allclose(alone, found["batch_norm_2"], rtol=1e-4)


@pytest.mark.parametrize("names", [[], ["conv_3"], ["conv_1", "dense"]])
def test_layers_without_a_map_are_refused(names):
    with pytest.raises(ValueError, match=r"names of layers with maps.* Received: "):
        block_features(tiny(), names, images())

"""The two networks of report 004, each with one new fully connected layer."""

import functools

import keras

from tlkeras.models import alexnet, records, vgg16
from tlkeras.models.alexnet import FILTERS
from tlkeras.models.vgg import VGG16_BLOCKS
from tlkeras.reports.ants_bees import photographs
from tlkeras.reports.ants_bees.settings import Settings


@functools.cache
def pretrained(network: str, width: float = 1.0) -> dict:
    """Return which weights there are: ImageNet's, as torchvision has them, else random ones, named as such."""
    try:
        if width != 1:
            raise records.WeightsUnavailableError("Expected the published widths.")
        found = records.best_available(network)
    except records.WeightsUnavailableError:
        return {"name": f"{network}, random", "fingerprint": f"random {network}", "stand_in": True}
    return {"name": f"{network}, {found.name}", "fingerprint": found.fingerprint, "stand_in": False}


def build(network: str, arm: Settings) -> keras.Model:
    """Return a network with one new fully connected layer, and the weights that there are."""
    weights = None if pretrained(network, arm.width)["stand_in"] else "imagenet"
    classes, shape = photographs.images().num_classes, (arm.side, arm.side, 3)
    if network == "alexnet":
        return alexnet(classes, shape, filters=tuple(round(arm.width * n) for n in FILTERS), weights=weights)
    blocks = tuple(tuple(round(arm.width * n) for n in block) for block in VGG16_BLOCKS)
    return vgg16(classes, shape, blocks=blocks, weights=weights)

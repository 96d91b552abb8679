"""The networks of report 003 before their training, by either engine."""

import keras

from tlkeras.l2t import LearningToTransfer
from tlkeras.l2t import Settings as Numbers
from tlkeras.l2t.matching import Pair
from tlkeras.l2t.peers import PEERS
from tlkeras.models import vgg9
from tlkeras.models.resnet32 import FEATURES
from tlkeras.models.vgg import VGG9_BLOCKS, VGG9_FEATURES
from tlkeras.reports.l2t import images
from tlkeras.reports.l2t.settings import QUESTIONS, Settings


def pairs(arm: Settings) -> list[Pair]:
    """Return which layers of source and target are matched: all, or the target's maps that the arm names."""
    if arm.method == "scratch":
        return []
    if arm.targets:
        named = [VGG9_FEATURES[place] for place in arm.targets]
        return list(zip(FEATURES[-len(named) :], named, strict=True))
    return [(source, target) for source in FEATURES for target in VGG9_FEATURES]


def training(arm: Settings, seed: int) -> LearningToTransfer:
    """Return the training of an arm: the same seed gives every method the same target to start from."""
    keras.utils.set_random_seed(seed)
    blocks = tuple(tuple(round(arm.width * filters) for filters in block) for block in VGG9_BLOCKS)
    model = vgg9(images.target(arm.dataset).num_classes, classifier_activation=None, blocks=blocks)
    matched, asked = pairs(arm), QUESTIONS.get(arm.method, "").split()
    return LearningToTransfer(
        images.source() if matched else model,
        model,
        matched,
        what="what" in asked,
        where="where" in asked,
        which="which" in asked,
        settings=Numbers(beta=arm.beta, meta_rate=arm.meta_rate),
        matching=PEERS.get(arm.method),
        seed=seed,
    )

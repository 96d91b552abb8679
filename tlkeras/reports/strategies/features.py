"""Report 001, pages 5, 19 and 20: classifiers on frozen features, and which block's features transfer best."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from tlkeras import data
from tlkeras.experiments.runs import Result
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies.targets import SIMILAR, cut, target

if TYPE_CHECKING:
    import keras


TASKS = ("classifiers", "blocks")
FEW, MANY = 50, 1_000  # images of a class
MANY_ENOUGH = ("cifar10", "fashion_mnist")
LAST = "fire9_concat"
BLOCKS = ("conv1", *(f"fire{number}_concat" for number in range(2, 10)))


@dataclasses.dataclass(frozen=True)
class Settings:
    """One arm: what is fitted to the frozen features of one target. The slides state none of the numbers."""

    task: str
    dataset: str
    per_class: int
    epochs: int = 30  # of the networks; a linear SVM has none
    resolution: int = 64
    test_count: int = 2_000


CELLS = [(name, FEW) for name in SIMILAR] + [(name, MANY) for name in MANY_ENOUGH]
ARMS = {
    f"{task}_{name}_{'few' if count == FEW else 'many'}": Settings(task, name, count)
    for task in TASKS
    for name, count in CELLS
}
REDUCED = {
    "smoke": {"epochs": 1, "resolution": 32, "test_count": 32},
    "quick": {"resolution": 48, "test_count": 500},
    "paper": {},
}
PER_CLASS = {"smoke": (4, 8), "quick": (10, 40), "paper": (FEW, MANY)}


def reduced(arm: Settings, profile: str) -> dict:
    """Return the settings that a profile changes."""
    return {**REDUCED[profile], "per_class": PER_CLASS[profile][arm.per_class == MANY]}


def inputs(arm: Settings) -> dict[str, list[dict]]:
    """Return the provenance of data and weights; the weights may be the stand-in of report 000."""
    return {"data": [target(arm.dataset).provenance()], "weights": [pretrained()]}


def base(arm: Settings, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training; only what lies below conv10 is used."""
    from tlkeras.models import squeezenet

    resolution = arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None
    return squeezenet(2, shape, weights=pretrained()["name"], resolution=resolution)


def run(arm: Settings, seed: int) -> Result:
    """Fit to the frozen features of one draw; a pure function of its arguments, but for the seconds.

    Returns:
        For each classifier its test accuracy (0..1), parameters and fitting seconds; or for each block the test
        accuracy of a linear SVM on its averaged features, and the similarity and LogME of the last block's.
    """
    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    model = base(arm, parts["train"][0].shape[1:])
    metrics = (_classifiers if arm.task == "classifiers" else _blocks)(arm, model, parts, seed)
    return Result(metrics, {}, {"draw": data.fingerprint(*parts["train"])})


def _classifiers(arm: Settings, model: keras.Model, parts: dict, seed: int) -> dict[str, float]:
    import keras

    from tlkeras.transfer import classifiers, features

    frozen = keras.Model(model.input, model.get_layer(LAST).output)
    maps = {name: features.SHARED.features(frozen, images) for name, (images, _) in parts.items()}
    classes, metrics = target(arm.dataset).num_classes, {}
    for kind in classifiers.CLASSIFIERS:
        found = classifiers.fit_classifier(
            kind, maps["train"], parts["train"][1], classes, seed=seed, epochs=arm.epochs
        )
        metrics[f"{kind}_accuracy"] = found.accuracy(maps["test"], parts["test"][1])
        metrics[f"{kind}_parameters"], metrics[f"{kind}_seconds"] = float(found.parameters), found.seconds
    return metrics


def _blocks(arm: Settings, model: keras.Model, parts: dict, seed: int) -> dict[str, float]:
    from tlkeras.transfer import transferability
    from tlkeras.transfer.classifiers import fit_svm
    from tlkeras.transfer.features import block_features

    features = {name: block_features(model, BLOCKS, images) for name, (images, _) in parts.items()}
    metrics = {}
    for block in BLOCKS:
        _, predict = fit_svm(features["train"][block], parts["train"][1], seed)
        right = predict(features["test"][block]) == parts["test"][1]
        metrics[f"{block.removesuffix('_concat')}_accuracy"] = float(np.mean(right))
    last = (features["train"][BLOCKS[-1]], parts["train"][1])
    return metrics | {"similarity": transferability.similarity(*last), "logme": transferability.logme(*last)}

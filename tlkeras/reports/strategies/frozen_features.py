"""Pages 5, 19 and 20 of report 001: classifiers on frozen features, and which block's features transfer best."""

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Result
from tlkeras.models import squeezenet
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies.settings import BLOCKS, FrozenFeatures
from tlkeras.reports.strategies.targets import cut, target
from tlkeras.transfer import classifiers, features, transferability

LAST = "fire9_concat"


def base(arm: FrozenFeatures, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training; only what lies below conv10 is used."""
    resolution = arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None
    return squeezenet(2, shape, weights=pretrained()["name"], resolution=resolution)


def run(arm: FrozenFeatures, seed: int) -> Result:
    """Fit to the frozen features of one draw; a pure function of its arguments, but for the seconds.

    Returns:
        For each classifier its test accuracy (0..1), parameters and fitting seconds; or for each block the test
        accuracy of a linear SVM on its averaged features, and the similarity and LogME of the last block's.
    """
    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    model = base(arm, parts["train"][0].shape[1:])
    metrics = (_classifiers if arm.task == "classifiers" else _blocks)(arm, model, parts, seed)
    return Result(metrics, {}, {"draw": data.fingerprint(*parts["train"])})


def _classifiers(arm: FrozenFeatures, model: keras.Model, parts: dict, seed: int) -> dict[str, float]:
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


def _blocks(arm: FrozenFeatures, model: keras.Model, parts: dict, seed: int) -> dict[str, float]:
    pooled = {name: features.block_features(model, BLOCKS, images) for name, (images, _) in parts.items()}
    metrics = {}
    for block in BLOCKS:
        _, predict = classifiers.fit_svm(pooled["train"][block], parts["train"][1], seed)
        right = predict(pooled["test"][block]) == parts["test"][1]
        metrics[f"{block.removesuffix('_concat')}_accuracy"] = float(np.mean(right))
    last = (pooled["train"][BLOCKS[-1]], parts["train"][1])
    return metrics | {"similarity": transferability.similarity(*last), "logme": transferability.logme(*last)}

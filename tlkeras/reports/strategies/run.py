"""The runs of report 001: quadrants (pages 13 to 18), rates (page 11), and frozen features (pages 5, 19 and 20)."""

import warnings

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Inputs, Result
from tlkeras.models import records, squeezenet, tominet, weights
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies.settings import BLOCKS, FrozenFeatures, Quadrant, Rate, Settings
from tlkeras.reports.strategies.targets import cut, target
from tlkeras.transfer import classifiers, features, finetune, freezing, recalibrate, strategies, transferability
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.evaluation import Evaluator, evaluate

_SOURCE, _TARGET = "letters", "mnist"
_TOMINET_HEAD = records.NETWORKS["tominet"].head
_LAST_MAP = "fire9_concat"


def inputs(arm: Settings) -> Inputs:
    """Return the provenance of what a run uses; the weights of SqueezeNet may be the stand-in of report 000."""
    if isinstance(arm, Rate):
        name = f"tominet_{_SOURCE}"
        facts = weights.record(name)
        used = {"name": name, "fingerprint": facts["sha256"][:16], "data": facts["data"]}
        return {"data": [target(name).provenance() for name in (_TARGET, _SOURCE)], "weights": [used]}
    return {"data": [target(arm.dataset).provenance()], "weights": [pretrained()]}


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; see `run` of the arm's kind."""
    if isinstance(arm, Quadrant):
        return _run_quadrant(arm, seed)
    return _run_rate(arm, seed) if isinstance(arm, Rate) else _run_frozen_features(arm, seed)


def build_quadrant(arm: Quadrant, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training and a new conv10."""
    return squeezenet(
        target(arm.dataset).num_classes,
        shape,
        weights=pretrained()["name"],
        dropout=arm.dropout,
        resolution=arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None,
        pool_first=True,
    )


def _run_quadrant(arm: Quadrant, seed: int) -> Result:
    """Fine-tune by one strategy on one draw; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, and whether the classifier collapsed; and the curves.
    """
    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    keras.utils.set_random_seed(seed)
    model = build_quadrant(arm, parts["train"][0].shape[1:])
    phases = strategies.phases(
        model,
        arm.strategy,
        epochs=arm.epochs,
        learning_rate=arm.learning_rate,
        head_epochs=arm.head_epochs,
        head_rate=arm.head_rate,
        schedule=arm.schedule,
    )
    detector = CollapseDetector(model, parts["train"][0][:100], stop=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CollapsedClassifierWarning)  # a metric of the run
        history = finetune(
            model, parts["train"], None, phases, seed=seed, batch_size=arm.batch_size, callbacks=lambda: [detector]
        )
    loss, accuracy = evaluate_cached(model, *parts["test"])
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "train_accuracy": history.accuracy[-1],
        "collapsed": float(detector.collapsed_at is not None),
    }
    details = {
        "draw": data.fingerprint(*parts["train"]),
        "trainable": history.trainable,
        "cached": history.cached,
        "seconds": {name: round(seconds, 2) for name, seconds in history.seconds.items()},
    }
    return Result(metrics, history.curves(), details)


def evaluate_cached(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Return `(loss, accuracy)` as `evaluate` does; what is frozen runs once a process for the same images."""
    halves = features.split(model)
    if halves is None:
        return evaluate(model, images, labels)
    base, head = halves
    return Evaluator(head)(features.SHARED.features(base, images), labels)


def _run_rate(arm: Rate, seed: int) -> Result:
    """Fine-tune all layers on digits at one rate, then ask the old head for letters.

    Returns:
        Accuracy (0..1) and loss (nats) on test digits; accuracy on test letters with the old head before, after, and
        after the batch-norm statistics were recalibrated on letters (what the weights alone still know); and
        `moved_LAYER`, how far each layer's trained weights moved, relative to where they were.
    """
    digits, letters = target(_TARGET), target(_SOURCE)
    count = arm.train_per_class * digits.num_classes
    drawn = data.splits.few_shot(digits.y_train, count, seed=seed, balanced=True, num_classes=digits.num_classes)
    train = (digits.x_train[drawn], digits.y_train[drawn])
    keras.utils.set_random_seed(seed)
    source, model = tominet(26, weights=_SOURCE), tominet(digits.num_classes, weights=_SOURCE)
    phases = strategies.phases(
        model,
        "train_all",
        epochs=arm.epochs,
        learning_rate=arm.learning_rate,
        head_epochs=arm.head_epochs,
        head_rate=arm.head_rate,
    )
    before = freezing.snapshot(model)
    history = finetune(model, train, None, phases, seed=seed, batch_size=arm.batch_size)
    test_letters = (letters.x_test[: arm.test_count], letters.y_test[: arm.test_count])
    both = freezing.with_old_head(model, source, _TOMINET_HEAD)
    test_loss, test_accuracy = evaluate(model, digits.x_test[: arm.test_count], digits.y_test[: arm.test_count])
    metrics = {"test_loss": test_loss, "test_accuracy": test_accuracy}
    metrics["source_accuracy_before"] = evaluate(source, *test_letters)[1]
    metrics["source_accuracy"] = evaluate(both, *test_letters)[1]
    recalibrate(both, letters.x_train[:5_000])
    metrics["source_accuracy_recalibrated"] = evaluate(both, *test_letters)[1]
    moves = freezing.relative_moves(before, model)
    metrics |= {f"moved_{name}": move for name, move in moves.items() if name != _TOMINET_HEAD}  # the head is new
    return Result(metrics, history.curves(), {"draw": data.fingerprint(*train)})


def _base(arm: FrozenFeatures, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training; only what lies below conv10 is used."""
    resolution = arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None
    return squeezenet(2, shape, weights=pretrained()["name"], resolution=resolution)


def _run_frozen_features(arm: FrozenFeatures, seed: int) -> Result:
    """Fit to the frozen features of one draw; a pure function of its arguments, but for the seconds.

    Returns:
        For each classifier its test accuracy (0..1), parameters and fitting seconds; or for each block the test
        accuracy of a linear SVM on its averaged features, and the similarity and LogME of the last block's.
    """
    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    model = _base(arm, parts["train"][0].shape[1:])
    metrics = (_classifiers if arm.task == "classifiers" else _blocks)(arm, model, parts, seed)
    return Result(metrics, {}, {"draw": data.fingerprint(*parts["train"])})


def _classifiers(arm: FrozenFeatures, model: keras.Model, parts: dict, seed: int) -> dict[str, float]:
    frozen = keras.Model(model.input, model.get_layer(_LAST_MAP).output)
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

"""Pages 13 to 18 of report 001: three strategies for small and large, similar and dissimilar data."""

import warnings

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments.report import Result
from tlkeras.models import squeezenet
from tlkeras.reports.squeezenet.run import pretrained
from tlkeras.reports.strategies.settings import Quadrant
from tlkeras.reports.strategies.targets import cut, target
from tlkeras.transfer import features, finetune, strategies
from tlkeras.transfer.callbacks import CollapsedClassifierWarning, CollapseDetector
from tlkeras.transfer.evaluation import Evaluator, evaluate


def build(arm: Quadrant, shape: tuple[int, int, int]) -> keras.Model:
    """Return SqueezeNet with the weights of an earlier training and a new conv10."""
    return squeezenet(
        target(arm.dataset).num_classes,
        shape,
        weights=pretrained()["name"],
        dropout=arm.dropout,
        resolution=arm.resolution if (arm.resolution, arm.resolution) != shape[:2] else None,
        pool_first=True,
    )


def run(arm: Quadrant, seed: int) -> Result:
    """Fine-tune by one strategy on one draw; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, and whether the classifier collapsed; and the curves.
    """

    parts = cut(arm.dataset, arm.per_class, arm.test_count, seed)
    keras.utils.set_random_seed(seed)
    model = build(arm, parts["train"][0].shape[1:])
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

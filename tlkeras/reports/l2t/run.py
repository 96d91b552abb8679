"""One run of report 003: a small network trained on few images, alone or guided by a source; or the source alone."""

import time
from collections.abc import Mapping

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkeras import data, transfer
from tlkeras.experiments.report import Result
from tlkeras.l2t import Answers, LearningToTransfer, Trajectory
from tlkeras.l2t import Settings as Numbers
from tlkeras.l2t.matching import Pair
from tlkeras.l2t.peers import PEERS
from tlkeras.models import vgg9
from tlkeras.models.resnet32 import FEATURES
from tlkeras.models.vgg import VGG9_BLOCKS, VGG9_FEATURES
from tlkeras.reports.l2t import images
from tlkeras.reports.l2t.settings import (
    QUESTIONS,
    SOURCE_ALONE,
    VALIDATION_COUNTS,
    WATCHED_CHANNELS,
    WATCHED_PAIR,
    WATCHED_WEIGHTS,
    Settings,
)
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.evaluation import Evaluator, evaluate
from tlkeras.transfer.features import SHARED, pooled_model

Labelled = tuple[np.ndarray, np.ndarray]  # images and their labels
CURVES = ("cross_entropy", "matching", "accuracy", "lookahead", "before", "after")


def run(arm: Settings, seed: int) -> Result:
    """Train one arm from one seed; a pure function of its arguments (and of the data and weights).

    Returns:
        Metrics after the last epoch: accuracy (0..1) and loss (nats) on the test images, accuracy on the training
        images, the recall of the scarce class where there is one, accuracy on the test images once batch normalisation
        has the statistics of all training images; and seconds an iteration (the median epoch's). The curves, and in the
        details the path of a few weights and what the meta-networks said. Of the source alone, accuracies and
        loss, and in the details which test images were right, as `claims.right_answers` reads it.
    """
    if arm.method in SOURCE_ALONE:
        return _source_alone(arm, seed)
    drawn, (x, y), test = cut(arm, seed)
    learner, path, ends = training(arm, seed), Trajectory("conv1", WATCHED_WEIGHTS), []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    answers = Answers(learner, x[:64], every=max(1, arm.epochs // 40), pair=WATCHED_PAIR, channels=WATCHED_CHANNELS)
    asks = bool(QUESTIONS.get(arm.method))
    scores = (
        Scores(arm.score_every, {"validation": further(arm, seed, drawn), "test": test}) if arm.score_every else None
    )
    history = learner.fit(
        x,
        y,
        epochs=arm.epochs,
        batch_size=arm.batch_size,
        learning_rate=arm.learning_rate,
        seed=seed,
        warm_up=arm.warm_up,
        augment=random_flip_crop(arm.padding),
        callbacks=[path, clock, *([answers] if asks else []), *([scores] if scores else [])],
    )
    loss, accuracy = evaluate(learner.target, *test)
    metrics = {
        "test_accuracy": accuracy,
        "test_loss": loss,
        "train_accuracy": history["accuracy"][-1],
        "iteration_seconds": float(np.median(np.diff(ends))) / -(-len(x) // arm.batch_size),
    }
    metrics |= scored_at_last(learner.target, arm, seed, x, test)
    details = {
        "draw": data.fingerprint(x, y),
        "pairs": learner.pair_names,
        "looks": answers.epochs,
        "answers": answers.kept,
        "path": path.weights,
        "moved": np.round(path.moved, 6).tolist(),
    }
    kept = {name: np.round(history[name], 4).tolist() for name in CURVES if name in history}
    return Result(metrics, kept | (scores.accuracies if scores else {}), details)


def cut(arm: Settings, seed: int) -> tuple[np.ndarray, Labelled, Labelled]:
    """Return which training images a seed draws, whatever the method; these; and the test images."""
    parts, classes = images.small(arm.dataset), images.target(arm.dataset).num_classes
    (x, y), (test_x, test_y) = parts["train"], parts["test"]
    drawn = images.draw(y, arm.per_class, classes, arm.scarce, seed)
    return drawn, (x[drawn], y[drawn]), (test_x[: arm.test_count], test_y[: arm.test_count])


class Scores(keras.callbacks.Callback):
    """Score sets of images every few epochs; nothing is chosen by it.

    Args:
        every: epochs between two scores.
        sets: images and labels, by name.

    After training: `accuracies`, by "NAME_accuracy", a number (0..1) an epoch, None where it was not scored.
    """

    def __init__(self, every: int, sets: Mapping[str, tuple[np.ndarray, ...]]) -> None:
        super().__init__()
        self.every, self.sets = every, sets
        self.accuracies: dict[str, list[float | None]] = {f"{name}_accuracy": [] for name in sets}
        self._evaluator: Evaluator | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Score, where an epoch is due."""
        due = (epoch + 1) % self.every == 0
        self._evaluator = self._evaluator or Evaluator(self.model)
        for name, own in self.sets.items():
            accuracy = round(self._evaluator(*own)[1], 6) if due else None
            self.accuracies[f"{name}_accuracy"].append(accuracy)


def further(arm: Settings, seed: int, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw training images outside of `drawn`, as many as the official code validates with: images, labels."""
    x, y = images.small(arm.dataset)["train"]
    left = np.setdiff1d(np.arange(len(y)), drawn)
    count = min(VALIDATION_COUNTS[arm.dataset], len(left) // 2)
    chosen = left[data.splits.few_shot(y[left], count, seed=seed, balanced=False)]
    return x[chosen], y[chosen]


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


def scored_at_last(
    target: keras.Model, arm: Settings, seed: int, x: np.ndarray, test: tuple[np.ndarray, ...]
) -> dict[str, float]:
    """Return the recall of the scarce class, where there is one, and the accuracy after recalibration, in place.

    Args:
        target: a trained network.
        arm: of the run.
        seed: of the run, which names the scarce class.
        x: the training images, whose statistics batch normalisation takes.
        test: images and labels.
    """
    metrics = {}
    if arm.scarce:
        own = test[1] == images.scarce_class(seed, images.target(arm.dataset).num_classes)
        metrics["scarce_recall"] = evaluate(target, test[0][own], test[1][own])[1]
    transfer.recalibrate(target, x, batch_size=arm.batch_size)
    return metrics | {"test_accuracy_recalibrated": evaluate(target, *test)[1]}


def pairs(arm: Settings) -> list[Pair]:
    """Return which layers of source and target are matched: all, or the target's maps that the arm names."""
    if arm.method == "scratch":
        return []
    if arm.targets:
        named = [VGG9_FEATURES[place] for place in arm.targets]
        return list(zip(FEATURES[-len(named) :], named, strict=True))
    return [(source, target) for source in FEATURES for target in VGG9_FEATURES]


def _source_alone(arm: Settings, seed: int) -> Result:
    """Classify by the source network alone, on the draw that every method of the report gets from this seed.

    The probe is a logistic regression on the averaged maps of the last stage, standardised by the drawn images. The
    fine-tuning starts from there: the source network with this probe as its classifier, all layers trained by Adam.

    Returns:
        Metrics: accuracy (0..1) and loss (nats) on the test images, accuracy on the training images. In the details
        the draw, and which test images were right, as `claims.right_answers` reads it.
    """
    drawn, train, test = cut(arm, seed)
    base = pooled_model(images.source(), FEATURES[-1:])
    known, unknown = (SHARED.features(base, part) for part in (images.small(arm.dataset)["train"][0], test[0]))
    probe = fitted(known[drawn], train[1], arm.strength)
    history: dict[str, list] = {}
    if arm.method == "probe":
        answers = [probe.predict_proba(part) for part in (known[drawn], unknown)]
    else:
        model = with_classifier(probe)
        history = _finetuned(model, train, arm, seed)
        answers = [_probabilities(model, *part) for part in (train, test)]
    right = [given.argmax(1) == labels for given, labels in zip(answers, (train[1], test[1]), strict=True)]
    metrics = {
        "test_accuracy": float(right[1].mean()),
        "test_loss": float(log_loss(test[1], answers[1], labels=np.arange(answers[1].shape[1]))),
        "train_accuracy": float(right[0].mean()),
    }
    details = {"draw": data.fingerprint(*train), "right": np.packbits(right[1]).tobytes().hex()}
    return Result(metrics, history, details)


def fitted(features: np.ndarray, labels: np.ndarray, strength: float) -> Pipeline:
    """Fit a logistic regression (scikit-learn's C is `strength`) to features `(n, d)`, standardised by themselves."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(features, labels)


def with_classifier(probe: Pipeline) -> keras.Model:
    """Return the source network with a probe of three classes or more as its classifier: images in, its logits out."""
    scaler, regression = probe
    weights = regression.coef_.T / scaler.scale_[:, None]
    model = images.source(len(regression.classes_))
    model.layers[-1].set_weights([weights, regression.intercept_ - scaler.mean_ @ weights])
    return model


def _finetuned(model: keras.Model, train: tuple[np.ndarray, ...], arm: Settings, seed: int) -> dict[str, list]:
    """Train all layers in place, the rate falling along a cosine; return the curves of the training images."""
    keras.utils.set_random_seed(seed)
    phase = transfer.Phase("all", "all", arm.epochs, arm.learning_rate, "cosine")
    augment = random_flip_crop(arm.padding)
    history = transfer.finetune(model, train, None, [phase], seed=seed, batch_size=arm.batch_size, augment=augment)
    return {name: np.round(getattr(history, name), 4).tolist() for name in ("loss", "accuracy")}


def _probabilities(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    evaluator = Evaluator(model)
    return evaluator.scored(evaluator.batches(x, y))[2]

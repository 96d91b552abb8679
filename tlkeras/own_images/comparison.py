"""Compare ways to classify photographs by repeated cross-validation on the same folds, and decide by a paired test."""

import functools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
from scipy import stats as scipy_stats
from sklearn.model_selection import RepeatedStratifiedKFold

from tlkeras.experiments.environment import bounded_memory
from tlkeras.experiments.stats import adjust
from tlkeras.own_images.backbones import Backbone
from tlkeras.own_images.folder import Photographs
from tlkeras.transfer import finetune, freezing, strategies
from tlkeras.transfer.features import FeatureCache, compiled_forward
from tlkeras.transfer.probe import Probe, fit_probe, unit_rows

FOLDS = 5
_LEVEL = 0.05  # of the test that decides whether a more expensive way is better
FINE_TUNED = ("freeze_some",)  # of the slides' strategies, beside the probe, which is their "freeze_base"
EPOCHS, HEAD_EPOCHS = 10, 5
_AT_ONCE = 8  # images in a forward pass, all of whose maps are held at once
_TIMED = 8  # images in the forward pass that is timed
Features = Mapping[str, np.ndarray]  # network -> (n, channels)
Folds = Sequence[Sequence[tuple[np.ndarray, np.ndarray]]]  # of each repeat: images to train on, and the others


@dataclass(frozen=True)
class Candidate:
    """A way to classify: a linear probe on frozen features of one network or more, or one network fine-tuned."""

    name: str
    backbones: tuple[Backbone, ...]
    strategy: str = "probe"  # or one of `FINE_TUNED`

    @property
    def side(self) -> int:
        """Pixels of the square that the finished model takes."""
        return max(backbone.side for backbone in self.backbones)


def candidates(backbones: Sequence[Backbone]) -> list[Candidate]:
    """Return what is compared, cheapest first: a probe of each network, of all together, and fine-tuning."""
    found = [Candidate(probe_of([backbone]), (backbone,)) for backbone in backbones]
    if len(backbones) > 1 and len({backbone.side for backbone in backbones}) == 1:
        found.append(Candidate(probe_of(backbones), tuple(backbones)))
    return found + [
        Candidate(f"{strategy.replace('_', ' ')} of {backbone.network}", (backbone,), strategy)
        for strategy in FINE_TUNED
        for backbone in backbones
    ]


def probe_of(backbones: Sequence[Backbone]) -> str:
    """Return the name of a probe of the features of these networks together."""
    return f"probe of {' + '.join(backbone.network for backbone in backbones)}"


def joined(features: Features, backbones: Sequence[Backbone]) -> np.ndarray:
    """Return the features of several networks side by side, each scaled to length 1, `(n, sum of the channels)`."""
    return np.concatenate([unit_rows(features[backbone.network]) for backbone in backbones], axis=1)


def folds(labels: np.ndarray, *, repeats: int, seed: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
    """Return the folds of each repeat, each with its training and its validation images; the same for every candidate.

    Args:
        labels: `(n,)`, each class at least five times.
        repeats: how often the images are dealt out anew.
        seed: of the dealing.
    """
    splitter = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=seed)
    every = list(splitter.split(labels, labels))
    return [every[start : start + FOLDS] for start in range(0, len(every), FOLDS)]


@dataclass(eq=False)
class Score:
    """What a candidate says of images it was not trained on, `(repeats, n, classes)`, and the seconds that it took."""

    candidate: Candidate
    probabilities: np.ndarray
    seconds: float

    def accuracies(self, labels: np.ndarray, parts: Folds) -> np.ndarray:
        """Return the accuracy in each fold of each repeat, 0..1, `(repeats * folds,)`."""
        return np.array(
            [
                np.mean(self.probabilities[repeat, outside].argmax(1) == labels[outside])
                for repeat, members in enumerate(parts)
                for _, outside in members
            ]
        )


def predict_fold(
    candidate: Candidate,
    photographs: Photographs,
    features: Features,
    inside: np.ndarray,
    outside: np.ndarray,
    *,
    seed: int,
) -> np.ndarray:
    """Train a candidate on some images and return its probabilities for others, `(len(outside), classes)`."""
    labels = photographs.labels
    if candidate.strategy == "probe":
        rows = joined(features, candidate.backbones)
        return fit_probe([rows[inside]], labels[inside], seed=seed).probabilities([rows[outside]])
    images = _squares(photographs, candidate.side)
    with bounded_memory():  # a fold needs nothing of those before
        model = _fine_tuned(candidate, images[inside], labels[inside], int(labels.max()) + 1, seed=seed)
        return predicted(model, images[outside])


@functools.lru_cache(2)
def _squares(photographs: Photographs, side: int) -> np.ndarray:
    return photographs.squares(side)


def _fine_tuned(
    candidate: Candidate, images: np.ndarray, labels: np.ndarray, classes: int, *, seed: int
) -> keras.Model:
    """Return the network of a candidate, fine-tuned by its strategy: the new head first, then the uppermost layers."""
    keras.utils.set_random_seed(seed)
    model = candidate.backbones[0].classifier(classes)
    plan = strategies.phases(model, candidate.strategy, epochs=EPOCHS, head_epochs=HEAD_EPOCHS)
    finetune(model, (images, labels), None, plan, seed=seed, cache=FeatureCache())  # which goes with the training
    return model


def expected_seconds(candidate: Candidate, images: int, classes: int) -> float:
    """Estimate the seconds of fine-tuning a candidate once, from its operations and a timed forward pass.

    Args:
        candidate: that is fine-tuned.
        images: to train on.
        classes: of the new head.
    """
    model = candidate.backbones[0].classifier(classes)
    batch, forward = np.zeros((_TIMED, candidate.side, candidate.side, 3), np.float32), compiled_forward(model)
    forward(batch)  # traces
    started = time.perf_counter()
    forward(batch)
    rate = _TIMED * sum(freezing.forward_flops(model).values()) / (time.perf_counter() - started)
    plan = strategies.phases(model, candidate.strategy, epochs=EPOCHS, head_epochs=HEAD_EPOCHS)
    flops = sum(freezing.training_flops(model, p.train, images, p.epochs, cached=True) for p in plan)
    return flops / rate


def finished(
    candidate: Candidate, photographs: Photographs, features: Features, class_names: Sequence[str], *, seed: int
) -> keras.Model:
    """Train a candidate on all images, and return a model of Keras' own layers: raw 0..255 in, probabilities out."""
    if candidate.strategy != "probe":
        images = _squares(photographs, candidate.side)
        return _fine_tuned(candidate, images, photographs.labels, len(class_names), seed=seed)
    probe = fit_probe([joined(features, candidate.backbones)], photographs.labels, seed=seed)
    bases = [backbone.extractor() for backbone in candidate.backbones]
    together = len(bases) > 1
    inputs = keras.Input((candidate.side, candidate.side, 3), name="image") if together else bases[0].input
    rows = [
        keras.layers.UnitNormalization(name=f"{backbone.network}_unit")(base(inputs) if together else base.output)
        for backbone, base in zip(candidate.backbones, bases, strict=True)
    ]
    if together:
        rows = [keras.layers.UnitNormalization(name="unit")(keras.layers.Concatenate(name="features")(rows))]
    head = keras.layers.Dense(len(class_names), activation="softmax", name="predictions")
    model = keras.Model(inputs, head(rows[0]), name="own_images")
    head.set_weights(_softmax_weights(probe))
    return model


def _softmax_weights(probe: Probe) -> list[np.ndarray]:
    """Return the calibrated probe as weights and biases of a softmax; two classes share one vector of the probe."""
    weights, bias = probe.weights / probe.temperature, np.asarray(probe.bias) / probe.temperature
    if weights.ndim == 1:
        weights, bias = np.stack([-weights, weights], axis=1) / 2, np.array([-bias, bias]) / 2
    return [weights, bias]


def predicted(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Return the outputs of a model for images `(n, height, width, 3)`, float64 `(n, classes)`."""
    parts = [images[start : start + _AT_ONCE] for start in range(0, len(images), _AT_ONCE)]
    return np.concatenate([keras.ops.convert_to_numpy(model(part, training=False)) for part in parts]).astype(float)


def interval(
    values: np.ndarray, *, train_share: float = 1 - 1 / FOLDS, confidence: float = 0.95
) -> tuple[float, float]:
    """Return the interval of a mean over folds, or of a mean difference of two candidates on the same folds.

    The training images of the folds overlap, so that their scores vary together; the variance is corrected for it.

    Args:
        values: one for each fold of each repeat.
        train_share: of the images, in the training part of a fold.
        confidence: 0..1.

    Reference: Nadeau and Bengio 2003, Inference for the generalization error, equation 9.
    """
    mean, error = float(np.mean(values)), _standard_error(values, train_share)
    reach = float(scipy_stats.t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def accuracy_interval(accuracies: np.ndarray, images: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy within 0..1: `interval` over the folds, or Wilson's if that is wider.

    Folds that agree, as where no image is wrong, say nothing of images to come.

    Args:
        accuracies: in each fold of each repeat, 0..1.
        images: in all folds of a repeat together.

    Reference: Wilson 1927, Probable inference, the law of succession, and statistical inference.
    """
    over_folds = np.clip(interval(accuracies), 0, 1)
    right = round(images * float(np.mean(accuracies)))
    over_images = scipy_stats.binomtest(right, images).proportion_ci(method="wilson")
    low, high = max((over_folds, over_images), key=np.ptp)
    return float(low), float(high)


def paired_p(differences: np.ndarray, *, train_share: float = 1 - 1 / FOLDS) -> float:
    """Return the two-sided p of a mean difference of zero by the corrected resampled t-test, see `interval`."""
    error = _standard_error(differences, train_share)
    if error == 0:
        return 1.0 if np.mean(differences) == 0 else 0.0
    return float(2 * scipy_stats.t.sf(abs(np.mean(differences)) / error, len(differences) - 1))


def _standard_error(values: np.ndarray, train_share: float) -> float:
    corrected = 1 / len(values) + (1 - train_share) / train_share
    return float(np.sqrt(corrected * np.var(values, ddof=1)))


def decide(scores: Sequence[Score], accuracies: Mapping[str, np.ndarray]) -> tuple[Candidate, list[dict]]:
    """Choose the best of those that are decided to be better than the cheapest, or else the cheapest.

    Args:
        scores: of the candidates that were run to the end, cheapest first.
        accuracies: name of a candidate -> its accuracy in each fold.

    Returns:
        The candidate, and a row of each: candidate, accuracy, ci_low, ci_high (0..1), difference to the cheapest, its
        p by Holm's correction, seconds, chosen.
    """
    first = accuracies[scores[0].candidate.name]
    differences = [accuracies[score.candidate.name] - first for score in scores]
    raw = [paired_p(difference) for difference in differences[1:]]
    corrected = [1.0, *(adjust(raw) if raw else [])]
    means = [float(np.mean(difference)) for difference in differences]
    better = [i for i in range(len(scores)) if corrected[i] < _LEVEL and means[i] > 0]
    best = max(better, key=lambda i: means[i], default=0)
    rows = []
    for index, score in enumerate(scores):
        values = accuracies[score.candidate.name]
        low, high = accuracy_interval(values, score.probabilities.shape[1])
        rows.append(
            {
                "candidate": score.candidate.name,
                "accuracy": float(np.mean(values)),
                "ci_low": low,
                "ci_high": high,
                "difference": means[index],
                "p": float(corrected[index]) if index else None,
                "seconds": score.seconds,
                "chosen": index == best,
            }
        )
    return scores[best].candidate, rows

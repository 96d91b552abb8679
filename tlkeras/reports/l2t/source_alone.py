"""What the source network of report 003 does without a target: a probe of its features, and its own fine-tuning."""

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from tlkeras import data, transfer
from tlkeras.experiments.report import Result
from tlkeras.models.resnet32 import FEATURES
from tlkeras.reports.l2t import images
from tlkeras.reports.l2t.settings import Settings
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.evaluation import Evaluator
from tlkeras.transfer.features import SHARED, pooled_model


def run(arm: Settings, seed: int) -> Result:
    """Classify by the source network alone, on the draw that every method of the report gets from this seed.

    The probe is a logistic regression on the averaged maps of the last stage, standardised by the drawn images. The
    fine-tuning starts from there: the source network with this probe as its classifier, all layers trained by Adam.

    Returns:
        Metrics: accuracy (0..1) and loss (nats) on the test images, accuracy on the training images. In the details
        the draw, and which test images were right, as `right_answers` reads it.
    """
    parts = images.small(arm.dataset)
    drawn = images.draw(parts["train"][1], arm.per_class, images.target(arm.dataset).num_classes, arm.scarce, seed)
    train = tuple(part[drawn] for part in parts["train"])
    test = tuple(part[: arm.test_count] for part in parts["test"])
    base = pooled_model(images.source(), FEATURES[-1:])
    known, unknown = (SHARED.features(base, part) for part in (parts["train"][0], test[0]))
    probe = fitted(known[drawn], train[1], arm.strength)
    history: dict[str, list] = {}
    if arm.method == "probe":
        answers = [probe.predict_proba(part) for part in (known[drawn], unknown)]
    else:
        model = with_classifier(probe)
        history = finetuned(model, train, arm, seed)
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


def finetuned(model: keras.Model, train: tuple[np.ndarray, ...], arm: Settings, seed: int) -> dict[str, list]:
    """Train all layers in place, the rate falling along a cosine; return the curves of the training images."""
    keras.utils.set_random_seed(seed)
    phase = transfer.Phase("all", "all", arm.epochs, arm.learning_rate, "cosine")
    augment = random_flip_crop(arm.padding)
    history = transfer.finetune(model, train, None, [phase], seed=seed, batch_size=arm.batch_size, augment=augment)
    return {name: np.round(getattr(history, name), 4).tolist() for name in ("loss", "accuracy")}


def right_answers(encoded: str, count: int) -> np.ndarray:
    """Return which of the test images a run had right, bool `(count,)`, out of its details."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(encoded), np.uint8), count=count).astype(bool)


def _probabilities(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    evaluator = Evaluator(model)
    return evaluator.scored(evaluator.batches(x, y))[2]

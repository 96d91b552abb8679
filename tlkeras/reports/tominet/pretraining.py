"""Source networks of report 002 (EJ3): TomiNet on clothes, letters and digits, trained here and shipped."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments import environment
from tlkeras.models import tominet, weights
from tlkeras.models.tominet import SOURCES
from tlkeras.transfer import Phase, finetune
from tlkeras.transfer.evaluation import evaluate


@dataclass(frozen=True)
class Settings:
    """How a source network is trained; values without a source are not in the report."""

    dataset: str
    train_count: int = 40_000  # EJ3, Fashion MNIST a MNIST
    validation_count: int = 10_000  # the same
    test_count: int = 10_000  # the same
    epochs: int = 15  # not stated; validation accuracy is flat by then
    batch_size: int = 32  # not stated; Keras' default
    learning_rate: float = 1e-3  # not stated; Adam's default in Keras
    seed: int = 0


def parts(settings: Settings) -> tuple[data.Dataset, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """Load the data and cut them: a smaller set gives a fifth of its training part to validation.

    Returns:
        The data set, and "train", "validation", "test" -> (images uint8 (n, 28, 28, 1), labels int32 (n,)).
    """
    source = data.load(settings.dataset)
    validation_count = min(settings.validation_count, len(source.x_train) // 5)
    train_count = min(settings.train_count, len(source.x_train) - validation_count)
    train, validation = data.splits.holdout(source.y_train, (train_count, validation_count), seed=settings.seed)
    (test,) = data.splits.holdout(source.y_test, (min(settings.test_count, len(source.y_test)),), seed=settings.seed)
    return source, {
        "train": (source.x_train[train], source.y_train[train]),
        "validation": (source.x_train[validation], source.y_train[validation]),
        "test": (source.x_test[test], source.y_test[test]),
    }


def train(settings: Settings) -> tuple[keras.Model, dict]:
    """Train TomiNet on a source and keep the epoch with the best validation accuracy.

    Returns:
        The model, and its record: settings, data, counts, test accuracy and loss, curves, versions.
    """
    source, cut = parts(settings)
    keras.utils.set_random_seed(settings.seed)
    model = tominet(source.num_classes, source.x_train.shape[1:])
    phase = Phase("source", "all", settings.epochs, settings.learning_rate)
    with tempfile.TemporaryDirectory() as folder:
        history = finetune(
            model, cut["train"], cut["validation"], [phase],
            seed=settings.seed, batch_size=settings.batch_size, keep="best", checkpoints=Path(folder),
        )  # fmt: skip
    loss, accuracy = evaluate(model, *cut["test"])
    record = {
        "settings": asdict(settings),
        "data": source.provenance(),
        "class_names": list(source.class_names),
        "counts": {name: len(labels) for name, (_, labels) in cut.items()},
        "test_accuracy": round(accuracy, 4),
        "test_loss": round(loss, 4),
        "history": history.curves(),
        "seconds": round(sum(history.seconds.values()), 1),
        "command": f"python -m tlkeras pretrain {settings.dataset}",
        **environment.describe(),
    }
    return model, record


def pretrain(dataset: str, folder: Path = weights.PRETRAINED) -> dict:
    """Train and save the source network `tominet_<dataset>`; return its record.

    Raises:
        ValueError: not one of `SOURCES`.
        DataUnavailableError: the data could not be had; the shipped file stays as it was.
    """
    if dataset not in SOURCES:
        raise ValueError(f"Expected one of {SOURCES}. Received: {dataset!r}")
    if (source := data.load(dataset)).stand_in:
        raise data.DataUnavailableError(f"Source networks are trained on real data only. Received: {source}")
    model, record = train(Settings(dataset))
    weights.save(model, folder / f"tominet_{dataset}.npz", record)
    return record

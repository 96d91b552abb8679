"""Source networks of report 002 (EJ3): TomiNet on clothes, letters and digits, trained here and shipped."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tlkeras import data, transfer
from tlkeras.experiments import environment
from tlkeras.models import records, tominet, weights

SOURCES = tuple(records.NETWORKS["tominet"].weights)  # data sets whose TomiNet is shipped


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


def train(settings: Settings, path: Path | None = None) -> tuple[keras.Model, dict]:
    """Train TomiNet on a source and keep the epoch with the best validation accuracy.

    Args:
        settings: a smaller data set gives a fifth of its training part to validation.
        path: of the weights (.npz), with the record beside them; None saves nothing.

    Returns:
        The model, and its record: settings, data, counts, test accuracy and loss, curves, versions.

    Raises:
        DataUnavailableError: the real data could not be had.
    """
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    return transfer.pretrain(
        tominet(source.num_classes, source.x_train.shape[1:]),
        source,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        counts=(settings.train_count, settings.validation_count, settings.test_count),
        seed=settings.seed,
        path=path,
        facts={
            "settings": asdict(settings),
            "command": f"python -m tlkeras pretrain {settings.dataset}",
            **environment.describe(),
        },
    )


def pretrain(name: str, folder: Path = weights.PRETRAINED) -> dict:
    """Train and save the source network `tominet_<name>`; return its record.

    Args:
        name: of the data set, one of `SOURCES`.
        folder: where the weights and their record go.

    Raises:
        ValueError: another name.
        DataUnavailableError: the real data could not be had; the shipped file stays as it was.
    """
    if name not in SOURCES:
        raise ValueError(f"Expected one of {SOURCES}. Received: {name!r}")
    return train(Settings(name), folder / f"tominet_{name}.npz")[1]

"""Source networks of report 002 (EJ3): TomiNet on clothes, letters and digits, trained here and shipped."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tlkeras import data
from tlkeras.experiments import environment
from tlkeras.models import tominet, weights
from tlkeras.models.tominet import SOURCES
from tlkeras.transfer import pretrain as train


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


def pretrain(name: str, folder: Path = weights.PRETRAINED, settings: Settings | None = None) -> dict:
    """Train and save the source network `tominet_<name>`; return its record.

    Args:
        name: of its data set, one of `SOURCES`.
        folder: where the weights and their record go.
        settings: None means the shipped ones.

    Raises:
        ValueError: another name.
        DataUnavailableError: the real data could not be had; the shipped file stays as it was.
    """
    if name not in SOURCES:
        raise ValueError(f"Expected one of {SOURCES}. Received: {name!r}")
    settings = settings or Settings(name)
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    _, record = train(
        tominet(source.num_classes, source.x_train.shape[1:]),
        source,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        counts=(settings.train_count, settings.validation_count, settings.test_count),
        seed=settings.seed,
        path=folder / f"tominet_{name}.npz",
        facts={
            "settings": asdict(settings),
            "command": f"python -m tlkeras pretrain {name}",
            **environment.describe(),
        },
    )
    return record

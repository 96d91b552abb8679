"""The source network of report 003: ResNet32 on Tiny ImageNet at 32x32, trained here, resumable epoch by epoch."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments import environment, runs
from tlkeras.l2t.parts import Settings as Numbers
from tlkeras.l2t.train import LearningToTransfer
from tlkeras.models import weights
from tlkeras.models.resnet32 import SHIPPED, resnet32
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.evaluation import evaluate

NAME = f"resnet32_{SHIPPED}"


@dataclass(frozen=True)
class Settings:
    """How the source is trained. The official script is not public; these are the report's numbers for its target."""

    dataset: str = "tinyimagenet32"
    epochs: int = 36  # two hours of two cores; the official checkpoint is of epoch 104
    batch_size: int = 128  # section 5.4, of the target
    learning_rate: float = 0.1  # the same
    momentum: float = 0.9  # the same
    weight_decay: float = 1e-4  # the same
    padding: int = 4  # pixels; official code, of the target
    validation_every: int = 5  # epochs; not used to choose one
    seed: int = 0


def train(settings: Settings, checkpoint: Path) -> tuple[keras.Model, dict]:
    """Train, or go on from the checkpoint, which is written after every epoch; the last epoch's weights are kept.

    Returns:
        The model, its weights rounded to float16, as they are shipped; and its record: settings, data, counts, test
        accuracy and loss of these weights, curves, versions.

    Raises:
        DataUnavailableError: the data could not be had.
        ValueError: a checkpoint of other settings.
    """
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    model = resnet32(source.num_classes, source.x_train.shape[1:])
    numbers = Numbers(momentum=settings.momentum, weight_decay=settings.weight_decay)
    # Without pairs nothing is matched: this is plain SGD, and the first argument is not used.
    learner = LearningToTransfer(model, model, [], what=False, where=False, settings=numbers)
    history = learner.fit(
        source.x_train, source.y_train, epochs=settings.epochs, batch_size=settings.batch_size,
        learning_rate=settings.learning_rate, seed=settings.seed, augment=random_flip_crop(settings.padding),
        validation=(source.x_test, source.y_test), validation_every=settings.validation_every, checkpoint=checkpoint,
    )  # fmt: skip
    model.set_weights([value.astype(np.float16).astype(np.float32) for value in model.get_weights()])
    loss, accuracy = evaluate(model, source.x_test, source.y_test)
    record = {
        "settings": asdict(settings),
        "data": source.provenance(),
        "class_names": list(source.class_names),
        "counts": {"train": len(source.x_train), "test": len(source.x_test)},
        "test_accuracy": round(accuracy, 4),
        "test_loss": round(loss, 4),
        "history": {name: history[name] for name in ("cross_entropy", "accuracy", "val_loss", "val_accuracy")},
        "command": "python -m tlkeras pretrain resnet32",
        **environment.describe(),
    }
    return model, record


def pretrain(folder: Path = weights.PRETRAINED, checkpoint: Path | None = None) -> dict:
    """Train and save the source as float16, about 1 MB; return its record.

    Args:
        folder: where the weights and their record go.
        checkpoint: where a stopped training goes on from; by default a file in the cache, of these settings' own.
            Deleted at the end.

    Raises:
        DataUnavailableError: the data could not be had; what is shipped stays as it was.
    """
    settings = Settings()
    own = f"{NAME}.{runs.run_key(asdict(settings), [])}.checkpoint.npz"
    checkpoint = checkpoint or data.home() / "weights" / own
    model, record = train(settings, checkpoint)
    weights.save(model, folder / f"{NAME}.npz", record, dtype="float16")
    checkpoint.unlink()
    return record

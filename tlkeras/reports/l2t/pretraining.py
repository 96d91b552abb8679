"""The source network of report 003: ResNet32 on Tiny ImageNet at 32x32, trained here, resumable epoch by epoch."""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tlkeras import data, transfer
from tlkeras.experiments import environment
from tlkeras.l2t import LearningToTransfer
from tlkeras.l2t import Settings as Numbers
from tlkeras.models import records, resnet32, weights
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.pretrain import Parts

_NAME = records.NETWORKS["resnet32"].weights["tinyimagenet32"]
_CURVES = ("cross_entropy", "accuracy", "val_loss", "val_accuracy")


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


def train(settings: Settings, checkpoint: Path, path: Path | None = None) -> tuple[keras.Model, dict]:
    """Train, or go on from the checkpoint, which is written after every epoch; the last epoch's weights are kept.

    Args:
        settings: the numbers of the training.
        checkpoint: an .npz file; deleted at the end.
        path: of the weights (.npz), float16, with the record beside them; None saves nothing.

    Returns:
        The model, its weights rounded to float16, as they are shipped; and its record: settings, data, counts, test
        accuracy and loss of these weights, curves, versions.

    Raises:
        DataUnavailableError: the real data could not be had.
        ValueError: a checkpoint of other settings.
    """
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    return transfer.pretrain(
        resnet32(source.num_classes, source.x_train.shape[1:], classifier_activation=None),
        source,
        counts=(None, 0, None),
        seed=settings.seed,
        training=functools.partial(_by_gradient_descent, settings),
        checkpoint=checkpoint,
        path=path,
        dtype="float16",
        facts={
            "settings": asdict(settings),
            "command": "python -m tlkeras pretrain resnet32",
            **environment.describe(),
        },
    )


def _by_gradient_descent(settings: Settings, model: keras.Model, parts: Parts, checkpoint: Path | None) -> dict:
    """Train by the code of learning to transfer: without pairs nothing is matched, which is plain SGD.

    The last epoch's weights are kept; the test images are validated on, and choose nothing.
    """
    numbers = Numbers(momentum=settings.momentum, weight_decay=settings.weight_decay)
    learner = LearningToTransfer(model, model, [], what=False, where=False, settings=numbers)  # no source is asked
    history = learner.fit(
        *parts["train"],
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        augment=random_flip_crop(settings.padding),
        validation=parts["test"],
        validation_every=settings.validation_every,
        checkpoint=checkpoint,
    )
    return {name: history[name] for name in _CURVES}


def pretrain(name: str = "resnet32", folder: Path = weights.PRETRAINED) -> dict:
    """Train and save the source, about 1 MB; return its record. A stopped training goes on where it was.

    Args:
        name: "resnet32".
        folder: where the weights and their record go.

    Raises:
        ValueError: another name.
        DataUnavailableError: the real data could not be had; what is shipped stays as it was.
    """
    if name != "resnet32":
        raise ValueError(f"Expected 'resnet32'. Received: {name!r}")
    settings = Settings()
    key = hashlib.sha256(json.dumps(asdict(settings)).encode()).hexdigest()[:12]  # other settings, another checkpoint
    checkpoint = data.home() / "weights" / f"{_NAME}.{key}.checkpoint.npz"
    return train(settings, checkpoint, folder / f"{_NAME}.npz")[1]

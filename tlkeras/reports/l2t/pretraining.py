"""The source network of report 003: ResNet32 on Tiny ImageNet at 32x32, trained here, resumable epoch by epoch."""

import functools
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import keras

from tlkeras import data
from tlkeras.experiments import environment
from tlkeras.l2t.parts import Settings as Numbers
from tlkeras.l2t.train import LearningToTransfer
from tlkeras.models import weights
from tlkeras.models.resnet32 import SHIPPED, resnet32
from tlkeras.transfer import pretrain as train
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.pretrain import Parts

NAME = f"resnet32_{SHIPPED}"
CURVES = ("cross_entropy", "accuracy", "val_loss", "val_accuracy")


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


def pretrain(
    name: str = "resnet32",
    folder: Path = weights.PRETRAINED,
    settings: Settings | None = None,
    checkpoint: Path | None = None,
) -> dict:
    """Train and save the source as float16, about 1 MB; return its record.

    Args:
        name: "resnet32".
        folder: where the weights and their record go.
        settings: None means the shipped ones.
        checkpoint: where a stopped training goes on from, written after every epoch and deleted at the end; by default
            a file in the cache, another one for other settings.

    Raises:
        ValueError: another name, or a checkpoint of other settings.
        DataUnavailableError: the real data could not be had; what is shipped stays as it was.
    """
    if name != "resnet32":
        raise ValueError(f"Expected 'resnet32'. Received: {name!r}")
    settings = settings or Settings()
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    key = hashlib.sha256(json.dumps(asdict(settings)).encode()).hexdigest()[:12]
    _, record = train(
        resnet32(source.num_classes, source.x_train.shape[1:]),
        source,
        counts=(None, 0, None),
        seed=settings.seed,
        training=functools.partial(_by_gradient_descent, settings),
        checkpoint=checkpoint or data.home() / "weights" / f"{NAME}.{key}.checkpoint.npz",
        path=folder / f"{NAME}.npz",
        dtype="float16",
        facts={
            "settings": asdict(settings),
            "command": "python -m tlkeras pretrain resnet32",
            **environment.describe(),
        },
    )
    return record


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
    return {name: history[name] for name in CURVES}

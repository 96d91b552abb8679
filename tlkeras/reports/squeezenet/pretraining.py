"""A stand-in for SqueezeNet's ImageNet weights: trained here on Tiny ImageNet at 32x32, and shipped."""

from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import data, transfer
from tlkeras.experiments import environment
from tlkeras.models import records, squeezenet, weights
from tlkeras.models.layers import converted
from tlkeras.transfer.batches import random_flip_crop

TRAINED = "torch"  # standardised pixels train from scratch at 1e-3; those of the published weights do not
_DROPOUT = 0.1  # 200 classes from scratch leave little to drop
_HEAD = records.NETWORKS["squeezenet"].head
STAND_IN = records.NETWORKS["squeezenet"].weights["tinyimagenet32"]
SHIPPED = records.RECORDS["squeezenet"].preprocessing  # so that the stand-in takes the place of the published weights


@dataclass(frozen=True)
class Settings:
    """How the stand-in is trained; all of it is ours."""

    dataset: str = "tinyimagenet32"
    validation_count: int = 5_000
    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-3
    seed: int = 0


def train(settings: Settings, path: Path | None = None) -> tuple[keras.Model, dict]:
    """Train on 200 classes with mirrored and cropped images, and keep the epoch with the best validation accuracy.

    Args:
        settings: a smaller data set gives a fifth of its training part to validation.
        path: of the weights (.npz), float16 and without their head, with the record beside them; None saves nothing.

    Returns:
        The model, whose first layer takes images preprocessed as `SHIPPED`, and its record.

    Raises:
        DataUnavailableError: the real data could not be had.
    """
    source = data.load(settings.dataset, embedded=False)
    keras.utils.set_random_seed(settings.seed)
    plain = squeezenet(
        source.num_classes, source.x_train.shape[1:], weights=None, preprocessing=TRAINED, dropout=_DROPOUT
    )
    return transfer.pretrain(
        with_normalization(plain),
        source,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        schedule="cosine",
        augment=random_flip_crop(),
        counts=(None, settings.validation_count, None),
        seed=settings.seed,
        finish=lambda model: with_shipped_preprocessing(without_normalization(model, plain)),
        path=path,
        dtype="float16",
        without=_HEAD,
        facts={
            "settings": asdict(settings),
            "preprocessing": SHIPPED,
            "command": f"python -m tlkeras pretrain {STAND_IN}",
            **environment.describe(),
        },
    )


def pretrain(name: str = STAND_IN, folder: Path = weights.PRETRAINED) -> dict:
    """Train and save the stand-in; return its record.

    Args:
        name: of the weights, `STAND_IN`.
        folder: where the weights and their record go.

    Raises:
        ValueError: another name.
        DataUnavailableError: the real data could not be had; the shipped file stays as it was.
    """
    if name != STAND_IN:
        raise ValueError(f"Expected {STAND_IN!r}. Received: {name!r}")
    return train(Settings(), folder / f"{STAND_IN}.npz")[1]


def with_normalization(model: keras.Model) -> keras.Model:
    """Return the network with batch normalisation before each ReLU: without, SqueezeNet hardly starts from scratch."""

    def call(layer: keras.Layer, *inputs, **options):
        if not isinstance(layer, keras.layers.Conv2D) or layer.name == _HEAD:
            return layer(*inputs, **options)
        layer.activation = keras.activations.linear
        normalization = keras.layers.BatchNormalization(momentum=0.9, name=f"{layer.name}_norm")
        return keras.layers.ReLU(name=f"{layer.name}_relu")(normalization(layer(*inputs, **options)))

    return keras.models.clone_model(model, call_function=call)


def without_normalization(model: keras.Model, plain: keras.Model) -> keras.Model:
    """Fold each normalisation into its convolution, exactly, and return `plain` with the weights that come of it."""
    for layer in plain.layers:
        if layer.weights:
            kernel, bias = model.get_layer(layer.name).get_weights()
            if layer.name != _HEAD:
                normalization = model.get_layer(f"{layer.name}_norm")
                gamma, beta, mean, variance = normalization.get_weights()
                scale = gamma / np.sqrt(variance + normalization.epsilon)
                kernel, bias = kernel * scale, beta + (bias - mean) * scale
            layer.set_weights([kernel, bias])
    return plain


def with_shipped_preprocessing(model: keras.Model) -> keras.Model:
    """Return the same function of raw images, preprocessed as the published weights expect it."""
    kernel, bias = model.get_layer("conv1").get_weights()
    twin = squeezenet(model.output_shape[-1], model.input_shape[1:], weights=None, preprocessing=SHIPPED)
    twin.set_weights(model.get_weights())
    twin.get_layer("conv1").set_weights(converted(kernel, bias, TRAINED, SHIPPED))
    return twin

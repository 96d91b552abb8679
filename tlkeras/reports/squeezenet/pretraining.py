"""A stand-in for SqueezeNet's ImageNet weights: trained here on Tiny ImageNet at 32x32, and shipped."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from tlkeras import data
from tlkeras.experiments import environment
from tlkeras.models import records, squeezenet, weights
from tlkeras.models.layers import converted
from tlkeras.models.squeezenet import HEAD, STAND_IN
from tlkeras.transfer import Phase, finetune
from tlkeras.transfer.batches import random_flip_crop
from tlkeras.transfer.evaluation import evaluate

TRAINED = "torch"  # standardised pixels train from scratch at 1e-3; those of the published weights do not
DROPOUT = 0.1  # 200 classes from scratch leave little to drop
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


def train(settings: Settings) -> tuple[keras.Model, dict]:
    """Train on 200 classes with mirrored and cropped images, and keep the epoch with the best validation accuracy.

    Returns:
        The model, whose first layer takes images preprocessed as `SHIPPED`, and its record.
    """
    source = data.load(settings.dataset)
    count = min(settings.validation_count, len(source.x_train) // 5)
    sizes = (len(source.x_train) - count, count)
    cut = [
        (source.x_train[part], source.y_train[part])
        for part in data.splits.holdout(source.y_train, sizes, seed=settings.seed)
    ]
    keras.utils.set_random_seed(settings.seed)
    plain = squeezenet(
        source.num_classes, source.x_train.shape[1:], weights=None, preprocessing=TRAINED, dropout=DROPOUT
    )
    model = with_normalization(plain)
    phase = Phase("source", "all", settings.epochs, settings.learning_rate, "cosine")
    with tempfile.TemporaryDirectory() as folder:
        history = finetune(
            model, *cut, [phase], seed=settings.seed, batch_size=settings.batch_size, keep="best",
            checkpoints=Path(folder), augment=random_flip_crop(),
        )  # fmt: skip
    model = with_shipped_preprocessing(without_normalization(model, plain))
    loss, accuracy = evaluate(model, source.x_test, source.y_test)
    record = {
        "settings": asdict(settings),
        "data": source.provenance(),
        "counts": {"train": sizes[0], "validation": sizes[1], "test": len(source.y_test)},
        "test_accuracy": round(accuracy, 4),
        "test_loss": round(loss, 4),
        "preprocessing": SHIPPED,
        "history": history.curves(),
        "seconds": round(sum(history.seconds.values()), 1),
        "command": f"python -m tlkeras pretrain {STAND_IN}",
        **environment.describe(),
    }
    return model, record


def with_normalization(model: keras.Model) -> keras.Model:
    """Return the network with batch normalisation before each ReLU: without, SqueezeNet hardly starts from scratch."""

    def call(layer: keras.Layer, *inputs, **options):
        if not isinstance(layer, keras.layers.Conv2D) or layer.name == HEAD:
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
            if layer.name != HEAD:
                normalization = model.get_layer(f"{layer.name}_norm")
                gamma, beta, mean, variance = normalization.get_weights()
                scale = gamma / np.sqrt(variance + normalization.epsilon)
                kernel, bias = kernel * scale, beta + (bias - mean) * scale
            layer.set_weights([kernel, bias])
    return plain


def with_shipped_preprocessing(model: keras.Model) -> keras.Model:
    """Return the same function of raw images, preprocessed as the published weights expect it."""
    first = model.get_layer("conv1").get_weights()
    twin = squeezenet(model.output_shape[-1], model.input_shape[1:], weights=None, preprocessing=SHIPPED)
    twin.set_weights(model.get_weights())
    twin.get_layer("conv1").set_weights(converted(*first, TRAINED, SHIPPED))
    return twin


def pretrain(folder: Path = weights.PRETRAINED, settings: Settings = Settings()) -> dict:
    """Train and save the stand-in, float16 and without its head; return its record.

    Raises:
        DataUnavailableError: the data could not be had; the shipped file stays as it was.
    """
    if (source := data.load(settings.dataset)).stand_in:
        raise data.DataUnavailableError(f"Source networks are trained on real data only. Received: {source}")
    model, record = train(settings)
    weights.save(model, folder / f"{STAND_IN}.npz", record, dtype="float16", without=HEAD)
    return record

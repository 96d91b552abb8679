"""The whole of `adapt PATH` on the ants and bees, against the same by hand in plain Keras."""

import tempfile
import time
from pathlib import Path
from unittest import mock

import keras
import numpy as np

from tlkeras.own_images import adapt_images, backbones, comparison, folder
from tlkeras.transfer import FeatureCache, Phase, finetune, freeze
from tlkeras.transfer.evaluation import evaluate

EPOCHS, RATE, BATCH = 25, 1e-3, 32  # of the tutorial that most people start from


def rows() -> list[dict]:
    """Return the row of this benchmark."""
    collection = folder.read("hymenoptera")
    found, _ = backbones.available()
    seconds, accuracy = _ours()
    network = found[-1]
    images, labels = collection.train.squares(network.side), collection.train.labels
    (parts,) = comparison.folds(labels, repeats=1, seed=0)
    epoch = _plain_epoch(network, images, labels, *parts[0])
    by_hand = EPOCHS * comparison.FOLDS * epoch
    reached = float(np.mean([_accuracy(network, images, labels, *part) for part in parts]))
    equal = (
        f"{len(labels)} images of {collection.name}, five folds; ours: {', '.join(b.network for b in found)}, "
        "two repeats, features, figures, report and saved model included, no fine-tuning; "
        f"peer: frozen {network.network}, model.fit, {EPOCHS} epochs of each fold, "
        f"by one epoch after the first, which traces; "
        f"accuracy of the best probe {accuracy:.3f}, by hand {reached:.3f} (the same training on cached features)"
    )
    return [
        {
            "name": "own images: the whole of adapt",
            "ours": round(seconds / 60, 2),
            "peer": round(by_hand / 60, 1),
            "ratio": round(by_hand / seconds, 1),
            "unit": "min",
            "equal": equal,
        }
    ]


def _ours() -> tuple[float, float]:
    """Return the seconds of a study that finds nothing in the cache, and the accuracy of its best way."""
    with tempfile.TemporaryDirectory() as empty, mock.patch.object(backbones, "home", lambda: Path(empty)):
        started = time.perf_counter()
        adapted = adapt_images("hymenoptera", Path(empty) / "out", budget=0)
        return time.perf_counter() - started, max(row["accuracy"] for row in adapted.rows)


def _plain_epoch(
    network: backbones.Backbone, images: np.ndarray, labels: np.ndarray, inside: np.ndarray, outside: np.ndarray
) -> float:
    """Return the seconds of the second epoch of `model.fit` on a fold, validation included."""
    model = network.classifier(int(labels.max()) + 1)
    freeze(model, "head", learning_rate=RATE)
    ends: list[float] = []
    clock = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ends.append(time.perf_counter()))
    held_out = (images[outside], labels[outside])
    model.fit(
        images[inside],
        labels[inside],
        validation_data=held_out,
        batch_size=BATCH,
        epochs=2,
        verbose=0,
        callbacks=[clock],
    )
    return ends[1] - ends[0]


def _accuracy(
    network: backbones.Backbone, images: np.ndarray, labels: np.ndarray, inside: np.ndarray, outside: np.ndarray
) -> float:
    """Return what all epochs of a fold reach, by cached features, which give the weights of plain training."""
    keras.utils.set_random_seed(0)
    model = network.classifier(int(labels.max()) + 1)
    phase = Phase("head", "head", EPOCHS, RATE)
    finetune(model, (images[inside], labels[inside]), None, [phase], seed=0, batch_size=BATCH, cache=FeatureCache())
    return evaluate(model, images[outside], labels[outside])[1]

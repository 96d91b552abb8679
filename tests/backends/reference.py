"""Numbers that every backend must give, as TensorFlow gives them: `python tests/backends/reference.py` writes them."""

import json
from pathlib import Path

import keras
import numpy as np

from tlkeras import models
from tlkeras.models.squeezenet import squeezenet
from tlkeras.transfer import evaluation, features, freezing
from tlkeras.visualize import attribution, filters

PATH = Path(__file__).with_suffix(".json")
STEPS, BATCH = 10, 8


def photographs(count, channels, side):
    """Return smooth random images, uint8, and labels 0..9."""
    generator = np.random.default_rng(count)
    coarse = generator.integers(0, 256, (count, side // 4, side // 4, channels))
    return np.kron(coarse, np.ones((1, 4, 4, 1))).astype(np.uint8), generator.integers(0, 10, count).astype(np.int32)


def with_head(model):
    """Give the new head of a network weights that do not depend on the backend."""
    kernel, bias = next(layer for layer in reversed(model.layers) if layer.weights).weights
    kernel.assign(np.random.default_rng(0).normal(0, 0.05, kernel.shape))
    bias.assign(np.zeros(bias.shape))
    return model


def networks():
    """Return TomiNet and SqueezeNet for ten classes, on shipped weights, with images for each."""
    small = with_head(models.tominet(10, (28, 28, 1), weights="fashion_mnist", new_head=True))
    large = with_head(squeezenet(10, (32, 32, 3), weights="tinyimagenet32", dropout=0.0))
    return {"tominet": (small, photographs(40, 1, 28)), "squeezenet": (large, photographs(24, 3, 32))}


def losses(model, images, labels):
    """Return the losses of ten steps of SGD, on the same batches in the same order."""
    freezing.freeze(model, "all", optimizer=keras.optimizers.SGD(1e-4))
    found = []
    for step in range(STEPS):
        chosen = np.arange(step * BATCH, (step + 1) * BATCH) % len(images)
        model.reset_metrics()
        found.append(float(model.train_on_batch(images[chosen], labels[chosen])[0]))
    return found


def measured():
    """Return scores, frozen features, responses, heat and losses of both networks, `network -> name -> numbers`."""
    found = {}
    for name, (model, (images, labels)) in networks().items():
        freezing.freeze(model, "head")
        base, _ = features.split(model)
        of_base = features.FeatureCache().features(base, images)
        layer = {"tominet": "conv_2", "squeezenet": "fire4_expand3x3"}[name]
        slopes = attribution.integrated_gradients(model, images[:2], labels[:2], steps=4, noise=0.0)
        found[name] = {
            "scores": evaluation.evaluate(model, images, labels),
            "features": of_base.reshape(len(images), -1)[:4, ::7][:, :50].tolist(),
            "responses": filters.responses(model, layer, images)[:3, :8].tolist(),
            "heat": attribution.grad_cam(model, images[:2], labels[:2])[:, ::9, ::9].tolist(),
            "slopes": slopes[:, ::9, ::9].tolist(),
            "losses": losses(model, images, labels),
        }
    return found


if __name__ == "__main__":
    PATH.write_text(json.dumps(measured(), indent=1) + "\n")

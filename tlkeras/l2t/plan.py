"""What a training by learning to transfer is told, and what it refuses, whichever engine computes it."""

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tlkeras import data
from tlkeras.l2t.state import Parts

History = dict[str, list]
ADAM_DECAYS, ADAM_EPSILON = (0.9, 0.999), 1e-8  # of the meta-networks; Kingma and Ba 2015, arXiv:1412.6980
SMALLEST = 1e-30  # a probability whose logarithm is taken


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message names it, and the weights are those before that step."""


class MissingClassesWarning(UserWarning):
    """Classes of which there is no training image: the target cannot learn them."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Numbers of the training; the defaults are the report's."""

    beta: float = 0.5  # section 5.4; in the lookahead too, as in the official code
    lookahead: int = 2  # section 5.4, T of Algorithm 1
    momentum: float = 0.9  # section 5.4
    weight_decay: float = 1e-4  # section 5.4, of the target and its branches
    meta_rate: float = 1e-4  # section 5.4, Adam; at 0 what was drawn stays, and nothing is looked ahead for
    meta_decay: float = 1e-4  # official code: L2, in the gradient
    double_update: bool = True  # official code: the first lookahead step leaves its mark on the moving statistics

    def __post_init__(self) -> None:
        if self.lookahead < 0:
            raise ValueError(f"Expected 0 or more lookahead steps. Received: lookahead={self.lookahead}")
        if self.meta_rate < 0:
            raise ValueError(f"Expected a rate of at least 0. Received: meta_rate={self.meta_rate}")


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Images, labels, and how they are gone through; see `LearningToTransfer.fit`."""

    images: np.ndarray
    labels: np.ndarray
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    augment: Callable | None
    warm_up: int = 0

    def check(self, validation_every: int) -> None:
        """Check the length of the training and its batches.

        Raises:
            ValueError: no epoch, no epochs between validations, or a batch of one image.
        """
        if self.epochs < 1 or validation_every < 1:
            received = f"epochs={self.epochs}, validation_every={validation_every}"
            raise ValueError(f"Expected at least one epoch, and one between validations. Received: {received}")
        if self.batch_size < 2 or len(self.labels) % self.batch_size == 1:
            raise ValueError(
                "Expected at least two images in every batch: one has no variance to normalise with. "
                f"Received: {len(self.labels)} images in batches of {self.batch_size}"
            )

    def warn_of_missing_classes(self, classes: int) -> None:
        """Warn of classes that have no image; as if the caller of `fit` had done it."""
        if missing := sorted(set(range(classes)) - set(np.unique(self.labels).tolist())):
            message = f"No training image of the classes {missing}, out of {classes}"
            warnings.warn(message, MissingClassesWarning, stacklevel=3)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, from 0 up: half a cosine (report 003, section 5.4), after a ramp."""
        ramp = min(1.0, (epoch + 1) / self.warm_up) if self.warm_up else 1.0
        return ramp * self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def course(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the order of the images in an epoch `(n,)`, and the seed of each batch `(batches, 2)`.

        They are the epoch's own, so that a resumed training goes on as if it had never been interrupted.
        """
        generator = np.random.default_rng([self.seed, epoch])
        order = generator.permutation(len(self.images))
        return order, generator.integers(0, 2**31 - 1, (len(self.sizes()), 2))

    def sizes(self) -> list[int]:
        """Return how many images each batch of an epoch has."""
        count = len(self.images)
        return [min(self.batch_size, count - start) for start in range(0, count, self.batch_size)]

    def description(self) -> dict[str, Any]:
        """Return what a resumed training must have in common with the stored one."""
        numbers = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "seed")}
        numbers |= {"warm_up": self.warm_up} if self.warm_up else {}
        return {"data": data.fingerprint(self.images, self.labels), "augmented": self.augment is not None, **numbers}


def check_models(source: keras.Model, target: keras.Model) -> None:
    """Check that both models take the same images, in the same precision, and that the target classifies and learns.

    Raises:
        ValueError: several inputs, different image shapes, an output other than `(batch, classes)`, mixed precision or
            two precisions, or a target with nothing to train.
    """
    shapes = {"source": source.input_shape, "target": target.input_shape}
    if any(isinstance(shape, list | dict) or len(shape) != 4 for shape in shapes.values()):
        raise ValueError(f"Expected models with one input (batch, height, width, channels). Received: {shapes}")
    differ = [a != b and None not in (a, b) for a, b in zip(*shapes.values(), strict=True)]
    if any(differ):
        raise ValueError(f"Expected models that take the same images. Received: {shapes}")
    if len(target.output_shape) != 2:
        raise ValueError(f"Expected a target with outputs (batch, classes). Received: {target.output_shape}")
    if not target.trainable_weights:
        raise ValueError("Expected a target with weights to train. Received: all frozen, or none")
    layers = [layer for model in (source, target) for layer in model.layers]
    policies = {layer.dtype_policy.name for layer in layers if not isinstance(layer, keras.layers.InputLayer)}
    if len(policies) > 1 or "mixed" in next(iter(policies)):
        raise ValueError(f"Expected both models in one precision, such as float32. Received: {sorted(policies)}")


def averaged(losses: Sequence[Mapping[str, np.ndarray]], sizes: Sequence[int], rate: float) -> dict[str, Any]:
    """Return the logs of an epoch: means over the images of the losses of its batches, as `fit` returns them."""
    means = {name: np.average([found[name] for found in losses], axis=0, weights=sizes) for name in losses[0]}
    pairs = means.pop("matching")
    logs: dict[str, Any] = {name: float(value.sum()) for name, value in means.items()}
    logs["matching"] = float(pairs.sum())
    logs["loss"] = logs["cross_entropy"] + logs["matching"]
    return logs | {"learning_rate": rate, "pairs": [float(value) for value in pairs]}


def culprits(parts: Parts, losses: Mapping[str, np.ndarray]) -> str:
    """Name what is not finite: the pairs whose terms are not, else the other losses, else the weights."""
    rest = dict(losses)
    terms = zip(parts.matching.names, rest.pop("matching"), strict=True)
    wrong = [f"{name}: {value}" for name, value in terms if not np.isfinite(value)]
    wrong += [f"{name}: {value}" for name, value in rest.items() if not np.isfinite(value).all()]
    return ", ".join(wrong) or "weights that are not"

"""What one stretch of training is: which layers train, for how many epochs, and at which rates, also layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tlkeras import graph
from tlkeras.transfer.freezing import Train, compile_classifier, trained_layers

SCHEDULES = ("constant", "cosine", "step")
DROP = 0.1  # what a step multiplies the rate by (report 004)


@dataclass(frozen=True)
class Phase:
    """One stretch of training with the same layers trained.

    Args:
        name: shown in the curves.
        train: which layers train, see `freezing.trained_layers`.
        epochs: passes over the training set.
        learning_rate: of Adam, at the start.
        schedule: "constant", "cosine" (falls to zero over the phase), or "step" (a tenth every `drop_every` epochs).
        expect: how many trainable parameters there must be, or None.
        augment: whether the augmentation given to `finetune` applies; a phase without one can use cached features.
        drop_every: epochs between two steps of the rate.
        multipliers: of the rate, by layer, see `LayerwiseAdam`; None is 1 for each.
    """

    name: str
    train: Train
    epochs: int
    learning_rate: float
    schedule: str = "constant"
    expect: int | None = None
    augment: bool = True
    drop_every: int = 7
    multipliers: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        if min(self.epochs, self.drop_every) < 1 or self.learning_rate <= 0 or self.schedule not in SCHEDULES:
            raise ValueError(
                f"Expected epochs and drop_every >= 1, learning_rate > 0, and a schedule out of {SCHEDULES}. "
                f"Received: {asdict(self)}"
            )


def two_phases(head_epochs: int = 35, all_epochs: int = 15, learning_rate: float = 1e-3) -> tuple[Phase, Phase]:
    """The report's schedule: the new head alone, then every layer at a ten times lower rate (report 002, EJ3)."""
    return Phase("head", "head", head_epochs, learning_rate), Phase("all", "all", all_epochs, learning_rate / 10)


def optimizer_for(phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    """Return a fresh Adam for a phase of `steps` batches an epoch."""
    if phase.multipliers:
        return LayerwiseAdam(_rate(phase, steps), phase.multipliers)
    return keras.optimizers.Adam(_rate(phase, steps))


def _rate(phase: Phase, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules = keras.optimizers.schedules
    if phase.schedule == "cosine":
        return schedules.CosineDecay(phase.learning_rate, phase.epochs * steps)
    if phase.schedule == "step":
        return schedules.ExponentialDecay(phase.learning_rate, phase.drop_every * steps, DROP, staircase=True)
    return phase.learning_rate


@keras.saving.register_keras_serializable(package="tlkeras")
class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a multiplier of the learning rate for each layer.

    Adam divides a gradient by its own running size, so that a tenth of the gradient makes the same step. What makes a
    tenth of the step is a tenth of the rate (report 004, the fourth way).

    The file of a model compiled with it opens only where tlkeras is imported; that of `models.portable(model)` opens
    anywhere.

    Args:
        learning_rate: a number or a schedule, of the layers that are not named.
        multipliers: layer -> factor, finite and at least 0; 0 leaves the layer bit-identical.
        options: further arguments of Adam, but no weight decay, which would move a layer of multiplier 0.

    Raises:
        ValueError: a negative or infinite multiplier, or weight decay; before the first step, a name that no trained
            layer has.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        multipliers: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        factors = {name: float(factor) for name, factor in (multipliers or {}).items()}
        if not all(0 <= factor < np.inf for factor in factors.values()) or self.weight_decay:
            raise ValueError(
                "Expected finite multipliers of at least 0, and no weight decay. "
                f"Received: {factors}, weight_decay={self.weight_decay}"
            )
        self.multipliers = factors

    def build(self, variables: list[keras.Variable]) -> None:
        """Refuse multipliers of layers that are not trained."""
        layers = [variable.path.split("/")[:-1] for variable in variables]
        known = list(dict.fromkeys(name for names in layers for name in names))
        unknown = [name for name in self.multipliers if name not in known]
        if unknown:
            raise ValueError(f"Expected multipliers for trained layers, out of {known}. Received: {unknown}")
        factors = [[self.multipliers.get(name, 1.0) for name in names] for names in layers]
        self._factors = tuple(math.prod(nested) for nested in factors)
        super().build(variables)

    def factor(self, variable: Any) -> float:
        """Return the multiplier of a variable that an update step gets."""
        return self._factors[graph.variable_index(self, variable)]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Step with the rate of the layer."""
        super().update_step(gradient, variable, learning_rate * self.factor(variable))

    def get_config(self) -> dict:
        """Return what builds the same optimizer again."""
        return {**super().get_config(), "multipliers": dict(self.multipliers)}


def graded(model: keras.Model, first: float) -> dict[str, float]:
    """Return multipliers that fall by the same factor from layer to layer: 1 at the last, `first` at the first.

    Args:
        model: a flat model of at least two layers with weights.
        first: above 0; report 004 asks for ever smaller changes towards the image, and states no number.
    """
    names = trained_layers(model, "all")
    return dict(zip(names, np.geomspace(first, 1, len(names)).tolist(), strict=True))


class _GradientScaledAdam(LayerwiseAdam):
    """The same multipliers, on the gradients: the slip that `moves_when_scaled` shows."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        keras.optimizers.Adam.update_step(self, gradient * self.factor(variable), variable, learning_rate)


def moves_when_scaled(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, layer: str, factor: float = 0.1, steps: int = 5
) -> dict[str, float]:
    """Train a layer as it is, with its gradients scaled, and with its rate scaled, each from the same weights.

    Args:
        model: a classifier of raw images; its weights are put back, and it must be compiled anew.
        images: one batch, `(n, height, width, channels)`, 0..255.
        labels: `(n,)` integers.
        layer: the one that is scaled.
        factor: of its gradients, or of its rate.
        steps: on that batch, of Adam at 1e-3.

    Returns:
        "as it is", "gradients scaled", "rate scaled" -> how far the weights of the layer moved (root mean square).
    """
    start = model.get_weights()
    before = _flat_weights(model, layer)
    optimizers = {
        "as it is": keras.optimizers.Adam(),
        "gradients scaled": _GradientScaledAdam(multipliers={layer: factor}, name="gradient_scaled_adam"),
        "rate scaled": LayerwiseAdam(multipliers={layer: factor}),
    }
    moved = {}
    for name, optimizer in optimizers.items():
        compile_classifier(model, optimizer)
        for _ in range(steps):
            model.train_on_batch(images, labels)
        moved[name] = float(np.sqrt(np.mean((_flat_weights(model, layer) - before) ** 2)))
        model.set_weights(start)
    return moved


def _flat_weights(model: keras.Model, layer: str) -> np.ndarray:
    return np.concatenate([array.ravel() for array in model.get_layer(layer).get_weights()])

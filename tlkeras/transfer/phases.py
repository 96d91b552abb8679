"""What one stretch of training is: which layers train, for how many epochs, and at which rates, also layer by layer."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

from tlkeras import graph
from tlkeras.transfer.freezing import Train, compile_classifier, learning_layers

_SCHEDULES = ("constant", "cosine", "step")
_DROP = 0.1  # what a step multiplies the rate by (report 004)


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
        pull: strength of the penalty on the distance from the weights at the start of the phase, by layer, see
            `PulledAdam`; None is 0 for each.
        decay: strength of the same penalty on the distance from zero.
        mixup: strength of the blending of images, see `batches.mixup`; 0 for none. Features are not cached then.
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
    pull: Mapping[str, float] | None = None
    decay: Mapping[str, float] | None = None
    mixup: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.mixup < np.inf:
            raise ValueError(f"Expected a finite mixup of at least 0. Received: mixup={self.mixup}")
        if min(self.epochs, self.drop_every) < 1 or self.learning_rate <= 0 or self.schedule not in _SCHEDULES:
            raise ValueError(
                f"Expected epochs and drop_every >= 1, learning_rate > 0, and a schedule out of {_SCHEDULES}. "
                f"Received: {asdict(self)}"
            )

    @property
    def still(self) -> list[str]:
        """Names of the layers whose rate is 0."""
        return [name for name, factor in (self.multipliers or {}).items() if factor == 0]


def two_phases(head_epochs: int = 35, all_epochs: int = 15, learning_rate: float = 1e-3) -> tuple[Phase, Phase]:
    """The report's schedule: the new head alone, then every layer at a ten times lower rate (report 002, EJ3)."""
    return Phase("head", "head", head_epochs, learning_rate), Phase("all", "all", all_epochs, learning_rate / 10)


def optimizer_for(phase: Phase, steps: int) -> keras.optimizers.Optimizer:
    """Return a fresh Adam for a phase of `steps` batches an epoch."""
    if phase.pull or phase.decay:
        return PulledAdam(_rate(phase, steps), phase.multipliers, phase.pull, phase.decay)
    if phase.multipliers:
        return LayerwiseAdam(_rate(phase, steps), phase.multipliers)
    return keras.optimizers.Adam(_rate(phase, steps))


def _rate(phase: Phase, steps: int) -> float | keras.optimizers.schedules.LearningRateSchedule:
    schedules = keras.optimizers.schedules
    if phase.schedule == "cosine":
        return schedules.CosineDecay(phase.learning_rate, phase.epochs * steps)
    if phase.schedule == "step":
        return schedules.ExponentialDecay(phase.learning_rate, phase.drop_every * steps, _DROP, staircase=True)
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
        multipliers: layer -> factor, finite and at least 0; 0 moves nothing of it but statistics.
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
        factors = _numbers(multipliers)
        if not _are_factors(factors) or self.weight_decay:
            raise ValueError(
                "Expected finite multipliers of at least 0, and no weight decay. "
                f"Received: {factors}, weight_decay={self.weight_decay}"
            )
        self.multipliers = factors

    def build(self, variables: list[keras.Variable]) -> None:
        """Refuse multipliers of layers that are not trained."""
        _check_trained("multipliers", self.multipliers, variables)
        factors = [[self.multipliers.get(name, 1.0) for name in _layers(variable)] for variable in variables]
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


@keras.saving.register_keras_serializable(package="tlkeras")
class PulledAdam(LayerwiseAdam):
    """Adam on a loss with a penalty on the distance of weights from where they started (L2-SP).

    The penalty is half the strength times the squared distance. Its gradient is added to that of the loss before Adam
    scales it; the penalty itself is in no logged loss.

    Args:
        learning_rate: see `LayerwiseAdam`.
        multipliers: of the rate, see `LayerwiseAdam`.
        pull: layer -> strength of the penalty on the distance from the weights at the first build.
        decay: layer -> strength of the penalty on the distance from zero, as for a new layer.
        options: further arguments of Adam, but no weight decay.

    Raises:
        ValueError: as `LayerwiseAdam` does, also of `pull` and `decay`, and for a layer that is in both.

    Reference: Li, Grandvalet and Davoine 2018, arXiv:1802.01483, equation 2.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = 1e-3,
        multipliers: Mapping[str, float] | None = None,
        pull: Mapping[str, float] | None = None,
        decay: Mapping[str, float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, multipliers, **options)
        self.pull, self.decay = _numbers(pull), _numbers(decay)
        if not _are_factors(self.pull) or not _are_factors(self.decay) or self.pull.keys() & self.decay.keys():
            raise ValueError(
                "Expected finite strengths of at least 0, and no layer both pulled and decayed. "
                f"Received: pull={self.pull}, decay={self.decay}"
            )
        self._starts: list[keras.Variable] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Remember where the weights are; refuse strengths for layers that are not trained."""
        for name, strengths in (("pull", self.pull), ("decay", self.decay)):
            _check_trained(name, strengths, variables)
        super().build(variables)
        both = {**self.pull, **self.decay}
        self._strengths = tuple(sum(both.get(name, 0.0) for name in _layers(variable)) for variable in variables)
        if not self._starts:
            self._starts = [self._start(variable) for variable in variables]

    def _start(self, variable: keras.Variable) -> keras.Variable:
        """Return what a variable is pulled to: a copy, or zeros."""
        start = self.add_variable_from_reference(variable, name="start")
        if self.pull.keys() & set(_layers(variable)):
            start.assign(variable)
        return start

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Step down the loss and the penalty."""
        index = graph.variable_index(self, variable)
        if self._strengths[index]:
            gradient = gradient + self._strengths[index] * keras.ops.subtract(variable, self._starts[index])
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        """Return what builds the same optimizer again."""
        return {**super().get_config(), "pull": dict(self.pull), "decay": dict(self.decay)}


def _numbers(by_layer: Mapping[str, float] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (by_layer or {}).items()}


def _are_factors(by_layer: Mapping[str, float]) -> bool:
    return all(0 <= value < np.inf for value in by_layer.values())


def _layers(variable: keras.Variable) -> list[str]:
    """Return the names of the layers that a variable is nested in, outermost first."""
    return variable.path.split("/")[:-1]


def _check_trained(what: str, by_layer: Mapping[str, float], variables: list[keras.Variable]) -> None:
    known = list(dict.fromkeys(name for variable in variables for name in _layers(variable)))
    unknown = [name for name in by_layer if name not in known]
    if unknown:
        raise ValueError(f"Expected {what} for trained layers, out of {known}. Received: {unknown}")


def graded(model: keras.Model, first: float) -> dict[str, float]:
    """Return multipliers that fall by the same factor from layer to layer: 1 at the last, `first` at the first.

    Args:
        model: a flat model of at least two layers with something to train; the others get no multiplier.
        first: above 0; report 004 asks for ever smaller changes towards the image, and states no number.
    """
    names = learning_layers(model)
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

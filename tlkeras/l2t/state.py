"""What one iteration of Algorithm 1 takes and gives, whichever engine computes it (`algorithm` or `jax`)."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tlkeras.models.weights import WeightFileError

if TYPE_CHECKING:
    from tlkeras.l2t.matching import Matching
    from tlkeras.l2t.metanets import MetaNetworks
    from tlkeras.l2t.network import Network
    from tlkeras.l2t.plan import Settings

Tensor = Any  # of Keras' backend
Tensors = list[Tensor]


class Parts(NamedTuple):
    """What an iteration computes with."""

    network: "Network"
    matching: "Matching"
    meta: "MetaNetworks"
    logits: bool  # whether the target's outputs are logits, not probabilities
    settings: "Settings"


class State(NamedTuple):
    """Everything that an iteration changes."""

    weights: Tensors  # theta: of the target, then kernel and bias of each branch
    velocities: Tensors
    statistics: Tensors  # the target's moving means and variances
    meta: Tensors  # phi
    moments: tuple[Tensors, Tensors]


class Batch(NamedTuple):
    """A batch, and what stays the same during the iteration."""

    images: Tensor
    labels: Tensor
    goals: Sequence[Any]  # of `Matching.goals`


class Ahead(NamedTuple):
    """What the lookahead leads to."""

    losses: dict[str, Tensor]
    to_weighting: Tensors  # d L_org(theta_{T+1}) / d weighting
    statistics: Tensors  # moving means and variances after the first step
    path: Sequence[tuple[Tensors, Tensors]]  # weights and velocities after each step
    final_gradients: Tensors  # d L_org(theta_{T+1}) / d theta_{T+1}


class Outcome(NamedTuple):
    """What an iteration leads to, and what it saw on the way."""

    new: State
    losses: dict[str, Tensor]  # see `algorithm.iteration`
    gradients: Tensors  # of the training step
    statistics: Tensors  # moving means and variances after the training step alone
    meta_gradients: Tensors | None = None  # without weight decay
    ahead: Ahead | None = None


def named(state: State) -> dict[str, Any]:
    """Return everything in a state by the name that it has in a checkpoint, in the state's own order."""
    found: dict[str, Any] = {}
    for kind, group in zip(("weights", "velocities", "state", "meta"), state[:4], strict=True):
        found |= {f"{kind}/{number}": value for number, value in enumerate(group)}
    for kind, group in zip(("first_moments", "second_moments"), state.moments, strict=True):
        found |= {f"{kind}/{number}": value for number, value in enumerate(group)}
    return found


def check_stored(arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]) -> None:
    """Check that a checkpoint has the arrays that a training needs.

    Args:
        arrays: by name, out of the checkpoint.
        wanted: the training's own, by name.

    Raises:
        WeightFileError: other names or shapes.
    """
    shapes = {name: tuple(value.shape) for name, value in wanted.items()}
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes:
        differ = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
        raise WeightFileError(f"Expected a checkpoint of these networks. Received: other shapes of {differ}")

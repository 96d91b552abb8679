"""Learning to transfer by JAX: Algorithm 1 as it reads, differentiated as a whole, and many seeds at once.

`iteration` is what `algorithm.iteration` is on TensorFlow, in less text: JAX differentiates through the lookahead by
itself, where the other engine goes back through it by hand. It is meant for a GPU; on a CPU the other is far faster.
`study` compiles the epochs of a training into one call and maps it over seeds, so that small maps fill a device.

JAX has to be Keras' backend (KERAS_BACKEND=jax), because the networks are Keras models. TensorFlow is not needed.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax, tree

from tlkeras import _files
from tlkeras.data.splits import check_labelled
from tlkeras.l2t.matching import Matching
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.network import Network
from tlkeras.l2t.plan import (
    ADAM_DECAYS,
    ADAM_EPSILON,
    SMALLEST,
    History,
    NonFiniteLossError,
    Plan,
    Settings,
    averaged,
    culprits,
)
from tlkeras.l2t.state import Ahead, Batch, Outcome, Parts, State, Tensor, Tensors, check_stored, named

if TYPE_CHECKING:
    from tlkeras.l2t.training import LearningToTransfer

_PRECISIONS = ("float32", "tensorfloat32")
_SCORED_AT_ONCE = 500  # validation images


class SeedsHalvedWarning(UserWarning):
    """The device has too little memory for so many seeds at once: fewer are trained at a time."""


class DeviceError(RuntimeError):
    """A device was lost, or ran out of memory for a single seed; `histories` holds the seeds that were done before."""

    def __init__(self, message: str, histories: Sequence["History | NonFiniteLossError"]) -> None:
        super().__init__(message)
        self.histories = list(histories)


def kinds(fast: bool) -> tuple[type[Network], type[Matching], type[MetaNetworks]]:
    """Return the classes of network, matching and meta-networks: XLA has no use for what is fast on TensorFlow."""
    return Network, Matching, MetaNetworks


# Algorithm 1


def iteration(parts: Parts, old: State, images: Tensor, labels: Tensor, rate: Tensor, step: Tensor) -> Outcome:
    """Return what one iteration makes of `old`; a pure function, with the arguments of `algorithm.iteration`."""
    settings = parts.settings
    features = parts.matching.source_features(images)
    batch = Batch(images, labels, parts.matching.goals(features))
    factor = jnp.asarray(settings.beta / images.shape[0], images.dtype)
    weighting, to_meta = jax.vjp(lambda meta: parts.meta.weights(meta, features, factor), old.meta)
    (_, (losses, statistics)), gradients = jax.value_and_grad(_total_loss, argnums=1, has_aux=True)(
        parts, old.weights, old.statistics, batch, weighting
    )
    weights, velocities = _sgd(old.weights, old.velocities, gradients, rate, settings)  # line 4
    new = old._replace(weights=weights, velocities=velocities, statistics=statistics)
    if not (old.meta and settings.meta_rate):
        return Outcome(new, losses, gradients, statistics)
    nothing = tree.map(jnp.zeros_like, weights)
    (after, (found, path, first)), (to_weighting, final) = jax.value_and_grad(
        after_lookahead, argnums=(1, 2), has_aux=True
    )(parts, weighting, nothing, new, batch, rate)  # lines 5 to 9
    (to_phi,) = to_meta(to_weighting)
    meta, moments = _adam(old.meta, old.moments, to_phi, step, settings)  # line 10
    new = new._replace(statistics=first if settings.double_update else statistics, meta=meta, moments=moments)
    ahead = Ahead(found | {"after": after}, to_weighting, first, path, final)
    return Outcome(new, losses | ahead.losses, gradients, statistics, to_phi, ahead)


def _total_loss(
    parts: Parts, weights: Tensors, statistics: Tensors, batch: Batch, weighting: Tensors
) -> tuple[Tensor, tuple[dict[str, Tensor], Tensors]]:
    """Return L_total, and beside it the losses by name and the new moving statistics."""
    errors, outputs, statistics = forward(parts, weights, statistics, batch)
    entropy = _cross_entropy(outputs, batch.labels, parts.logits)
    by_pair = [jnp.sum(weight * error) for weight, error in zip(weighting, errors, strict=True)]
    matching = jnp.stack(by_pair) if by_pair else jnp.zeros(0, entropy.dtype)
    accuracy = (outputs.argmax(-1) == batch.labels).mean(dtype=entropy.dtype)
    losses = {"cross_entropy": entropy, "matching": matching, "accuracy": accuracy}
    return entropy + matching.sum(), (losses, statistics)


def after_lookahead(
    parts: Parts, weighting: Tensors, added: Tensors, start: State, batch: Batch, rate: Tensor
) -> tuple[Tensor, tuple[dict[str, Tensor], list, Tensors]]:
    """Return L_org(theta_{T+1} + added), and beside it the losses on the way, the path, and the first statistics.

    Args:
        parts: networks and settings.
        weighting: weight of every error.
        added: zeros, of the weights' shapes, so that the gradient for theta_{T+1} can be had.
        start: after the training step.
        batch: of the training step.
        rate: learning rate of the target.
    """
    weights, velocities, statistics = start.weights, start.velocities, start.statistics  # line 5
    path, states, seen = [], [], []
    for matched in [True] * parts.settings.lookahead + [False]:  # lines 6 and 7, then 9

        def loss(weights: Tensors, statistics: Tensors, matched: bool = matched) -> tuple[Tensor, Tensors]:
            errors, outputs, statistics = forward(parts, weights, statistics, batch)
            if not matched:
                return _cross_entropy(outputs, batch.labels, parts.logits), statistics
            return sum(jnp.sum(w * e) for w, e in zip(weighting, errors, strict=True)), statistics

        (value, statistics), gradients = jax.value_and_grad(loss, has_aux=True)(weights, statistics)
        weights, velocities = _sgd(weights, velocities, gradients, rate, parts.settings)
        path.append((weights, velocities))
        states.append(statistics)
        seen.append(value)
    outputs = forward(parts, tree.map(jnp.add, weights, added), statistics, batch)[1]
    lookahead = jnp.stack(seen[:-1]) if seen[1:] else jnp.zeros(0, rate.dtype)
    losses = {"lookahead": lookahead, "before": seen[-1]}
    return _cross_entropy(outputs, batch.labels, parts.logits), (losses, path, states[0])


def _sgd(
    weights: Tensors, velocities: Tensors, gradients: Tensors, rate: Tensor, settings: Settings
) -> tuple[Tensors, Tensors]:
    """Return weights and velocities after a step of SGD with momentum and L2 decay; the rate is not in the velocity."""

    def moved(velocity: Tensor, gradient: Tensor, weight: Tensor) -> Tensor:
        return settings.momentum * velocity + gradient + settings.weight_decay * weight

    velocities = tree.map(moved, velocities, gradients, weights)
    return tree.map(lambda weight, velocity: weight - rate * velocity, weights, velocities), velocities


def _adam(
    weights: Tensors, moments: tuple[Tensors, Tensors], gradients: Tensors, step: Tensor, settings: Settings
) -> tuple[Tensors, tuple[Tensors, Tensors]]:
    """Return weights and both moments after a step of Adam, its decay in the gradient; see `algorithm.adam`."""
    first_decay, second_decay = ADAM_DECAYS
    gradients = tree.map(lambda g, w: g + settings.meta_decay * w, gradients, weights)
    first = tree.map(lambda m, g: first_decay * m + (1 - first_decay) * g, moments[0], gradients)
    second = tree.map(lambda m, g: second_decay * m + (1 - second_decay) * jnp.square(g), moments[1], gradients)
    # 1 - decay**step to all digits, in float32 too
    first_share, second_share = (-jnp.expm1(step * np.log(decay)) for decay in ADAM_DECAYS)

    def moved(weight: Tensor, m: Tensor, v: Tensor) -> Tensor:
        step = settings.meta_rate / first_share * m / (jnp.sqrt(v / second_share) + ADAM_EPSILON)
        return weight - step.astype(weight.dtype)

    return tree.map(moved, weights, first, second), (first, second)


def forward(parts: Parts, weights: Tensors, statistics: Tensors, batch: Batch) -> tuple[Tensors, Tensor, Tensors]:
    """Run target and branches in training mode; return errors, outputs and the new moving statistics."""
    own = len(parts.network.trainable)
    features, outputs, statistics = parts.network(weights[:own], statistics, batch.images)
    return parts.matching.errors(features, weights[own:], batch.goals), outputs, statistics


def _cross_entropy(outputs: Tensor, labels: Tensor, logits: bool) -> Tensor:
    """Return L_org: the mean cross-entropy (nats) of logits or probabilities `(batch, classes)`."""
    logarithms = jax.nn.log_softmax(outputs) if logits else jnp.log(jnp.maximum(outputs, SMALLEST))
    return -jnp.take_along_axis(logarithms, labels[:, None], -1).mean()


# One training


class Learner:
    """State of a training, and one compiled iteration; the target's variables follow the state.

    Args:
        parts: networks and settings.
        seed: of the first values of branches and meta-networks.
    """

    def __init__(self, parts: Parts, seed: int) -> None:
        self.parts, self.steps = parts, 0
        self.dtype = np.dtype(parts.network.trainable[0].dtype)
        generator = np.random.default_rng(seed)
        array = partial(jnp.asarray, dtype=self.dtype)
        branches = [array(value) for value in parts.matching.initial_branches(generator)]
        meta = [array(value) for value in parts.meta.initial(generator)]
        weights = [variable.value for variable in parts.network.trainable] + branches
        zeros = partial(tree.map, jnp.zeros_like)
        statistics = [variable.value for variable in parts.network.state]
        self._state = State(weights, zeros(weights), statistics, meta, (zeros(meta), zeros(meta)))
        self._compiled: dict[Callable | None, Callable] = {}

    @property
    def variables(self) -> State:
        """The state, with whatever values the user's target has now."""
        network = self.parts.network
        own, branches = network.trainable, self._state.weights[len(network.trainable) :]
        weights = [variable.value for variable in own] + branches
        return self._state._replace(weights=weights, statistics=[variable.value for variable in network.state])

    def named_variables(self) -> dict[str, Any]:
        """Return every array by the name that it has in a checkpoint."""
        return {"steps": np.int64(self.steps), **named(self.variables)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over the arrays of a checkpoint.

        Raises:
            WeightFileError: other names or shapes; nothing was changed.
        """
        check_stored(arrays, self.named_variables())
        leaves = [jnp.asarray(arrays[name], self.dtype) for name in named(self.variables)]
        self.take(tree.unflatten(tree.structure(self.variables), leaves), int(arrays["steps"]))

    def take(self, state: State, steps: int) -> None:
        """Go on from a state, the user's target too."""
        self._state, self.steps = state, steps
        network = self.parts.network
        own = state.weights[: len(network.trainable)] + state.statistics
        for variable, value in zip(network.trainable + network.state, own, strict=True):
            variable.assign(value)

    def train(
        self, images: np.ndarray, labels: np.ndarray, rate: float, augment: Callable | None, seed: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Do one iteration and return its losses, see `algorithm.iteration`.

        Raises:
            NonFiniteLossError: a loss or a new weight is not finite; nothing was changed.
        """
        if augment not in self._compiled:
            self._compiled[augment] = jax.jit(partial(_step, self.parts, augment))
        batch = (jnp.asarray(images), jnp.asarray(labels, jnp.int32), jnp.asarray(seed, jnp.int32))
        new, losses, sound = self._compiled[augment](self.variables, *batch, self.dtype.type(rate), self.steps + 1)
        losses = {name: np.asarray(value) for name, value in losses.items()}
        if not sound:
            raise NonFiniteLossError(f"Expected finite losses and weights. Received: {culprits(self.parts, losses)}")
        self.take(new, self.steps + 1)
        return losses


def _step(
    parts: Parts,
    augment: Callable | None,
    state: State,
    images: Tensor,
    labels: Tensor,
    seed: Tensor,
    rate: Tensor,
    step: Tensor,
) -> tuple[State, dict[str, Tensor], Tensor]:
    """Augment a batch and do an iteration; return the new state, the losses, and whether all of it is finite."""
    images = images if augment is None else augment(images.astype("float32"), seed)
    out = iteration(parts, state, images.astype(rate.dtype), labels, rate, step)
    sums = [jnp.sum(x) for x in (*out.losses.values(), *out.new.weights, *out.new.meta)]
    return out.new, out.losses, jnp.isfinite(jnp.stack(sums)).all()


# Many seeds


class _Run(NamedTuple):
    """One training among those that run together; `study` adds an axis of seeds in front."""

    state: State
    steps: Tensor  # iterations so far
    sound: Tensor  # False from the first loss or weight on that is not finite; the state then stays what it was


class _Course(NamedTuple):
    """The batches of some epochs, `(epochs, batches, ...)`."""

    order: Tensor  # (epochs, n) int32, which image comes when
    seeds: Tensor  # (epochs, batches, 2) int32, of the augmentation


def study(
    trainings: Sequence["LearningToTransfer"],
    images: np.ndarray,
    labels: np.ndarray,
    *,
    seeds: Sequence[int],
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    warm_up: int = 0,
    augment: Callable | None = None,
    validation: tuple[np.ndarray, np.ndarray] | None = None,
    validation_every: int = 10,
    at_once: int | None = None,
    precision: str = "float32",
    after: Callable[[], object] | None = None,
) -> list[History | NonFiniteLossError]:
    """Do what `LearningToTransfer.fit` does for several trainings of one kind, all seeds in one compiled call.

    Args:
        trainings: of the same pairs, questions and settings, on targets of the same form, one for each seed.
        images: `(seeds, n, height, width, channels)`, each training's own.
        labels: `(seeds, n)` integers.
        seeds: of the order of the images and of `augment`, as in `fit`.
        epochs: passes over the images.
        batch_size: images in an iteration; the last of an epoch may have fewer, but at least 2.
        learning_rate: of the first epoch.
        warm_up: as in `fit`.
        augment: as in `fit`, of operations that JAX can compile.
        validation: images `(m, height, width, channels)` and labels, the same for all.
        validation_every: epochs between validations and steps of the progress bar.
        at_once: how many seeds go through the device together; None is all. Where memory is too small for them, half
            as many are tried, and so on, with a `SeedsHalvedWarning`.
        precision: "float32", or "tensorfloat32": multiplications of 10 bits on a GPU that has them.
        after: is called at each step of the progress bar, when the device has done it.

    Returns:
        One history for each training, as `fit` returns it; or, where a loss or weight became NaN or infinite, a
        `NonFiniteLossError`, its target as it was before. The others are not touched by that.

    Raises:
        ValueError: unfit images, labels, epochs, batch size, precision or number of seeds.
        DeviceError: the device was lost, or has no memory for one seed.
    """
    plans = [
        Plan(x, y, epochs, batch_size, learning_rate, seed, augment, warm_up)
        for x, y, seed in zip(np.asarray(images), np.asarray(labels), seeds, strict=True)
    ]
    _check_study(trainings, plans, validation, validation_every, precision)
    histories: list[History | NonFiniteLossError] = []
    at_once = len(trainings) if at_once is None else at_once
    bar = _files.progress(None, "learning to transfer", total=len(trainings) * epochs, unit="epoch")

    def told(count: int) -> None:
        bar.update(count)
        if after:
            after()

    with jax.default_matmul_precision(precision), bar:
        while len(histories) < len(trainings):
            group = slice(len(histories), len(histories) + at_once)
            try:
                histories += _together(trainings[group], plans[group], validation, validation_every, told)
            except jax.errors.JaxRuntimeError as error:
                at_once = _fewer(error, min(at_once, len(trainings) - len(histories)), histories)
    return histories


def _check_study(
    trainings: Sequence["LearningToTransfer"],
    plans: Sequence[Plan],
    validation: tuple[np.ndarray, np.ndarray] | None,
    validation_every: int,
    precision: str,
) -> None:
    """Check what `study` is given.

    Raises:
        ValueError: another number of seeds than trainings, trainings that differ in more than their first values, or
            what `LearningToTransfer.fit` and `study` do not know.
    """
    if not trainings or len(trainings) != len(plans):
        raise ValueError(f"Expected a training for each seed. Received: {len(trainings)} trainings, {len(plans)} seeds")
    if precision not in _PRECISIONS:
        raise ValueError(f"Expected precision out of {_PRECISIONS}. Received: precision={precision!r}")
    # Without pairs, what is called the source is the target itself.
    common = [{k: v for k, v in t.described.items() if k != "source" or t.described["pairs"]} for t in trainings]
    shapes = [[v.shape for v in tree.leaves(t.learner.variables)] for t in trainings]
    kinds = {repr(kind) for kind in zip(common, shapes, strict=True)}
    if len(kinds) > 1:
        raise ValueError(f"Expected trainings of the same source, pairs, questions and shapes. Received: {kinds}")
    for training, plan in zip(trainings, plans, strict=True):
        plan.check(validation_every)
        check_labelled(training.target, plan.images, plan.labels, raw=False)
    if validation:
        check_labelled(trainings[0].target, *validation, raw=False)


def _fewer(error: Exception, count: int, histories: Sequence) -> int:
    """Return half of `count` after an error for want of memory; raise a `DeviceError` after another, or at one seed."""
    short = "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
    if not short or count == 1:
        wanted = "memory for one seed" if short else "a device that stays"
        raise DeviceError(f"Expected {wanted}. Received: {str(error)[:300]}", histories) from error
    message = f"No memory for {count} seeds at once; {count // 2} are tried"
    warnings.warn(message, SeedsHalvedWarning, stacklevel=3)
    return count // 2


def _together(
    trainings: Sequence["LearningToTransfer"],
    plans: Sequence[Plan],
    validation: tuple | None,
    every: int,
    told: Callable,
) -> list[History | NonFiniteLossError]:
    """Train a group that fits into memory; the trainings hold the new weights afterwards."""
    learners, plan = [training.learner for training in trainings], plans[0]
    parts, dtype = learners[0].parts, learners[0].dtype
    stack = partial(tree.map, lambda *values: jnp.stack(values))
    steps = jnp.asarray([learner.steps for learner in learners], jnp.int32)
    run = _Run(stack(*(learner.variables for learner in learners)), steps, jnp.ones(len(learners), bool))
    images, labels = jnp.stack([p.images for p in plans]), jnp.stack([p.labels.astype(np.int32) for p in plans])
    several = jax.jit(jax.vmap(partial(_epochs, parts, plan.augment, plan.batch_size), (0, 0, 0, 0, None)))
    score = jax.jit(jax.vmap(partial(_scored, parts), (0, None, None)))
    logs, scores = [], []
    for first in range(0, plan.epochs, every):
        chosen = range(first, min(first + every, plan.epochs))
        rates = jnp.asarray([plan.rate(epoch) for epoch in chosen], dtype)
        run, found = several(run, images, labels, stack(*(_course(p, chosen) for p in plans)), rates)
        logs.append(found)
        scores.append(score(run.state, *map(jnp.asarray, validation)) if validation else None)
        jax.block_until_ready(run.sound)
        told(len(chosen) * len(plans))
    joined = tree.map(lambda *parts: np.concatenate(parts, 1), *logs)
    finished = []
    for number, learner in enumerate(learners):
        learner.take(tree.map(lambda value, number=number: value[number], run.state), int(run.steps[number]))
        own = tree.map(lambda value, number=number: value[number], (joined, scores))
        finished.append(_history(parts, plans[number], own[0], own[1], every))
    return finished


def _course(plan: Plan, epochs: range) -> _Course:
    orders, seeds = zip(*(plan.course(epoch) for epoch in epochs), strict=True)
    return _Course(jnp.asarray(orders, jnp.int32), jnp.asarray(seeds, jnp.int32))


def _epochs(
    parts: Parts,
    augment: Callable | None,
    size: int,
    run: _Run,
    images: Tensor,
    labels: Tensor,
    course: _Course,
    rates: Tensor,
) -> tuple[_Run, dict[str, Tensor]]:
    """Train one seed for some epochs; return the run and, by name, losses of every batch `(epochs, batches, ...)`."""

    def batch(run: _Run, chosen: Tensor, seed: Tensor, rate: Tensor) -> tuple[_Run, dict[str, Tensor]]:
        new, losses, sound = _step(parts, augment, run.state, images[chosen], labels[chosen], seed, rate, run.steps + 1)
        sound = run.sound & sound
        state = tree.map(lambda new, old: jnp.where(sound, new, old), new, run.state)
        return _Run(state, run.steps + sound, sound), losses | {"sound": sound}

    def epoch(run: _Run, given: tuple[_Course, Tensor]) -> tuple[_Run, dict[str, Tensor]]:
        (order, seeds), rate = given
        full = len(order) // size
        logs = []
        if full:
            plan = (order[: full * size].reshape(full, size), seeds[:full])
            run, found = lax.scan(lambda run, plan: batch(run, plan[0], plan[1], rate), run, plan)
            logs.append(found)
        if len(order) % size:
            run, found = batch(run, order[full * size :], seeds[full], rate)
            logs.append(tree.map(lambda x: x[None], found))
        return run, tree.map(lambda *parts: jnp.concatenate(parts), *logs)

    return lax.scan(epoch, run, (course, rates))


def _scored(parts: Parts, state: State, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean cross-entropy (nats) and accuracy of the target on validation images."""
    own = len(parts.network.trainable)

    def score(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        outputs = parts.network.outputs(state.weights[:own], state.statistics, images.astype(state.weights[0].dtype))
        entropy = _cross_entropy(outputs, labels, parts.logits)
        return entropy * len(labels), (outputs.argmax(-1) == labels).sum().astype(entropy.dtype)

    count = len(labels) // _SCORED_AT_ONCE * _SCORED_AT_ONCE
    sums = [score(images[count:], labels[count:])] if count < len(labels) else []
    if count:
        split = [x[:count].reshape(-1, _SCORED_AT_ONCE, *x.shape[1:]) for x in (images, labels)]
        sums.append(tree.map(lambda x: x.sum(0), lax.map(lambda batch: score(*batch), tuple(split))))
    return tuple(sum(values) / len(labels) for values in zip(*sums, strict=True))


def _history(
    parts: Parts, plan: Plan, logs: Mapping[str, np.ndarray], scores: list, every: int
) -> History | NonFiniteLossError:
    """Return what `fit` returns, from the losses of every batch `(epochs, batches, ...)` and the scores."""
    logs = dict(logs)
    sound = np.asarray(logs.pop("sound"))
    if not sound.all():
        epoch, number = (int(index) for index in np.argwhere(~sound)[0])
        wrong = culprits(parts, {name: np.asarray(value[epoch, number]) for name, value in logs.items()})
        place = f"(epoch {epoch}, batch {number}, learning rate {plan.rate(epoch):.3g}, seed {plan.seed})"
        return NonFiniteLossError(f"Expected finite losses and weights. Received: {wrong} {place}")
    history: History = {}
    for epoch in range(plan.epochs):
        batches = [{name: value[epoch, number] for name, value in logs.items()} for number in range(sound.shape[1])]
        due = scores[epoch // every] if (epoch + 1) % every == 0 or epoch + 1 == plan.epochs else None
        found = averaged(batches, plan.sizes(), plan.rate(epoch))
        found["val_loss"], found["val_accuracy"] = map(float, due) if due else (None, None)
        history = {name: [*history.get(name, []), value] for name, value in found.items()}
    return history

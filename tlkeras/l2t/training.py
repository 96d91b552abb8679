"""`LearningToTransfer`: train a target network on a few images, guided by the features of a source network."""

import dataclasses
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tlkeras import _files, data
from tlkeras.checks import check_labelled
from tlkeras.graph import has_logits
from tlkeras.l2t.algorithm import Parts, Settings, State, iteration
from tlkeras.l2t.fast import FastMatching, FastMetaNetworks, FastNetwork
from tlkeras.l2t.matching import Matching, Pair
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.network import Network
from tlkeras.models.weights import WeightFileError, fingerprint
from tlkeras.transfer.batches import Augment
from tlkeras.transfer.evaluation import Evaluator

History = dict[str, list]


class NonFiniteLossError(RuntimeError):
    """A loss became NaN or infinite; the message names it, and the weights are those before that step."""


class MissingClassesWarning(UserWarning):
    """Classes of which there is no training image: the target cannot learn them."""


class LearningToTransfer:
    """Match layers of a target with layers of a source while the target learns to classify, and learn what to match.

    With no question asked (`what=False, where=False`) all is matched alike: the report's UFM. Without pairs the target
    is trained from scratch, by the same code.

    Args:
        source: functional model with one input, already trained; it stays as it is.
        target: functional classifier that takes the same images, with logits or softmax outputs; trained in place.
            Any sizes and channels; Keras' BatchNormalization is replaced in the computation by one with the right
            second derivative, on the same variables.
        pairs: (layer of the source, layer of the target), each with a map (height, width, channels).
        what: learn weights of the source's channels.
        where: learn weights of the pairs.
        which: learn weights of the maps' pixels.
        settings: the numbers of the training.
        seed: of the first values of branches and meta-networks.
        fast: compute in the ways that save time on a CPU (`tlkeras.l2t.fast`); False is plain TensorFlow, which gives
            the same numbers but for rounding, in about twice the time. A checkpoint may be resumed either way.

    Raises:
        ValueError: models or layers that cannot be matched, questions without pairs.

    Reference: report 003; Jang et al. 2019, arXiv:1905.05901 (what and where).
    """

    def __init__(
        self,
        source: keras.Model,
        target: keras.Model,
        pairs: Sequence[Pair],
        *,
        what: bool = True,
        where: bool = True,
        which: bool = False,
        settings: Settings | None = None,
        seed: int = 0,
        fast: bool = True,
    ) -> None:
        check_models(source, target)
        if not pairs and (what or where or which):
            raise ValueError("Expected pairs to ask what, where or which about. Received: none")
        kinds = (FastNetwork, FastMatching, FastMetaNetworks) if fast else (Network, Matching, MetaNetworks)
        make_network, make_matching, make_meta = kinds
        matching = make_matching(source, target, pairs, by_region=which)
        meta = make_meta(matching, what=what, where=where, which=which)
        network = make_network(target, list(matching.target_shapes))
        self.source, self.target = source, target
        self.learner = Learner(Parts(network, matching, meta, has_logits(target), settings or Settings()), seed)
        self.pair_names = matching.names
        self._described = {
            "pairs": matching.pairs,
            "what": what,
            "where": where,
            "which": which,
            "settings": dataclasses.asdict(self.learner.parts.settings),
            "source": fingerprint(source),
        }

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        epochs: int = 200,
        batch_size: int = 128,
        learning_rate: float = 0.1,
        seed: int = 0,
        augment: Augment | None = None,
        validation: tuple[np.ndarray, np.ndarray] | None = None,
        validation_every: int = 1,
        checkpoint: Path | str | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> History:
        """Train the target; the rate falls by a cosine, epoch by epoch.

        Args:
            images: `(n, height, width, channels)`, as both models take them: raw, where they preprocess themselves.
            labels: `(n,)` integers, 0..classes-1.
            epochs: passes over the images.
            batch_size: images in an iteration; the last of an epoch may have fewer, but at least 2.
            learning_rate: of the first epoch.
            seed: of the order of the images and of `augment`.
            augment: `(images (b, h, w, c) float32, seed (2,) int32) -> images`, such as
                `tlkeras.transfer.batches.random_flip_crop()`; each batch is augmented once, for both models.
            validation: images and labels.
            validation_every: epochs between validations; the last epoch is always validated.
            checkpoint: an .npz, written after each epoch. If it is there already, training goes on from it, to the same
                numbers as if it had never been interrupted.
            callbacks: Keras' own; they see the target as their model, and the logs of each epoch.

        Returns:
            By name, one value an epoch: means of "loss", "cross_entropy", "matching" (beta included), "accuracy" and,
            with meta-networks, "lookahead" (the matching of its steps, summed), "before" and "after"; "pairs", the
            terms of "matching"; "learning_rate";
            "val_loss" and "val_accuracy", None where the epoch was not validated.

        Raises:
            ValueError: unfit images, labels, epochs or batch size, or a checkpoint of another training. Of `augment`
                only whether there is one can be compared.
            NonFiniteLossError: a loss became NaN or infinite. The weights are those before that iteration, and the
                checkpoint is that of the last epoch before.
            WeightFileError: a damaged checkpoint.
        """
        plan = Plan(np.asarray(images), np.asarray(labels), epochs, batch_size, learning_rate, seed, augment)
        plan.check(validation_every)
        check_labelled(self.target, plan.images, plan.labels, raw=False)
        if validation:
            check_labelled(self.target, *validation, raw=False)
        plan.warn_of_missing_classes(self.target.output_shape[-1])
        history = self._resume(checkpoint, self._described | plan.description())
        evaluator = Evaluator(self.target)
        told = keras.callbacks.CallbackList(list(callbacks), model=self.target, epochs=epochs)
        self.target.stop_training = False
        told.on_train_begin()
        done = len(history.get("loss", []))
        for epoch in _files.progress(range(done, epochs), "learning to transfer", unit="epoch"):
            told.on_epoch_begin(epoch)
            logs = run_epoch(self.learner, plan, epoch, told)
            due = (epoch + 1) % validation_every == 0 or epoch + 1 == epochs
            logs["val_loss"], logs["val_accuracy"] = evaluator(*validation) if validation and due else (None, None)
            history = {name: [*history.get(name, []), value] for name, value in logs.items()}
            if checkpoint:
                self._save(checkpoint, self._described | plan.description(), history)
            told.on_epoch_end(epoch, {name: value for name, value in logs.items() if isinstance(value, float)})
            if self.target.stop_training:
                break
        told.on_train_end()
        return history

    def transfer_weights(self, images: np.ndarray) -> dict[str, list[np.ndarray]]:
        """Return what the meta-networks say of images `(n, height, width, channels)`, by question, one array a pair.

        Returns:
            Of the questions asked: "what" `(n, channels)`, "where" `(n,)`, and "which" `(n, channels, 3, 3)`, which is
            resized to the target's map when it is used.
        """
        parts = self.learner.parts
        features = parts.matching.source_features(tf.constant(images, self.learner.dtype))
        found = parts.meta.answers([tf.convert_to_tensor(v) for v in self.learner.variables.meta], features)
        shapes = {"what": (), "where": (), "which": (3, 3)}
        return {
            question: [
                x.numpy()[:, 0] if question == "where" else x.numpy().reshape(*x.shape[:2], *shapes[question])
                for x in values
            ]
            for question, values in found.items()
        }

    def _save(self, path: Path | str, described: Mapping[str, Any], history: History) -> None:
        """Write everything that the next epoch depends on."""
        arrays = {name: np.asarray(variable) for name, variable in self.learner.named_variables().items()}
        facts = np.array(json.dumps({"training": described, "history": history}))
        _files.write_arrays(Path(path), {"facts": facts, **arrays})

    def _resume(self, path: Path | str | None, described: Mapping[str, Any]) -> History:
        """Take over a checkpoint, if there is one, and return its history."""
        if not path or not Path(path).exists():
            return {}
        arrays = _files.read_arrays(Path(path), WeightFileError)
        if "facts" not in arrays:
            raise WeightFileError(f"Expected a checkpoint of learning to transfer. Received: {path}")
        try:
            facts = json.loads(str(arrays.pop("facts")))
            stored, history = dict(facts["training"]), dict(facts["history"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise WeightFileError(
                f"Expected a checkpoint of learning to transfer ({error}). Received: {path}"
            ) from error
        current = json.loads(json.dumps(described))
        if differ := {key: (stored.get(key), value) for key, value in current.items() if stored.get(key) != value}:
            raise ValueError(f"Expected the training that {path} is of; (stored, now) differ. Received: {differ}")
        self.learner.restore(arrays)
        return history


class Learner:
    """Variables of the target (the user's own), its branches, the meta-networks and both optimisers; one iteration.

    Args:
        parts: networks and settings.
        seed: of the first values of branches and meta-networks.
    """

    def __init__(self, parts: Parts, seed: int) -> None:
        self.parts = parts
        target = parts.network.trainable
        self.dtype = tf.as_dtype(target[0].dtype)
        generator = np.random.default_rng(seed)
        branches = [self._variable(value) for value in parts.matching.initial_branches(generator)]
        meta = [self._variable(value) for value in parts.meta.initial(generator)]
        velocities, first, second = (
            [self._variable(np.zeros(v.shape)) for v in group] for group in (target + branches, meta, meta)
        )
        self.variables = State(target + branches, velocities, parts.network.state, meta, (first, second))
        self.steps = tf.Variable(0, dtype=tf.int64)
        self._compiled: dict[Augment | None, Callable] = {}

    def _variable(self, value: np.ndarray) -> tf.Variable:
        return tf.Variable(value, dtype=self.dtype)

    def named_variables(self) -> dict[str, tf.Variable | keras.Variable]:
        """Return every variable by a name that is the same in each process."""
        named = {"steps": self.steps}
        for kind, group in zip(("weights", "velocities", "state", "meta"), self.variables[:4], strict=True):
            named |= {f"{kind}/{number}": variable for number, variable in enumerate(group)}
        for kind, group in zip(("first_moments", "second_moments"), self.variables.moments, strict=True):
            named |= {f"{kind}/{number}": variable for number, variable in enumerate(group)}
        return named

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Give every variable the value of its name.

        Raises:
            WeightFileError: other names or shapes; nothing was changed.
        """
        variables = self.named_variables()
        shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
        found = {name: array.shape for name, array in arrays.items()}
        if found != shapes:
            differ = sorted(name for name in {*found, *shapes} if found.get(name) != shapes.get(name))
            raise WeightFileError(f"Expected a checkpoint of these networks. Received: other shapes of {differ}")
        for name, variable in variables.items():
            variable.assign(arrays[name])

    def train(
        self, images: np.ndarray, labels: np.ndarray, rate: float, augment: Augment | None, seed: Sequence[int]
    ) -> dict[str, np.ndarray]:
        """Do one iteration and return its losses, see `algorithm.iteration`.

        Raises:
            NonFiniteLossError: a loss or a new weight is not finite; nothing was changed.
        """
        if augment not in self._compiled:
            self._compiled[augment] = self._compile(augment)
        losses, sound = self._compiled[augment](
            tf.constant(images, self.dtype),
            tf.constant(labels, tf.int32),
            tf.constant(rate, self.dtype),
            tf.constant(seed, tf.int32),
        )
        losses = {name: value.numpy() for name, value in losses.items()}
        if not sound:
            raise NonFiniteLossError(f"Expected finite losses and weights. Received: {self._culprits(losses)}")
        return losses

    def _compile(self, augment: Augment | None) -> Callable:
        shape = self.parts.network.input_shape
        signature = [
            tf.TensorSpec((None, *shape[1:]), self.dtype),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((), self.dtype),
            tf.TensorSpec((2,), tf.int32),
        ]

        @tf.function(autograph=False, input_signature=signature)
        def train(images, labels, rate, seed):
            if augment is not None:
                images = tf.cast(augment(tf.cast(images, tf.float32), seed), self.dtype)
            old = tf.nest.map_structure(tf.convert_to_tensor, self.variables)
            out = iteration(self.parts, old, images, labels, rate, self.steps + 1)
            sums = [tf.reduce_sum(x) for x in (*out.losses.values(), *out.new.weights, *out.new.meta)]
            sound = tf.math.is_finite(tf.add_n(sums))
            tf.cond(sound, lambda: self._assign(out.new), tf.no_op)
            return out.losses, sound

        return train

    def _assign(self, new: State) -> tf.Operation:
        self.steps.assign_add(1)
        for variable, value in zip(tf.nest.flatten(self.variables), tf.nest.flatten(new), strict=True):
            variable.assign(value)
        return tf.no_op()

    def _culprits(self, losses: dict[str, np.ndarray]) -> str:
        """Name what is not finite: the pairs whose terms are not, else the other losses, else the weights."""
        rest = dict(losses)
        terms = zip(self.parts.matching.names, rest.pop("matching"), strict=True)
        wrong = [f"{name}: {value}" for name, value in terms if not np.isfinite(value)]
        wrong += [f"{name}: {value}" for name, value in rest.items() if not np.isfinite(value).all()]
        return ", ".join(wrong) or "weights that are not"


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Images, labels, and how they are gone through; see `LearningToTransfer.fit`."""

    images: np.ndarray
    labels: np.ndarray
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    augment: Augment | None

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
        """Return the learning rate of an epoch, from 0 up: half a cosine (report 003, section 5.4)."""
        return self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2

    def description(self) -> dict[str, Any]:
        """Return what a resumed training must have in common with the stored one."""
        numbers = {name: getattr(self, name) for name in ("epochs", "batch_size", "learning_rate", "seed")}
        return {"data": data.fingerprint(self.images, self.labels), "augmented": self.augment is not None, **numbers}


def run_epoch(learner: Learner, plan: Plan, epoch: int, callbacks: keras.callbacks.CallbackList) -> dict:
    """Go once through the images, in an order of this epoch's own; return the logs, means over the images.

    Raises:
        NonFiniteLossError: of `Learner.train`, with the epoch and the batch.
    """
    generator = np.random.default_rng([plan.seed, epoch])  # of the epoch's own, so that a resumed one is the same
    order = generator.permutation(len(plan.images))
    batches = [order[start : start + plan.batch_size] for start in range(0, len(order), plan.batch_size)]
    seeds = generator.integers(0, 2**31 - 1, (len(batches), 2))
    rate, losses = plan.rate(epoch), []
    for number, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
        callbacks.on_train_batch_begin(number)
        try:
            losses.append(learner.train(plan.images[batch], plan.labels[batch], rate, plan.augment, seed))
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} (epoch {epoch}, batch {number}, learning rate {rate:.3g})") from None
        callbacks.on_train_batch_end(number)
    return _logs(losses, [len(batch) for batch in batches], rate)


def _logs(losses: list[dict[str, np.ndarray]], sizes: list[int], rate: float) -> dict:
    means = {name: np.average([found[name] for found in losses], axis=0, weights=sizes) for name in losses[0]}
    pairs = means.pop("matching")
    logs = {name: float(value.sum()) for name, value in means.items()}
    logs["matching"] = float(pairs.sum())
    logs["loss"] = logs["cross_entropy"] + logs["matching"]
    return logs | {"learning_rate": rate, "pairs": [float(value) for value in pairs]}


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

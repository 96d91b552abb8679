"""`LearningToTransfer`: train a target network on a few images, guided by the features of a source network."""

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
from keras import ops

from tlkeras import _files
from tlkeras.data.splits import check_labelled
from tlkeras.graph import has_logits
from tlkeras.l2t.matching import Matching, Pair
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.plan import History, NonFiniteLossError, Plan, Settings, averaged, check_models
from tlkeras.l2t.state import Parts
from tlkeras.models.weights import WeightFileError, fingerprint
from tlkeras.transfer.evaluation import Evaluator

_ENGINES = ("tensorflow", "jax")  # Keras' backends for which there is a module of this name here


def engine() -> ModuleType:
    """Return what computes on Keras' backend.

    Raises:
        NotImplementedError: a backend without an engine.
    """
    backend = keras.backend.backend()
    if backend not in _ENGINES:
        raise NotImplementedError(f"Expected Keras' backend out of {_ENGINES}. Received: KERAS_BACKEND={backend}")
    return importlib.import_module(f"tlkeras.l2t.{backend}")


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
        matching: another loss in the place of the report's, one of `tlkeras.l2t.peers`.
        seed: of the first values of branches and meta-networks.
        fast: compute in the ways that save time on a CPU (`tlkeras.l2t.fast`); False is plain TensorFlow, which gives
            the same numbers but for rounding, in about twice the time. On JAX there is one way. A checkpoint may be
            resumed either way.

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
        matching: type[Matching] | None = None,
        seed: int = 0,
        fast: bool = True,
    ) -> None:
        check_models(source, target)
        if not pairs and (what or where or which):
            raise ValueError("Expected pairs to ask what, where or which about. Received: none")
        computed_by = engine()
        make_network, make_matching, make_meta = computed_by.kinds(fast)
        if matching:
            make_matching, make_meta = matching, MetaNetworks
        matched = make_matching(source, target, pairs, by_region=which)
        meta = make_meta(matched, what=what, where=where, which=which)
        network = make_network(target, list(matched.target_shapes))
        self.source, self.target = source, target
        parts = Parts(network, matched, meta, has_logits(target), settings or Settings())
        self.learner = computed_by.Learner(parts, seed)
        self.pair_names = matched.names
        self.described = {
            "pairs": matched.pairs,
            "what": what,
            "where": where,
            "which": which,
            "settings": dataclasses.asdict(parts.settings),
            "source": fingerprint(source),
            **({"matching": matching.__name__} if matching else {}),
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
        warm_up: int = 0,
        augment: Callable | None = None,
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
            warm_up: epochs over which the rate rises to its cosine.
            augment: `(images (b, h, w, c) float32, seed (2,) int32) -> images`, such as
                `tlkeras.transfer.batches.random_flip_crop()`; each batch is augmented once, for both models.
            validation: images and labels.
            validation_every: epochs between validations; the last of `epochs` is always validated, but not one after
                which a callback stops early.
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
        plan = Plan(np.asarray(images), np.asarray(labels), epochs, batch_size, learning_rate, seed, augment, warm_up)
        plan.check(validation_every)
        check_labelled(self.target, plan.images, plan.labels, raw=False)
        if validation:
            check_labelled(self.target, *validation, raw=False)
        plan.warn_of_missing_classes(self.target.output_shape[-1])
        history = self._resume(checkpoint, self.described | plan.description())
        evaluator = Evaluator(self.target) if validation else None
        told = keras.callbacks.CallbackList(list(callbacks), model=self.target, epochs=epochs)
        self.target.stop_training = False
        told.on_train_begin()
        done = len(history.get("loss", []))
        for epoch in _files.progress(range(done, epochs), "learning to transfer", unit="epoch"):
            told.on_epoch_begin(epoch)
            logs = _run_epoch(self.learner, plan, epoch, told)
            due = (epoch + 1) % validation_every == 0 or epoch + 1 == epochs
            logs["val_loss"], logs["val_accuracy"] = (
                evaluator(*validation) if evaluator and validation and due else (None, None)
            )
            history = {name: [*history.get(name, []), value] for name, value in logs.items()}
            if checkpoint:
                self._save(checkpoint, self.described | plan.description(), history)
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
        features = parts.matching.source_features(ops.cast(ops.convert_to_tensor(images), self.learner.dtype))
        found = parts.meta.answers([ops.convert_to_tensor(v) for v in self.learner.variables.meta], features)
        shapes = {"what": (), "where": (), "which": (3, 3)}
        arrays = {question: [ops.convert_to_numpy(x) for x in values] for question, values in found.items()}
        return {
            question: [x[:, 0] if question == "where" else x.reshape(*x.shape[:2], *shapes[question]) for x in values]
            for question, values in arrays.items()
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
        keys = sorted(key for key in stored.keys() | current.keys() if stored.get(key) != current.get(key))
        if differ := {key: (stored.get(key), current.get(key)) for key in keys}:
            raise ValueError(f"Expected the training that {path} is of; (stored, now) differ. Received: {differ}")
        self.learner.restore(arrays)
        return history


def _run_epoch(learner: Any, plan: Plan, epoch: int, callbacks: keras.callbacks.CallbackList) -> dict:
    """Go once through the images, in an order of this epoch's own; return the logs, means over the images.

    Raises:
        NonFiniteLossError: of `Learner.train`, with the epoch and the batch.
    """
    order, seeds = plan.course(epoch)
    batches = [order[start : start + plan.batch_size] for start in range(0, len(order), plan.batch_size)]
    rate, losses = plan.rate(epoch), []
    for number, (batch, seed) in enumerate(zip(batches, seeds, strict=True)):
        callbacks.on_train_batch_begin(number)
        try:
            losses.append(learner.train(plan.images[batch], plan.labels[batch], rate, plan.augment, seed))
        except NonFiniteLossError as error:
            raise NonFiniteLossError(f"{error} (epoch {epoch}, batch {number}, learning rate {rate:.3g})") from None
        callbacks.on_train_batch_end(number)
    return averaged(losses, plan.sizes(), rate)

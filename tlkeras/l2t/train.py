"""`LearningToTransfer`: train a target network on a few images, guided by the features of a source network."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm.auto import tqdm

from tlkeras.l2t import checkpoints, inputs
from tlkeras.l2t.epochs import Plan, run_epoch
from tlkeras.l2t.functional import Network
from tlkeras.l2t.learner import Augment, Learner
from tlkeras.l2t.matching import Matching
from tlkeras.l2t.metanets import MetaNetworks
from tlkeras.l2t.pairs import Pair
from tlkeras.l2t.parts import Parts, Settings
from tlkeras.models import weights
from tlkeras.transfer.evaluation import Evaluator
from tlkeras.transfer.freezing import has_logits

History = dict[str, list]


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
        which_input: see `MetaNetworks`.
        settings: the numbers of the training.
        seed: of the first values of branches and meta-networks.

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
        which_input: str = "channel",
        settings: Settings | None = None,
        seed: int = 0,
    ) -> None:
        inputs.check_models(source, target)
        if not pairs and (what or where or which):
            raise ValueError("Expected pairs to ask what, where or which about. Received: none")
        matching = Matching(source, target, pairs, by_region=which)
        meta = MetaNetworks(matching, what=what, where=where, which=which, which_input=which_input)
        network = Network(target, list(matching.target_shapes))
        parts = Parts(network, matching, meta, has_logits(target), settings or Settings())
        self.source, self.target = source, target
        self.learner = Learner(parts, seed)
        self.pair_names = self.learner.names
        self._described = {
            "pairs": matching.pairs, "what": what, "where": where, "which": which, "which_input": which_input,
            "settings": dataclasses.asdict(parts.settings), "source": weights.fingerprint(source),
        }  # fmt: skip

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
        inputs.check_epochs(epochs, validation_every)
        for part in ((plan.images, plan.labels), *([validation] if validation else [])):
            inputs.check_images(self.target, *map(np.asarray, part))
        inputs.check_batches(self.target, plan.labels, batch_size)
        history = self._resume(checkpoint, self._described | plan.description())
        evaluator = Evaluator(self.target)
        told = keras.callbacks.CallbackList(list(callbacks), model=self.target, epochs=epochs)
        self.target.stop_training = False
        told.on_train_begin()
        quiet = bool(os.environ.get("TQDM_DISABLE")) or None
        done = len(history.get("loss", []))
        for epoch in tqdm(range(done, epochs), desc="learning to transfer", unit="epoch", disable=quiet):
            told.on_epoch_begin(epoch)
            logs = run_epoch(self.learner, plan, epoch, told)
            due = validation and ((epoch + 1) % validation_every == 0 or epoch + 1 == epochs)
            logs["val_loss"], logs["val_accuracy"] = evaluator(*validation) if due else (None, None)
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

    def _save(self, path: Path | str, described: dict[str, Any], history: History) -> None:
        arrays = {name: np.asarray(variable) for name, variable in self.learner.named_variables().items()}
        checkpoints.write(Path(path), arrays, {"training": described, "history": history})

    def _resume(self, path: Path | str | None, described: dict[str, Any]) -> History:
        """Take over a checkpoint, if there is one, and return its history."""
        if not path or not Path(path).exists():
            return {}
        arrays, facts = checkpoints.read(Path(path))
        checkpoints.check_same(Path(path), facts["training"], described)
        self.learner.restore(arrays)
        return facts["history"]

"""Keras callbacks that keep what happens inside: the answers of the meta-networks, the path of the weights."""

from collections.abc import Sequence

import keras
import numpy as np

from tlkeras.l2t.training import LearningToTransfer


class Answers(keras.callbacks.Callback):
    """Keep what the meta-networks say of the same images, before the training and then every few epochs.

    Args:
        training: whose meta-networks.
        images: `(n, height, width, channels)`, as both models take them.
        every: epochs between two looks.
        pair: number of the pair of which "which" is kept, one of the list that `training` was made with.
        channels: of its source, of which "which" is kept.

    After training: `epochs`, how many had passed at each look; `kept`, by question that is asked, means over the
    images: "what", the entropy of each pair's channel weights as a part of the largest possible, `(looks, pairs)`,
    0..1; "where", the weight of each pair, `(looks, pairs)`, 0..6; "which", `(looks, channels, 9)`, above 0. Of a
    resumed training, the looks from where it went on.
    """

    def __init__(
        self, training: LearningToTransfer, images: np.ndarray, every: int = 5, pair: int = 0, channels: Sequence = (0,)
    ) -> None:
        super().__init__()
        self.training, self.images, self.every, self.pair = training, images, every, pair
        self.channels = list(channels)
        self.epochs: list[int] = []
        self.kept: dict[str, list] = {}

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget an earlier training."""
        self.epochs, self.kept = [], {}

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Look before the first epoch."""
        if not self.epochs:
            self._look(epoch)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Look, where an epoch is due."""
        if (epoch + 1) % self.every == 0:
            self._look(epoch + 1)

    def _look(self, epoch: int) -> None:
        found = self.training.transfer_weights(self.images)
        self.epochs.append(epoch)
        for question, pairs in found.items():
            if question == "which":
                mean = pairs[self.pair][:, self.channels].mean(0).reshape(-1, 9)
            else:
                mean = [_spread(x) if question == "what" else x.mean() for x in pairs]
            self.kept.setdefault(question, []).append(np.round(mean, 4).tolist())


def _spread(weights: np.ndarray) -> float:
    """Return the mean entropy of channel weights `(n, channels)` over that of equal ones."""
    return float(-(weights * np.log(np.maximum(weights, 1e-12))).sum(1).mean() / np.log(weights.shape[1]))


class Trajectory(keras.callbacks.Callback):
    """Keep single weights of a layer, and how far all weights move, before the training and after each epoch.

    Args:
        layer: of the model that is trained.
        indices: of the weights in its kernel, as Keras keeps it.

    After training: `weights` `(epochs + 1, indices)`; `moved` `(epochs,)`, how far the trained weights went in each
    epoch, as a part of their length. A resumed training keeps the epochs from where it went on.
    """

    def __init__(self, layer: str, indices: Sequence[tuple[int, ...]]) -> None:
        super().__init__()
        self.layer, self.indices = layer, list(indices)
        self.weights: list[list[float]] = []
        self.moved: list[float] = []
        self._before: np.ndarray | None = None

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Forget an earlier training."""
        self.weights, self.moved, self._before = [], [], None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note where the weights start."""
        if not self.weights:
            self._note()

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note where they are."""
        self._note()

    def _note(self) -> None:
        kernel = np.asarray(self.model.get_layer(self.layer).kernel)
        self.weights.append([round(float(kernel[index]), 5) for index in self.indices])
        now = np.concatenate([np.asarray(variable).ravel() for variable in self.model.trainable_variables])
        if self._before is not None:
            self.moved.append(float(np.linalg.norm(now - self._before) / np.linalg.norm(now)))
        self._before = now

"""Say during training that a classifier has collapsed: the same answer for every image, at the loss of guessing."""

import math
import warnings

import keras
import numpy as np


class CollapsedClassifierWarning(UserWarning):
    """The classifier gives every image the same probabilities; a smaller learning rate usually prevents it."""


class CollapseDetector(keras.callbacks.Callback):
    """Warn once when the loss is stuck at ln(classes) and the predictions do not depend on the image.

    Too high a rate can kill every ReLU before the head; what remains is its bias, hence the class frequencies.
    Seen with SqueezeNet on CIFAR-10 under Adam at 1e-3 with the right preprocessing (loss 2.3026, accuracy 0.1).

    Args:
        model: the whole classifier, softmax or logits out.
        images: a few raw images, at least 2, that are not all alike.
        tolerance: largest distance of the training loss from ln(classes), nats.
        stop: also end the training, which rarely recovers.

    `collapsed_at` is the first epoch (from 1) at whose end both held, or None.
    """

    def __init__(self, model: keras.Model, images: np.ndarray, tolerance: float = 0.01, stop: bool = False) -> None:
        super().__init__()
        if len(images) < 2:
            raise ValueError(f"Expected at least 2 images to tell apart. Received: {len(images)}")
        self._whole, self._images, self._tolerance = model, images, tolerance
        self._stop = stop
        self._guessing = math.log(model.output_shape[-1])
        self.collapsed_at: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Look at the loss first, which costs nothing, then at the predictions."""
        stuck = abs((logs or {}).get("loss", math.inf) - self._guessing) <= self._tolerance
        if self.collapsed_at is None and stuck and self._constant():
            self.collapsed_at = epoch + 1
            if self._stop:
                self.model.stop_training = True
            warnings.warn(
                f"The classifier collapsed by epoch {epoch + 1}: loss {logs['loss']:.4f} is ln(classes), and every "
                "image gets the same answer. Train again with a smaller learning rate.",
                CollapsedClassifierWarning,
                stacklevel=2,
            )

    def _constant(self) -> bool:
        outputs = keras.ops.convert_to_numpy(self._whole(self._images, training=False))
        return float(np.ptp(outputs, axis=0).max()) < 1e-4

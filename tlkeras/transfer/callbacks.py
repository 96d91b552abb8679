"""Callbacks of a training: keep the best epoch of a phase; tell when a classifier answers the same to every image."""

import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlkeras import _files, graph

MODES = {  # which way is better, of Keras' own names and of our metrics; of no other name is it known
    **dict.fromkeys(("loss", "mean_absolute_error", "mean_squared_error"), "min"),
    **dict.fromkeys(("accuracy", "binary_accuracy", "categorical_accuracy", "sparse_categorical_accuracy"), "max"),
    **dict.fromkeys(("top_k_categorical_accuracy", "sparse_top_k_categorical_accuracy"), "max"),
    **dict.fromkeys(("auc", "f1_score", "precision", "recall", "roc_auc"), "max"),
}
_HDF5_BYTES = 4096  # about an array in a file, beside its values


class BestCheckpoint(keras.callbacks.Callback):
    """Save the weights of the best epoch of ONE training phase; make a new one for each phase.

    Keras' ModelCheckpoint, reused, keeps the first phase's best, and a monitor name that is not logged saves every
    epoch with no more than a warning. This one refuses both, and renames a finished file into place, so that a killed
    run leaves the last good weights.

    Args:
        path: ends in `.weights.h5`.
        monitor: a logged name, such as "val_accuracy".
        model: the whole model, when `fit` is called on a part of it (cached features).
        mode: "max" (more is better), "min", or "auto": what is known of `monitor`, see `MODES`.

    `best` is the best value so far, None before the first; a nan is never the best, nor is an epoch whose loss is one,
    whatever its accuracy: the first class is what a network of nan answers.

    Raises:
        ValueError: a wrong suffix, an unknown mode, "auto" for a name of which it is not known, or reuse for a second
            `fit`.
    """

    def __init__(
        self,
        path: Path | str,
        monitor: str = "val_accuracy",
        model: keras.Model | None = None,
        mode: str = "auto",
    ) -> None:
        super().__init__()
        self.path = Path(path)
        if not self.path.name.endswith(".weights.h5"):
            raise ValueError(f"Expected a path that ends in '.weights.h5'. Received: {path}")
        self.monitor, self.mode = monitor, direction(monitor, mode)
        self.best: float | None = None
        self._whole = model
        self._used = False

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuse a second use, and remove what a killed run left half written."""
        if self._used:
            raise ValueError(f"Expected a new BestCheckpoint for each phase. Received: one used before, {self.path}")
        self._used = True
        for partial in _files.leftovers(self.path):
            partial.unlink(missing_ok=True)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save if better; epochs without validation, and those with a loss of nan, are passed over."""
        logs = logs or {}
        value = logs.get(self.monitor)
        broken = any(math.isnan(logs.get(name, 0.0)) for name in ("loss", "val_loss"))
        if value is None or broken or not self._is_better(value):
            return
        model = self._whole or self.model
        with _files.replacing(self.path) as partial:
            # HDF5 2 ends the process with a segmentation fault on a full disk.
            _files.reserve(partial, sum(4 * math.prod(weight.shape) + _HDF5_BYTES for weight in model.weights))
            model.save_weights(partial)
        self.best = value

    def _is_better(self, value: float) -> bool:
        if math.isnan(value) or self.best is None:
            return not math.isnan(value)
        return value > self.best if self.mode == "max" else value < self.best


def direction(monitor: str, mode: str = "auto") -> str:
    """Return "max" if more of `monitor` is better, and "min" if less is.

    Args:
        monitor: a logged name, of training data or with "val_" before it.
        mode: "max" or "min", which is returned; "auto" knows the names of `MODES`.

    Raises:
        ValueError: another mode, or "auto" for another name.
    """
    if mode not in ("auto", "min", "max"):
        raise ValueError(f"Expected a mode out of 'auto', 'min' and 'max'. Received: mode={mode!r}")
    found = MODES.get(monitor.removeprefix("val_")) if mode == "auto" else mode
    if found is None:
        raise ValueError(
            "Expected mode='max' or mode='min', since the name does not tell which way is better. "
            f"Received: monitor={monitor!r}, mode={mode!r}"
        )
    return found


def check_monitor(model: keras.Model, monitor: str, *, validation: bool, more: Iterable[str] = ()) -> None:
    """Raise before training if `monitor` will not be among the logs.

    Args:
        model: a compiled model.
        monitor: the name to watch.
        validation: whether validation data will be given.
        more: further metrics, computed on validation data alone.

    Raises:
        ValueError: the name is not one of the loss, the metrics, or their `val_` forms.
    """
    metrics = (model.get_compile_config() or {}).get("metrics") or []
    names = ["loss"] + [metric if isinstance(metric, str) else metric["config"]["name"] for metric in metrics]
    if validation:
        names += [f"val_{name}" for name in (*names, *more)]
    if monitor not in names:
        raise ValueError(f"Expected a monitor out of {names}. Received: monitor={monitor!r}")


def fresh(callbacks: Any) -> Callable[[], list[keras.callbacks.Callback]]:
    """Return what gives the callbacks of each phase.

    Args:
        callbacks: such a function, which is returned; or a list of Keras callbacks. These get back, before each phase,
            the attributes that they are given with here. A list or dict that one fills keeps what it holds.

    Raises:
        ValueError: anything else.
    """
    if callable(callbacks):
        return callbacks
    callbacks = keras.tree.flatten(callbacks or [])
    wrong = [callback for callback in callbacks if not isinstance(callback, keras.callbacks.Callback)]
    if wrong:
        raise ValueError(f"Expected instances of Keras callbacks, or what makes them. Received: {wrong}")
    states = [dict(vars(callback)) for callback in callbacks]

    def again() -> list[keras.callbacks.Callback]:
        for callback, state in zip(callbacks, states, strict=True):
            vars(callback).clear()
            vars(callback).update(state)
        return callbacks

    return again


class Watched(keras.callbacks.CallbackList):
    """Callbacks that see a whole model while `fit` trains a part of it, so that they save, score and stop the whole.

    Args:
        callbacks: what gets each event.
        whole: compiled as the part is.
    """

    def __init__(self, callbacks: list[keras.callbacks.Callback], whole: keras.Model) -> None:
        super().__init__(callbacks)
        self._whole = whole

    def set_model(self, model: keras.Model) -> None:
        """Give the whole model to the callbacks, with metrics that `fit` would have built."""
        self._part = model
        if model is not None:
            super().set_model(self._whole)
            self._whole.stop_training = False
            graph.build_metrics(self._whole)

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Pass on, with the wish to stop."""
        super().on_train_batch_end(batch, logs)
        self._part.stop_training |= self._whole.stop_training

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Pass on, with the wish to stop."""
        for callback in self.callbacks:  # not on a copy, as Keras does: what one adds to the logs stays in them
            callback.on_epoch_end(epoch, logs)
        self._part.stop_training |= self._whole.stop_training


class CollapsedClassifierWarning(UserWarning):
    """The classifier gives every image the same probabilities; a smaller learning rate usually prevents it."""


class CollapseDetector(keras.callbacks.Callback):
    """Warn once when the loss is stuck at ln(classes) and the predictions do not depend on the image.

    Too high a rate can kill every ReLU before the head; what remains is its bias, hence the class frequencies.
    Seen with SqueezeNet on CIFAR-10 under Adam at 1e-3 with the right preprocessing (loss 2.3026, accuracy 0.1).

    Args:
        model: the whole classifier, softmax or logits out, or one sigmoid.
        images: a few raw images, at least 2, that are not all alike.
        tolerance: largest distance of the training loss from ln(classes), nats.
        stop: also end the training, which rarely recovers.

    `collapsed_at` is the first epoch (from 1) at whose end both held, or None.

    Raises:
        ValueError: fewer than 2 images.
    """

    def __init__(self, model: keras.Model, images: np.ndarray, tolerance: float = 0.01, stop: bool = False) -> None:
        super().__init__()
        if len(images) < 2:
            raise ValueError(f"Expected at least 2 images to tell apart. Received: {len(images)} images")
        self._whole, self._images, self._tolerance = model, images, tolerance
        self._stop = stop
        self._guessing = math.log(graph.num_classes(model))
        self.collapsed_at: int | None = None

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Look at the loss first, which costs nothing, then at the predictions."""
        loss = (logs or {}).get("loss", math.inf)
        stuck = abs(loss - self._guessing) <= self._tolerance
        if self.collapsed_at is None and stuck and self._is_constant():
            self.collapsed_at = epoch + 1
            if self._stop:
                self.model.stop_training = True
            warnings.warn(
                f"The classifier collapsed by epoch {epoch + 1}: loss {loss:.4f} is ln(classes), and every "
                "image gets the same answer. Train again with a smaller learning rate.",
                CollapsedClassifierWarning,
                stacklevel=2,
            )

    def _is_constant(self) -> bool:
        """Whether all images get the same answer."""
        outputs = keras.ops.convert_to_numpy(self._whole(self._images, training=False))
        return float(np.ptp(outputs, axis=0).max()) < 1e-4

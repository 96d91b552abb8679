"""Keep the best epoch: a ModelCheckpoint that is fresh for each phase, checked before training, and atomic."""

import os
from collections.abc import Iterable
from pathlib import Path

import keras


class BestCheckpoint(keras.callbacks.ModelCheckpoint):
    """Save the weights of the best epoch of ONE training phase; make a new one for each phase.

    Keras' own, reused, keeps the first phase's best, and a monitor name that is not logged saves every epoch with no
    more than a warning. This one refuses both, and renames a finished file into place, so that a killed run leaves
    the last good weights.

    Args:
        path: ends in `.weights.h5`.
        monitor: a logged name, such as "val_accuracy".
        model: the whole model, when `fit` is called on a part of it (cached features).

    Raises:
        ValueError: a wrong suffix, a monitor that will not be logged, or reuse for a second `fit`.
    """

    def __init__(self, path: Path | str, monitor: str = "val_accuracy", model: keras.Model | None = None) -> None:
        path = Path(path)
        if not path.name.endswith(".weights.h5"):
            raise ValueError(f"Expected a path that ends in '.weights.h5'. Received: {path}")
        self.path = path
        self._partial = path.with_name(path.name.replace(".weights.h5", ".partial.weights.h5"))
        self._whole = model
        self._used = False
        mode = "max" if any(word in monitor for word in ("acc", "auc")) else "min"
        super().__init__(self._partial, monitor=monitor, mode=mode, save_best_only=True, save_weights_only=True)

    def set_model(self, model: keras.Model) -> None:
        """Save the whole model where one was given, else the trained one."""
        super().set_model(self._whole or model)

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Refuse a second use and start with no best."""
        if self._used:
            raise ValueError(f"Expected a new BestCheckpoint for each phase. Received: one used before, {self.path}")
        self._used = True
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._partial.unlink(missing_ok=True)  # of a run that was killed

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Save if better; epochs without validation are passed over."""
        if self.monitor not in (logs or {}):
            return
        try:
            super().on_epoch_end(epoch, logs)
            if self._partial.exists():
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)


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

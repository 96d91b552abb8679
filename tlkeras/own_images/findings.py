"""What a study of one's own photographs found out, and how it is written down."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from scipy import stats as scipy_stats

from tlkeras import _files
from tlkeras.data.images import printable
from tlkeras.experiments import environment
from tlkeras.own_images.backbones import Backbone
from tlkeras.own_images.comparison import Candidate, Score
from tlkeras.own_images.folder import Collection
from tlkeras.transfer import strategies
from tlkeras.transfer.probe import reliability


@dataclass(eq=False)
class Adapted:
    """What was found out about a folder of photographs.

    `scores` are of the candidates that were run to the end, cheapest first, `rows` what `comparison.decide` says of
    them, `skipped` and `missing` name the candidates and backbones that were left out, with the reason.
    `probabilities` `(n, classes)` are the chosen candidate's for each training image, by models that had not seen it,
    mean over the repeats; `held_out` the finished model's for the further splits, or None. `duplicates` are the closest
    of `duplicate_count` pairs of images that show the same.
    """

    collection: Collection
    backbones: list[Backbone]
    missing: dict[str, str]
    features: Mapping[str, np.ndarray]
    advice: strategies.Advice
    transferability: list[dict]
    scores: list[Score]
    rows: list[dict]
    skipped: dict[str, str]
    chosen: Candidate
    probabilities: np.ndarray
    curve: dict[str, Any]
    duplicates: list[dict]
    duplicate_count: int
    settings: dict[str, Any]
    seconds: float = 0.0
    model: keras.Model | None = None
    held_out: np.ndarray | None = None
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray:
        """Labels of the training images, `(n,)`."""
        return self.collection.train.labels

    def calibration(self) -> dict[str, float]:
        """Return loss, Brier score and calibration error of `probabilities`, see `probe.reliability`."""
        return reliability(log_odds(self.probabilities), self.labels)

    def held_out_accuracy(self) -> dict[str, float] | None:
        """Return accuracy, its 95 % interval (Wilson) and n of the further splits; None without any."""
        if self.held_out is None or self.collection.held_out is None:
            return None
        right = self.held_out.argmax(1) == self.collection.held_out.labels
        low, high = scipy_stats.binomtest(int(right.sum()), len(right)).proportion_ci(method="wilson")
        return {"accuracy": float(right.mean()), "ci_low": float(low), "ci_high": float(high), "n": len(right)}


def log_odds(probabilities: np.ndarray) -> np.ndarray:
    """Return the log-odds that `probe.reliability` takes: of class 1 for two classes, of each class for more."""
    logs = np.log(np.maximum(probabilities, np.finfo(np.float32).tiny))
    return logs[:, 1] - logs[:, 0] if logs.shape[1] == 2 else logs


def describe(adapted: Adapted, path: Path | str) -> dict[str, Any]:
    """Return everything that is needed to do it again, and what came of it."""
    model = adapted.files.get("model.keras")
    return {
        "command": _command(adapted, path, model.parent if model else None),
        "folder": printable(path),
        "name": adapted.collection.name,
        "fingerprint": adapted.collection.fingerprint,
        "stand_in": adapted.collection.stand_in,
        "class_names": list(adapted.collection.class_names),
        "counts": adapted.collection.counts(),
        "problems": list(adapted.collection.problems),
        "side": adapted.chosen.side,
        "backbones": [vars(backbone) for backbone in adapted.backbones],
        "missing": adapted.missing,
        "settings": adapted.settings,
        "advice": vars(adapted.advice),
        "transferability": adapted.transferability,
        "candidates": adapted.rows,
        "skipped": adapted.skipped,
        "chosen": adapted.chosen.name,
        "calibration": adapted.calibration(),
        "held_out": adapted.held_out_accuracy(),
        "learning_curve": adapted.curve,
        "near_duplicates": adapted.duplicates,
        "near_duplicate_count": adapted.duplicate_count,
        "seconds": round(adapted.seconds, 1),
        "model_sha256": _files.file_digest(model) if model else None,
        **environment.describe(),
    }


def _command(adapted: Adapted, path: Path | str, out: Path | None) -> str:
    """Return what a shell is given to do it again; `out` is the folder that was written, or None."""
    settings = adapted.settings
    words = ["python", "-m", "tlkeras", "adapt", printable(path), *(["--out", printable(out)] if out else [])]
    words += ["--budget", f"{settings['budget']:g}", "--repeats", str(settings["repeats"])]
    words += ["--seed", str(settings["seed"])]
    return shlex.join(words + [word for backbone in adapted.backbones for word in ("--backbone", backbone.network)])


def prediction_rows(adapted: Adapted) -> list[dict[str, Any]]:
    """Return a row for each image: file, set, label, predicted, right, and the probability of each class.

    Training images have the probabilities of models that had not seen them.
    """
    collection = adapted.collection
    both = [("cross-validated", collection.train, adapted.probabilities)]
    if collection.held_out is not None and adapted.held_out is not None:
        both.append(("held out", collection.held_out, adapted.held_out))
    names = collection.class_names
    return [
        {
            "file": file,
            "set": part,
            "label": names[label],
            "predicted": names[int(chances.argmax())],
            "right": bool(chances.argmax() == label),
            **{f"probability_{name}": round(float(chance), 5) for name, chance in zip(names, chances, strict=True)},
        }
        for part, photographs, probabilities in both
        for file, label, chances in zip(photographs.files, photographs.labels, probabilities, strict=True)
    ]

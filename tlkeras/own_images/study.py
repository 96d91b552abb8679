"""From a folder of photographs to a chosen, tested and saved model: what `adapt PATH` and notebook 00 do."""

import csv
import hashlib
import json
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from tlkeras import _files
from tlkeras.data.images import NotAnImageError, decode_image, squares, visible
from tlkeras.experiments import environment
from tlkeras.models import portable
from tlkeras.own_images import backbones as backbones_file
from tlkeras.own_images import comparison, folder, page
from tlkeras.own_images.backbones import Backbone
from tlkeras.own_images.comparison import Candidate, Folds, Score
from tlkeras.own_images.findings import Adapted, describe, prediction_rows
from tlkeras.own_images.folder import Collection
from tlkeras.transfer import strategies, transferability

_SHARES = (0.1, 0.2, 0.4, 0.7, 1.0)  # of the training images of a fold, for the learning curve
NEEDED_BYTES = 200 * 2**20  # on the disk of the output: the model, the report, and what is kept of the comparison
_LONGER_SIDE = 256  # pixels of the shorter side to which larger photographs are shrunk


class InterruptedStudy(RuntimeError):
    """Somebody pressed Ctrl-C; the message says what is kept and how to go on."""


def adapt_images(
    path: Path | str,
    out: Path | str | None = "own_images",
    *,
    backbones: Sequence[str] | None = None,
    budget: float = 5.0,
    repeats: int = 2,
    seed: int = 0,
) -> Adapted:
    """Find the way to classify photographs that is decided to be the best, and save a model of it.

    Ways are compared by repeated stratified cross-validation on the same folds: linear probes of every backbone, of all
    together, and fine-tuning of the uppermost layers as far as the time allows. The cheapest is chosen, unless another
    is better at p < 0.05 (see `comparison.decide`). Features are computed once for each image and backbone, and kept
    between calls. Called again with the same arguments after an interruption, it goes on where it was.

    Args:
        path: of a folder `class/image` or `split/class/image`, or the name of a data set of images.
        out: folder for model.keras, predictions.csv, run.json and report.html; None writes nothing.
        backbones: networks out of "squeezenet", "alexnet", "vgg16"; None is every one that can be had.
        budget: minutes after which no further fine-tuning begins; probes are always run.
        repeats: how often the images are dealt into five folds.
        seed: of the folds and of the training.

    Returns:
        What was found out; `files` are the paths that were written.

    Raises:
        FolderError: no classifier can be trained on what is there; the message says what to change.
        ValueError: an unknown backbone, no repeats, or a budget that is negative or not finite.
        WeightsUnavailableError: no backbone can be had.
        OSError: the output cannot be written, or there is not enough space; nothing is half written.
        InterruptedStudy: Ctrl-C.
    """
    started = time.perf_counter()
    if repeats < 1 or not 0 <= budget < math.inf:  # JSON has no infinity
        raise ValueError(
            f"Expected at least one repeat, and a finite budget of 0 or more. Received: {repeats}, {budget}"
        )
    folder_out = None if out is None else Path(out)
    if folder_out:
        _check_output(folder_out)
    collection = folder.read(path)
    found, missing = backbones_file.available(backbones)
    labels, deadline = collection.train.labels, started + 60 * budget
    parts = comparison.folds(labels, repeats=repeats, seed=seed)
    features, scores, skipped = _compared(collection, found, parts, deadline, seed, folder_out)
    chosen, rows = comparison.decide(scores, {one.candidate.name: one.accuracies(labels, parts) for one in scores})
    ranked = _transferability(found, features, labels)
    duplicates, duplicate_count = _duplicates(collection)
    adapted = Adapted(
        collection=collection,
        backbones=found,
        missing=missing,
        features=features,
        advice=strategies.recommend(min(collection.counts().values()), max(row["similarity"] for row in ranked)),
        transferability=ranked,
        scores=scores,
        rows=rows,
        skipped=skipped,
        chosen=chosen,
        probabilities=next(score for score in scores if score.candidate is chosen).probabilities.mean(0),
        curve=_learning_curve(chosen, features, labels, parts[0], seed=seed),
        duplicates=duplicates,
        duplicate_count=duplicate_count,
        settings={"budget": budget, "repeats": repeats, "seed": seed},
    )
    _finish(adapted, seed)
    adapted.seconds = time.perf_counter() - started
    if folder_out:
        _write(adapted, folder_out, path)
    return adapted


def _compared(
    collection: Collection,
    found: Sequence[Backbone],
    parts: Folds,
    deadline: float,
    seed: int,
    out: Path | None,
) -> tuple[dict[str, np.ndarray], list[Score], dict[str, str]]:
    """Run every candidate for which there is time.

    Returns:
        The features of the training images by network; the scores of the candidates that were run to the end; and
        the others, with the reason.
    """
    plan = comparison.candidates(found)
    total = len(found) * len(collection.train) + len(plan) * len(parts) * comparison.FOLDS
    try:
        with environment.no_retracing_warnings(), _files.progress(None, "features", total=total, unit="step") as bar:
            features = {
                backbone.network: backbones_file.features(backbone, collection.train, told=bar.update)
                for backbone in found
            }
            bar.set_description("comparing")
            study = _Comparison(collection, features, parts, deadline, seed, out, bar)
            scores = [score for candidate in plan if (score := study.score(candidate, found))]
    except KeyboardInterrupt:
        kept = f" and {out / 'finished'}" if out else ""
        raise InterruptedStudy(
            f"Interrupted. What was computed is kept in {backbones_file.home() / 'features'}{kept}; "
            "the same call goes on from there."
        ) from None
    return features, scores, study.skipped


def _duplicates(collection: Collection) -> tuple[list[dict], int]:
    """Return pairs that show the same, among the images to train on and between them and the held out, and the count.

    Of each kind they are the closest, see `folder.near_duplicates`.
    """
    train, held_out = collection.train, collection.held_out
    among, count = folder.near_duplicates(train)
    between, further = folder.near_duplicates(train, held_out) if held_out else ([], 0)
    return among + between, count + further


def _finish(adapted: Adapted, seed: int) -> None:
    """Train the chosen way on all training images, and ask it for the held-out ones."""
    collection, chosen = adapted.collection, adapted.chosen
    model = comparison.finished(chosen, collection.train, adapted.features, collection.class_names, seed=seed)
    adapted.model = portable(model)
    if collection.held_out:
        adapted.held_out = comparison.predicted(adapted.model, collection.held_out.squares(chosen.side))


class _Comparison:
    """Runs candidates fold by fold, keeps each fold as it is finished, and minds the time."""

    def __init__(
        self,
        collection: Collection,
        features: Mapping[str, np.ndarray],
        parts: Folds,
        deadline: float,
        seed: int,
        out: Path | None,
        bar: tqdm,
    ) -> None:
        self.collection, self.features, self.parts, self.deadline = collection, features, parts, deadline
        self.seed, self.out, self.bar = seed, out, bar
        self.skipped: dict[str, str] = {}

    def score(self, candidate: Candidate, found: Sequence[Backbone]) -> Score | None:
        """Return what a candidate says of each image, or None where the time does not suffice for it."""
        path = self._path(candidate, found)
        score = self._kept(candidate, path)
        for repeat, members in enumerate(self.parts):
            for inside, outside in members:
                if np.isnan(score.probabilities[repeat, outside]).any():
                    if not self._affordable(score):
                        self.bar.update(int(np.isnan(score.probabilities[..., 0]).any(1).sum()) * comparison.FOLDS)
                        return None
                    started = time.perf_counter()
                    score.probabilities[repeat, outside] = comparison.predict_fold(
                        candidate, self.collection.train, self.features, inside, outside, seed=self.seed + repeat
                    )
                    score.seconds += time.perf_counter() - started
                    if path:
                        kept = {"probabilities": score.probabilities, "seconds": np.array(score.seconds)}
                        _files.write_arrays(path, {"of": np.array(path.name), **kept})
                self.bar.update(1)
        return score

    def _affordable(self, score: Score) -> bool:
        """Return whether the folds that are left end in time: by those that are done, or an estimate; a probe does."""
        candidate = score.candidate
        if candidate.strategy == "probe":
            return True
        folds = len(self.parts) * comparison.FOLDS
        done = round(folds * float(np.mean(~np.isnan(score.probabilities[..., 0]))))
        left = self.deadline - time.perf_counter()
        if done:
            each = score.seconds / done
        elif left > 0:
            images = len(self.collection.train) * (comparison.FOLDS - 1) // comparison.FOLDS
            each = comparison.expected_seconds(candidate, images, len(self.collection.class_names))
        else:
            each = np.inf
        if each * (folds - done) <= left:
            return True
        told = f", about {each * (folds - done) / 60:.1f} minutes needed" if np.isfinite(each) else ""
        self.skipped[candidate.name] = f"no time{told}, {max(left, 0) / 60:.1f} of the budget left"
        return False

    def _path(self, candidate: Candidate, found: Sequence[Backbone]) -> Path | None:
        """Return where the folds of a candidate are kept; another folder, seed or network has another name."""
        if self.out is None:
            return None
        weights = [backbone.fingerprint for backbone in candidate.backbones]
        named = [self.collection.fingerprint, candidate.name, weights, self.seed, len(self.parts)]
        named += [comparison.EPOCHS, comparison.HEAD_EPOCHS] if candidate.strategy != "probe" else []
        digest = hashlib.sha256(json.dumps(named).encode()).hexdigest()[:12]
        return self.out / "finished" / f"{digest}.npz"

    def _kept(self, candidate: Candidate, path: Path | None) -> Score:
        shape = (len(self.parts), len(self.collection.train), len(self.collection.class_names))
        if path and path.exists():
            try:
                stored = _files.read_arrays(path)
                if stored["probabilities"].shape == shape and str(stored.get("of", path.name)) == path.name:
                    return Score(candidate, stored["probabilities"], float(stored["seconds"]))
            except (ValueError, KeyError):
                pass  # damaged, or another candidate's: computed again
        return Score(candidate, np.full(shape, np.nan), 0.0)


def _transferability(found: Sequence[Backbone], features: Mapping[str, np.ndarray], labels: np.ndarray) -> list[dict]:
    """Return LogME and similarity of each backbone, the most promising first."""
    rows = [
        {
            "backbone": backbone.network,
            "weights": backbone.weights,
            "stand_in": backbone.stand_in,
            "logme": transferability.logme(features[backbone.network], labels),
            "similarity": transferability.similarity(features[backbone.network], labels),
        }
        for backbone in found
    ]
    return sorted(rows, key=lambda row: -row["logme"])


def _learning_curve(
    candidate: Candidate,
    features: Mapping[str, np.ndarray],
    labels: np.ndarray,
    members: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    seed: int,
) -> dict[str, Any]:
    """Return the accuracy of a probe with fewer images, and what twice as many would bring if it goes on like this.

    Args:
        candidate: whose networks are probed as they are, even if it fine-tunes them.
        features: of all images, by network.
        labels: `(n,)`.
        members: the folds of one repeat.
        seed: of the smaller draws.

    Returns:
        "of" (the name of the probe), "rows" (images, accuracy), and "forecast", see `_forecast`.
    """
    rows = comparison.joined(features, candidate.backbones)
    sizes, wrong = np.zeros(len(_SHARES)), np.zeros((len(members), len(_SHARES)))
    generator = np.random.default_rng(seed)
    for fold, (inside, outside) in enumerate(members):
        shuffled = generator.permutation(inside)
        for column, share in enumerate(_SHARES):
            drawn = _share(shuffled, labels, share)
            probe = comparison.fit_probe([rows[drawn]], labels[drawn], seed=seed)
            chances = probe.probabilities([rows[outside]])
            wrong[fold, column] = np.mean(chances.argmax(1) != labels[outside])
            sizes[column] += len(drawn) / len(members)
    return {
        "of": comparison.probe_of(candidate.backbones),
        "rows": [
            {"images": round(n), "accuracy": float(1 - error)} for n, error in zip(sizes, wrong.mean(0), strict=True)
        ],
        "forecast": _forecast(sizes, wrong, len(labels)),
    }


def _forecast(sizes: np.ndarray, wrong: np.ndarray, images: int) -> dict[str, Any]:
    """Return what twice as many images would bring: images, accuracy, and a rough range of it, ci_low and ci_high.

    Errors fall as a power of the number of images, fitted by least squares on logarithms, or stay at their mean. The
    range is that of the forecasts of single folds; it knows nothing of a curve that is no power.

    Args:
        sizes: of the training sets, `(sizes,)`.
        wrong: the share of wrong images, `(folds, sizes)`.
        images: in all folds together.
    """
    forecast, *by_fold = (1 - _power_law(sizes, errors, images, 2 * images) for errors in (wrong.mean(0), *wrong))
    low, high = comparison.accuracy_interval(np.array(by_fold), images)
    return {
        "images": 2 * images,
        "accuracy": forecast,
        "ci_low": min(low, forecast),
        "ci_high": max(high, forecast),
    }


def _share(members: np.ndarray, labels: np.ndarray, share: float) -> np.ndarray:
    """Return the first images of each class, a share of them but at least two."""
    parts = [members[labels[members] == label] for label in np.unique(labels)]
    return np.concatenate([part[: max(2, round(share * len(part)))] for part in parts])


def _power_law(sizes: np.ndarray, errors: np.ndarray, images: int, wanted: int) -> float:
    """Return the error at `wanted` images by a power law, or the mean of errors that rise.

    Without any error, half an image counts as wrong.
    """
    errors = np.maximum(errors, 0.5 / images)
    slope, level = np.polyfit(np.log(sizes), np.log(errors), 1)
    return float(errors.mean() if slope > 0 else np.exp(level + slope * np.log(wanted)))


def _check_output(out: Path) -> None:
    """Find out before hours of training whether the output can be written.

    Raises:
        OSError: a file is in the way, the folder cannot be written, or the disk is too full.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"Expected a folder for the output. Received: {out}, which is a file")
    _files.check_writable(out)
    if (free := shutil.disk_usage(out).free) < NEEDED_BYTES:
        raise OSError(f"Expected {NEEDED_BYTES >> 20} MiB free for the output in {out}. Received: {free >> 20} MiB")


def _write(adapted: Adapted, out: Path, path: Path | str) -> None:
    """Write model.keras, predictions.csv, run.json and report.html, each whole or not at all."""
    assert adapted.model is not None, "a study that is written has a model"
    adapted.files = {name: out / name for name in ("model.keras", "predictions.csv", "run.json", "report.html")}
    for written in (*adapted.files.values(), out / "finished" / "*.npz"):
        for leftover in _files.leftovers(written):  # of a study that was killed
            leftover.unlink(missing_ok=True)
    with _files.replacing(adapted.files["model.keras"]) as partial:
        adapted.model.save(partial)
    with _files.replacing(adapted.files["predictions.csv"]) as partial:
        _write_rows(partial, prediction_rows(adapted))
    record = describe(adapted, path)
    _files.write_text(adapted.files["run.json"], json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    _files.write_text(adapted.files["report.html"], page.render(adapted, record))


def _write_rows(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def predict(model: Path | str, images: Sequence[Path | str]) -> list[dict[str, Any]]:
    """Classify image files by a model that `adapt_images` saved.

    Args:
        model: the .keras file, or its folder; run.json beside it has the names of the classes.
        images: files, or folders of files, whose hidden ones are passed over as in a folder to train on.

    Returns:
        A row of each: file, predicted, probability (0..1); or file and problem, where it is no image.

    Raises:
        ValueError: no model there, a damaged one, a run.json of another model, or no images.
    """
    path = Path(model) / "model.keras" if Path(model).is_dir() else Path(model)
    files = [file for image in images for file in _files_in(Path(image))]
    if not path.is_file() or not files:
        raise ValueError(f"Expected a saved model, and images. Received: {str(path)!r}, {len(files)} images")
    try:
        network = keras.models.load_model(path)
    except Exception as error:  # zipfile, HDF5 and Keras raise almost anything, by the kind of damage
        raise ValueError(
            f"Expected a saved model ({type(error).__name__}: {error}). Received: {str(path)!r}"
        ) from error
    side, classes = network.input_shape[1], network.output_shape[-1]
    beside = path.with_name("run.json")
    names = _class_names(beside, path) if beside.exists() else range(classes)
    rows: list[dict[str, Any]] = []
    for file in _files.progress(files, "predicting"):
        try:
            image = decode_image(file.read_bytes(), _LONGER_SIDE)
        except (NotAnImageError, OSError) as error:
            rows.append({"file": str(file), "problem": str(error)})
            continue
        (chances,) = comparison.predicted(network, squares([image], side))
        best = int(chances.argmax())
        rows.append({"file": str(file), "predicted": str(names[best]), "probability": round(float(chances[best]), 5)})
    return rows


def _class_names(record: Path, model: Path) -> list[str]:
    """Return the classes that a run.json names; after a kill, it may still be of the study before.

    Raises:
        ValueError: it is of another model, or damaged.
    """
    try:
        stored = json.loads(record.read_text(encoding="utf-8"))
        if stored["model_sha256"] != _files.file_digest(model):
            raise ValueError("it is of another")
        return stored["class_names"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"Expected the record of this model ({type(error).__name__}: {error}): run adapt again. "
            f"Received: {str(record)!r}"
        ) from error


def _files_in(path: Path) -> list[Path]:
    return [file for file in visible(path) if file.is_file()] if path.is_dir() else [path]

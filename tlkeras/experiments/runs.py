"""Seeded, resumable runs in an atomic result store."""

import contextlib
import dataclasses
import datetime
import gc
import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm.auto import tqdm

from tlkeras.data import home

PROFILES = ("smoke", "quick", "paper")
PACKAGES = ("keras", "tensorflow", "numpy", "tlkeras")
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclasses.dataclass(frozen=True)
class Result:
    """What a report's `run` returns: metrics, curves, and where data and weights came from."""

    metrics: dict[str, float]
    history: dict[str, list] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


def profile(name: str | None = None) -> str:
    """Return `name`, else TLKERAS_PROFILE, else "quick".

    Raises:
        ValueError: not one of `PROFILES`.
    """
    name = name or os.environ.get("TLKERAS_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"Expected a profile out of {PROFILES}. Received: {name!r}")
    return name


def results_folder(profile_name: str) -> Path | None:
    """Return where runs of a profile are kept.

    TLKERAS_RESULTS if it is set; else `results/` of the repository for paper runs, the cache for quick ones, and
    nowhere for smoke runs, whose numbers mean nothing.
    """
    if os.environ.get("TLKERAS_RESULTS"):
        return Path(os.environ["TLKERAS_RESULTS"])
    return {"paper": REPOSITORY / "results", "quick": home() / "results", "smoke": None}[profile_name]


def describe() -> dict[str, Any]:
    """Return versions, device, commit and date, as stored with every run."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
        "device": _device(),
        "commit": _commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def run_key(settings: dict[str, Any], inputs: Iterable[dict[str, Any]]) -> str:
    """Return 12 hex digits over the settings and the fingerprints of data and weights: what a result depends on."""
    content = {"settings": settings, "inputs": [item["fingerprint"] for item in inputs]}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def study(
    report: ModuleType,
    arms: Sequence[str] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    profile_name: str | None = None,
) -> list[dict[str, Any]]:
    """Run every arm with every seed, seed by seed, skipping what is stored; a failure loses no finished run.

    Args:
        report: a module of `tlkeras.reports`, with NAME, ARMS, `settings`, `inputs`, `seeds` and `run`.
        arms: names out of `report.ARMS`; None means all.
        seeds: how many (0, 1, ...) or which; None means the profile's number.
        profile_name: None means TLKERAS_PROFILE.

    Returns:
        The stored runs of these arms and seeds, in order of arms, then seeds.

    Raises:
        ValueError: an unknown arm or profile, or no seeds.
    """
    name = profile(profile_name)
    arms = list(report.ARMS) if arms is None else list(arms)
    unknown = [arm for arm in arms if arm not in report.ARMS]
    if unknown:
        raise ValueError(f"Expected arms out of {list(report.ARMS)}. Received: {unknown}")
    seeds = report.seeds(name) if seeds is None else seeds
    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    if not seeds:
        raise ValueError(f"Expected at least one seed. Received: {seeds}")
    found = {}
    jobs = [(arm, seed) for seed in seeds for arm in arms]
    for arm, seed in tqdm(
        jobs, desc=f"{report.NAME} ({name})", unit="run", disable=bool(os.environ.get("TQDM_DISABLE")) or None
    ):
        found[arm, seed] = run_once(report, arm, seed, name)
    return [found[arm, seed] for arm in arms for seed in seeds]


def run_once(report: ModuleType, arm: str, seed: int, profile_name: str) -> dict[str, Any]:
    """Return the stored run, or run it and store it."""
    settings = report.settings(arm, profile_name)
    inputs = report.inputs(settings)
    as_dict = dataclasses.asdict(settings)
    folder = results_folder(profile_name)
    path = folder and folder / report.NAME / arm / run_key(as_dict, inputs["data"] + inputs["weights"]) / f"{seed}.json"
    if path and path.exists():
        return {**json.loads(path.read_text()), "profile": profile_name}  # same settings: a run of this profile too
    started = time.perf_counter()
    result = isolated_run(report, settings, seed)
    run = {
        "report": report.NAME, "arm": arm, "seed": seed, "profile": profile_name, "settings": as_dict,
        "metrics": {name: round(value, 6) for name, value in result.metrics.items()},
        **inputs, "wall_seconds": round(time.perf_counter() - started, 2), "peak_memory_mib": peak_memory_mib(),
        **describe(), "details": result.details, "history": result.history,
    }  # fmt: skip
    if path:
        write_json(path, run)
    return run


def isolated_run(report: ModuleType, settings: Any, seed: int) -> Result:
    """Call `report.run` and free what it leaves in TensorFlow's and Keras' global state; nothing is stored."""
    with _no_retracing_warnings(), _bounded_memory():
        return report.run(settings, seed)


def write_json(path: Path, content: object) -> None:
    """Write compact JSON atomically."""
    write_text(path, json.dumps(content, separators=(",", ":")) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write under a temporary name, then rename: an interrupted run leaves nothing behind that counts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_runs(report: ModuleType, profile_name: str = "paper", arms: Sequence[str] | None = None) -> list[dict]:
    """Return the stored runs whose settings are those of today's arms, in order of arms, then seeds.

    Of several runs of one seed (other data or weights, such as a stand-in before the real data came) the newest counts.
    """
    folder = results_folder(profile_name)
    found = []
    for arm in report.ARMS if arms is None else arms:
        current = json.loads(json.dumps(dataclasses.asdict(report.settings(arm, profile_name))))
        paths = (folder / report.NAME / arm).glob("*/*.json") if folder else ()
        stored = [json.loads(path.read_text()) for path in paths]
        stored.sort(key=lambda run: run["date"])
        newest = {run["seed"]: {**run, "profile": profile_name} for run in stored if run["settings"] == current}
        found += [newest[seed] for seed in sorted(newest)]
    return found


@contextlib.contextmanager
def _no_retracing_warnings() -> Iterator[None]:
    """Keep TensorFlow from warning of retracing: every run builds a new model on purpose."""
    logger = logging.getLogger("tensorflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    """Free what TensorFlow and Keras keep of a run.

    Each compiled `fit` registers a custom gradient (the optimizer's all-reduce) for ever, and with it the model's
    graphs: about 10 MiB a run of even a tiny network. What was registered meanwhile is forgotten here.
    """
    import keras  # late: tables and tests need no Keras
    from tensorflow.python.framework import ops  # no public way; guarded, since it may move

    registry = getattr(getattr(ops, "gradient_registry", None), "_registry", {})
    before = set(registry)
    try:
        yield
    finally:
        for name in [name for name in registry if name.startswith("CustomGradient-") and name not in before]:
            del registry[name]
        keras.utils.clear_session(free_memory=False)
        gc.collect()


def peak_memory_mib() -> float | None:
    """Return the largest resident size of this process so far in MiB; None where the system does not tell."""
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    kibibytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if platform.system() == "Darwin" else 1)
    return round(kibibytes / 1024, 1)


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device() -> str:
    import tensorflow as tf  # late: tables and tests need no TensorFlow

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return ", ".join(gpus) or f"CPU, {os.cpu_count()} cores, {platform.machine()}"


def _commit() -> str | None:
    command = ["git", "-C", str(REPOSITORY), "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or None

"""Seeded, resumable runs in an atomic result store."""

import dataclasses
import functools
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm.auto import tqdm

from tlkeras.data import home
from tlkeras.experiments import environment, executors
from tlkeras.experiments.environment import REPOSITORY

PROFILES = ("smoke", "quick", "paper")


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


def results_folder(profile_name: str, stand_in: bool = False) -> Path | None:
    """Return where runs of a profile are kept.

    TLKERAS_RESULTS if it is set; else `results/` of the checkout for paper runs on real data, the cache for quick
    ones, for paper runs on stand-ins and for an installed package, and nowhere for smoke runs, whose numbers mean
    nothing.
    """
    if os.environ.get("TLKERAS_RESULTS"):
        return Path(os.environ["TLKERAS_RESULTS"])
    if profile_name == "smoke":
        return None
    checkout = (REPOSITORY / "pyproject.toml").exists()
    return REPOSITORY / "results" if profile_name == "paper" and checkout and not stand_in else home() / "results"


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
    execute: executors.Execute = executors.in_process,
) -> list[dict[str, Any]]:
    """Run every arm with every seed, seed by seed, skipping what is stored; a failure loses no finished run.

    Args:
        report: a module of `tlkeras.reports`, with NAME, ARMS, `settings`, `inputs`, `seeds` and `run`.
        arms: names out of `report.ARMS`; None means all.
        seeds: how many (0, 1, ...) or which; None means the profile's number.
        profile_name: None means TLKERAS_PROFILE.
        execute: where what is not stored is computed, see `executors`.

    Returns:
        The stored runs of these arms and seeds, in order of arms, then seeds.

    Raises:
        ValueError: an unknown arm or profile, or no seeds.
    """
    name = profile(profile_name)
    arms = [arms] if isinstance(arms, str) else list(report.ARMS if arms is None else arms)
    unknown = [arm for arm in arms if arm not in report.ARMS]
    if unknown:
        raise ValueError(f"Expected arms out of {list(report.ARMS)}. Received: {unknown}")
    wanted = {arm: _seeds(report, arm, seeds, name) for arm in arms}
    jobs = [(arm, seed) for seed in dict.fromkeys(sum(wanted.values(), [])) for arm in arms if seed in wanted[arm]]
    found = {job: run for job in jobs if (run := _stored(report, *job, name))}
    missing = [job for job in jobs if job not in found]
    quiet = bool(os.environ.get("TQDM_DISABLE")) or None
    with tqdm(desc=f"{report.NAME} ({name})", unit="run", total=len(jobs), initial=len(found), disable=quiet) as bar:
        for job, run in execute(functools.partial(_computed, report, name), missing):
            found[job] = run
            _store(report, run)
            bar.update()
    return [found[arm, seed] for arm in arms for seed in wanted[arm]]


def _seeds(report: ModuleType, arm: str, given: int | Iterable[int] | None, profile_name: str) -> list[int]:
    """Return the seeds of an arm; a report whose arms need other numbers has `arm_seeds(arm, profile)`, too."""
    if given is None:
        own = getattr(report, "arm_seeds", None)
        given = own(arm, profile_name) if own else report.seeds(profile_name)
    seeds = list(range(given)) if isinstance(given, int) else list(given)
    if not seeds:
        raise ValueError(f"Expected at least one seed. Received: seeds={given}")
    return seeds


def _stored(report: ModuleType, arm: str, seed: int, profile_name: str) -> dict[str, Any] | None:
    settings = report.settings(arm, profile_name)
    path = _path(report, arm, seed, profile_name, dataclasses.asdict(settings), report.inputs(settings))
    if path is None or not path.exists():
        return None
    return {**json.loads(path.read_text()), "profile": profile_name}  # same settings: a run of this profile too


def _computed(report: ModuleType, profile_name: str, job: executors.Job) -> dict[str, Any]:
    arm, seed = job
    if run := _stored(report, arm, seed, profile_name):  # by another process, meanwhile
        return run
    settings = report.settings(arm, profile_name)
    inputs = report.inputs(settings)
    started = time.perf_counter()
    result = isolated_run(report, settings, seed)
    return {
        "report": report.NAME, "arm": arm, "seed": seed, "profile": profile_name,
        "settings": dataclasses.asdict(settings),
        "metrics": {name: round(value, 6) for name, value in result.metrics.items()}, **inputs,
        "wall_seconds": round(time.perf_counter() - started, 2), "peak_memory_mib": environment.peak_memory_mib(),
        **environment.describe(), "details": result.details, "history": result.history,
    }  # fmt: skip


def _path(
    report: ModuleType, arm: str, seed: int, profile_name: str, settings: dict[str, Any], inputs: Mapping[str, Any]
) -> Path | None:
    """Return the file of a run, None where runs of this profile are not kept."""
    folder = results_folder(profile_name, stand_in=_on_stand_in(inputs))
    return (
        folder and folder / report.NAME / arm / run_key(settings, inputs["data"] + inputs["weights"]) / f"{seed}.json"
    )


def _on_stand_in(inputs: Mapping[str, Any]) -> bool:
    return any(item.get("stand_in") for item in inputs["data"] + inputs["weights"])


def _store(report: ModuleType, run: dict[str, Any]) -> None:
    path = _path(report, run["arm"], run["seed"], run["profile"], run["settings"], run)
    if path is None or path.exists():
        return
    try:
        write_json(path, run)
    except OSError as error:  # a read-only or full disk must not cost the run
        warnings.warn(f"Runs are not stored ({error}); TLKERAS_RESULTS names another folder.", stacklevel=2)


def isolated_run(report: ModuleType, settings: Any, seed: int) -> Result:
    """Call `report.run` and free what it leaves in TensorFlow's and Keras' global state; nothing is stored."""
    with environment.no_retracing_warnings(), environment.bounded_memory():
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

    The runs of an arm all have the same data and weights: real ones before stand-ins, then what was run last.
    """
    folder = results_folder(profile_name)
    found = []
    for arm in report.ARMS if arms is None else arms:
        current = json.loads(json.dumps(dataclasses.asdict(report.settings(arm, profile_name))))
        paths = (folder / report.NAME / arm).glob("*/*.json") if folder else ()
        stored = [run for run in (json.loads(path.read_text()) for path in paths) if run["settings"] == current]
        found += [{**run, "profile": profile_name} for run in _same_inputs(stored)]
    return found


def _same_inputs(stored: Sequence[Mapping]) -> list[Mapping]:
    """Return the runs of the best inputs among `stored`, one a seed, by seed."""
    groups: dict[str, list[Mapping]] = {}
    for run in sorted(stored, key=lambda run: run["date"]):
        groups.setdefault(run_key({}, run["data"] + run["weights"]), []).append(run)
    ranked = sorted(groups.values(), key=lambda runs: (not _on_stand_in(runs[-1]), runs[-1]["date"]))
    newest = {run["seed"]: run for run in (ranked[-1] if ranked else ())}
    return [newest[seed] for seed in sorted(newest)]

"""Seeded, resumable runs in an atomic result store, and the collections that tables and figures are made from."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from tlkeras._files import check_writable, leftovers, progress, untold, write_json
from tlkeras.data import home
from tlkeras.experiments import environment, executors, journal
from tlkeras.experiments.environment import REPOSITORY
from tlkeras.experiments.report import Inputs, Report, Result, Settings, as_stored, defaults, in_profile

WAIT_SECONDS = 1  # before the second look at what other processes have in hand; then twice as long each time
_LONGEST_WAIT_SECONDS = 60  # each look may start processes
_LARGEST = 1e300  # of a metric
_NUMBER, _TEXT = (int, float, type(None)), (str, type(None))
_KINDS: dict[str, Any] = {  # of the fields of a run's file
    **{"report": str, "arm": str, "seed": int, "profile": str, "settings": dict, "metrics": dict, "data": list},
    **{"weights": list, "wall_seconds": _NUMBER, "peak_memory_mib": _NUMBER, "versions": dict, "device": str},
    **{"threads": _NUMBER, "commit": _TEXT, "date": str, "details": dict, "history": dict},
}


class DamagedRunError(ValueError):
    """A file of the result store is no run; the message says why, and ends with the path."""


class DamagedRunWarning(UserWarning):
    """Files or metrics of the result store are set aside; the message names them. The files stay as they are."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One finished run: one arm, one seed. The fields are those of its file, in order."""

    report: str
    arm: str
    seed: int
    profile: str
    settings: dict[str, Any]
    metrics: dict[str, float]
    data: list[dict[str, Any]]
    weights: list[dict[str, Any]]
    wall_seconds: float | None = None
    peak_memory_mib: float | None = None
    versions: dict[str, str | None] = dataclasses.field(default_factory=dict)
    device: str = ""
    threads: int | None = None  # of an operation; not known of older runs
    commit: str | None = None
    date: str = ""
    details: dict[str, Any] = dataclasses.field(default_factory=dict)
    history: dict[str, list] = dataclasses.field(default_factory=dict)

    @classmethod
    def from_json(cls, content: Any) -> Run:
        """Return the run of a file's content.

        Raises:
            ValueError: it is no object, lacks a field that has no default, or one is of another kind.
        """
        if not isinstance(content, dict):
            raise ValueError(f"Expected a JSON object. Received: {type(content).__name__}")
        known = {field.name: content[field.name] for field in dataclasses.fields(cls) if field.name in content}
        lacking = [field.name for field in dataclasses.fields(cls) if _needed(field) and field.name not in known]
        wrong = [name for name, value in known.items() if not isinstance(value, _KINDS[name])]
        items = [item for name in ("data", "weights") if name not in lacking + wrong for item in known[name]]
        if not all(isinstance(item, dict) and _texts(item, "name", "fingerprint") for item in items):
            wrong += ["data or weights"]
        if "metrics" not in wrong + lacking and not all(
            isinstance(value, _NUMBER) for value in known["metrics"].values()
        ):
            wrong += ["metrics"]
        if lacking or wrong:
            raise ValueError(f"Expected the fields of a run. Received: without {lacking}, of another kind {wrong}")
        return cls(**known)

    @property
    def inputs(self) -> Inputs:
        """The provenance of its data and weights."""
        return {"data": self.data, "weights": self.weights}


def _needed(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _texts(item: Mapping[str, Any], *names: str) -> bool:
    return all(isinstance(item.get(name), str) for name in names)


class Runs(Sequence[Run]):
    """Runs in order; what tables, claims and figures ask of them."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs = tuple(runs)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._runs == other._runs

    def __add__(self, other: Runs) -> Runs:
        return Runs((*self, *other))

    @property
    def arms(self) -> tuple[str, ...]:
        """The names of the arms that have runs, as they first appear."""
        return tuple(dict.fromkeys(run.arm for run in self))

    def have(self, arms: Iterable[str]) -> bool:
        """Return whether each of these arms has a run."""
        return set(arms) <= set(self.arms)

    def of(self, arms: str | Iterable[str]) -> Runs:
        """Return the runs of one arm, or of several."""
        wanted = {arms} if isinstance(arms, str) else set(arms)
        return self.where(lambda run: run.arm in wanted)

    def where(self, condition: Callable[[Run], bool]) -> Runs:
        """Return the runs for which a condition holds."""
        return Runs(run for run in self if condition(run))

    def with_metric(self, name: str, compute: Callable[[Run], float | None]) -> Runs:
        """Return the runs with one metric more, left out where `compute` returns None."""
        computed = [(run, compute(run)) for run in self]
        return Runs(
            run if value is None else dataclasses.replace(run, metrics={**run.metrics, name: value})
            for run, value in computed
        )

    def scores(self, arm: str, metric: str) -> dict[int, float]:
        """Return one metric of one arm by seed, seeds ascending.

        Raises:
            ValueError: an arm without runs, a metric that none of its runs has, or two runs of the same seed, as when
                runs of two profiles are mixed.
        """
        if arm not in self.arms:
            raise ValueError(f"Expected an arm with runs, out of {_listed(self.arms)}. Received: arm={arm!r}")
        own = self.of(arm)
        check_metrics([metric], [name for run in own for name in run.metrics])
        having = sorted((run for run in own if metric in run.metrics), key=lambda run: run.seed)
        for earlier, later in itertools.pairwise(having):
            if earlier.seed == later.seed:
                found = f"seed {later.seed} of arm {arm!r} twice, profiles {earlier.profile} and {later.profile}"
                raise ValueError(f"Expected one run for each seed, of one profile, setting and data. Received: {found}")
        return {run.seed: run.metrics[metric] for run in having}

    def shared_draws(self, first: str, second: str, metric: str) -> list[int]:
        """Return the seeds of both arms that stand for the same draw of training examples, and have a metric.

        Where runs name no draw, equal seeds are the same draw.
        """
        one, other = (
            {run.seed: run.details.get("draw") for run in self.of(arm) if metric in run.metrics}
            for arm in (first, second)
        )
        return sorted(seed for seed in one.keys() & other.keys() if one[seed] == other[seed])

    def about(self) -> str:
        """Return profile, device, first day and source of the data, in one line."""
        if not self:
            return "no runs"
        first = self[0]
        sources = dict.fromkeys(f"{item['name']}: {item['source']}" for item in first.data)
        return f"{first.profile} profile, {first.device}, from {first.date[:10]} on; {'; '.join(sources)}"


def check_metrics(wanted: Iterable[str], known: Iterable[str]) -> None:
    """Refuse metrics that are not among the known ones.

    Raises:
        ValueError: an unknown metric.
    """
    known = list(dict.fromkeys(known))
    for metric in wanted:
        if metric not in known:
            raise ValueError(f"Expected a metric out of {_listed(known)}. Received: metric={metric!r}")


def _listed(names: Iterable[str]) -> str:
    """Return names in one line, for a message."""
    return ", ".join(names) or "none at all"


def results_folder(profile_name: str, stand_in: bool = False) -> Path | None:
    """Return where runs of a profile are kept.

    TLKERAS_RESULTS if it is set; else `results/` of the checkout for paper runs on real data, the cache for quick
    ones, for paper runs on stand-ins and for an installed package, and nowhere for smoke runs, whose numbers mean
    nothing.
    """
    if os.environ.get("TLKERAS_RESULTS"):
        return Path(os.environ["TLKERAS_RESULTS"]).expanduser()
    if profile_name == "smoke":
        return None
    checkout = (REPOSITORY / "pyproject.toml").exists()
    return REPOSITORY / "results" if profile_name == "paper" and checkout and not stand_in else home() / "results"


def run_key(settings: Mapping[str, Any], inputs: Inputs) -> str:
    """Return 12 hex digits over settings and the fingerprints of data and weights: what a result depends on."""
    content = {"settings": settings, "inputs": fingerprints(inputs)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def run_keys(report: Report, run: Run) -> tuple[str, str]:
    """Return the keys by which a run may be stored: over settings that are not at their default, and over all.

    The first is the usual one, so that a new field changes no key. Should the default of a field change, another run
    may have it; then all fields count.
    """
    usual = defaults(report.arms[run.arm])
    changed = {name: value for name, value in run.settings.items() if name not in usual or usual[name] != value}
    return run_key(changed, run.inputs), run_key(run.settings, run.inputs)


def read_run(path: Path) -> Run:
    """Return the run in a file of the store, `report/arm/key/seed.json`, as it stands there.

    Raises:
        DamagedRunError: it cannot be read, is no JSON, is not what a run is, or says that it belongs elsewhere.
    """
    try:
        run = Run.from_json(json.loads(path.read_text(encoding="utf-8")))
        place = [*path.parts[-4:-2], path.stem]
        if [run.report, run.arm, str(run.seed)] != place:
            raise ValueError(
                f"Expected the run of {'/'.join(place)}. Received: {run.report!r}, {run.arm!r}, {run.seed}"
            )
    except (OSError, ValueError, RecursionError) as error:
        raise DamagedRunError(
            f"Expected the file of a run ({type(error).__name__}: {error}). Received: {path}"
        ) from error
    return run


def not_finite(run: Run) -> list[str]:
    """Return the names of the metrics that are NaN, infinite, null or too large for a float."""
    return [name for name, value in run.metrics.items() if value is None or not abs(value) < _LARGEST]


def fingerprints(inputs: Inputs) -> list[str]:
    """Return the fingerprints of data and weights, in order."""
    return [item["fingerprint"] for item in inputs["data"] + inputs["weights"]]


def study(
    report: Report,
    arms: str | Sequence[str] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    profile_name: str | None = None,
    execute: executors.Execute = executors.in_process,
    must_store: bool = False,
) -> Runs:
    """Run every arm with every seed, seed by seed, skipping what is stored; a failure loses no finished run.

    Several processes may run the same study: none computes what another one is computing.

    Args:
        report: one of `tlkeras.reports.REPORTS`, or your own.
        arms: names out of `report.arms`; None means all.
        seeds: how many (0, 1, ...) or which; None means the profile's number.
        profile_name: None means TLKERAS_PROFILE, which is set to it meanwhile, since the data depend on it.
        execute: where what is not stored is computed, see `executors`.
        must_store: a store that cannot be written is an error; otherwise it is a warning, and the runs are returned.

    Returns:
        The runs of these arms and seeds, in order of arms, then seeds.

    Raises:
        ValueError: an unknown arm or profile, or no seeds.
        OSError: the store cannot be written, which is found out before anything is computed, or is full.
    """
    arms = _each_once(report.arms if arms is None else arms)
    with in_profile(profile_name) as name:
        report.check_arms(arms)
        seeds = kept_seeds(seeds)
        wanted = {arm: seeds_of(report, arm, seeds, name) for arm in arms}
        finished = _studied(report, name, wanted, execute, must_store)
    return Runs(finished[arm, seed] for arm in arms for seed in wanted[arm])


def _studied(
    report: Report, name: str, wanted: Mapping[str, list[int]], execute: executors.Execute, must_store: bool
) -> dict[executors.Job, Run]:
    """Return the stored runs of the arms and seeds, and those that are not stored after they were run and stored."""
    arms = list(wanted)
    jobs = [(arm, seed) for seed in dict.fromkeys(sum(wanted.values(), [])) for arm in arms if seed in wanted[arm]]
    problems: list[str] = []
    finished = {job: run for job in jobs if (run := _stored(report, *job, name, problems))}
    _tell(problems, stacklevel=4)
    missing = [job for job in jobs if job not in finished]
    for folder in {folder for arm, _ in missing if (folder := _folder(report, arm, name))}:
        with _storing(must_store):
            check_writable(folder)
    compute, wait = functools.partial(_claimed, report, name), WAIT_SECONDS
    with progress(None, f"{report.name} ({name})", unit="run", total=len(jobs), initial=len(finished)) as bar:
        while missing:
            for job, run in execute(compute, missing):
                if run:
                    finished[job], wait = run, WAIT_SECONDS
                    with _storing(must_store):
                        _store(report, run)
                    bar.update()
            missing = [job for job in missing if job not in finished]
            if missing:  # other processes have them in hand
                time.sleep(wait)
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
    return finished


def study_together(
    report: Report,
    arms: str | Sequence[str] | None = None,
    *,
    seeds: int | Iterable[int] | None = None,
    profile_name: str | None = None,
) -> Runs:
    """Run arm by arm, the seeds of each that are not stored by one call of `report.together`; store each as it comes.

    A seed that `report.together` does not give, such as one that diverged, has no run.

    Args:
        report: one that has `together`.
        arms: names out of `report.arms`, in this order; None means all that the engine knows.
        seeds: as for `study`.
        profile_name: as for `study`.

    Returns:
        The runs of these arms and seeds that there are now, in order of arms, then seeds.

    Raises:
        ValueError: a report without such an engine, an arm or profile that is unknown to it, or no seeds.
        OSError: the store cannot be written.
    """
    if report.together is None:
        raise ValueError(f"Expected a report with an engine for many seeds at once. Received: {report.name}")
    known = [arm for arm in report.arms if arm not in report.not_together]
    arms = _each_once(known if arms is None else arms)
    if unknown := [arm for arm in arms if arm in report.not_together]:
        raise ValueError(f"Expected arms that this engine trains: {known}. Received: {unknown}")
    finished: dict[executors.Job, Run] = {}
    with in_profile(profile_name) as name:
        report.check_arms(arms)
        seeds = kept_seeds(seeds)
        for arm in arms:
            jobs = [(arm, seed) for seed in seeds_of(report, arm, seeds, name)]
            finished |= {job: run for job in jobs if (run := _stored(report, *job, name))}
            missing = [seed for _, seed in jobs if (arm, seed) not in finished]
            if not missing:
                continue
            if folder := _folder(report, arm, name):
                check_writable(folder)
            started = time.perf_counter()
            for seed, result in report.together(report.settings(arm, name), missing):
                seconds = (time.perf_counter() - started) / len(missing)
                finished[arm, seed] = run = _finished(report, name, (arm, seed), result, seconds)
                _store(report, run)
    return Runs(finished[job] for job in sorted(finished, key=lambda job: (arms.index(job[0]), job[1])))


def live_or_recorded(
    report: Report,
    arms: Sequence[str],
    *,
    seeds: int | Iterable[int] | None = None,
    profile_name: str | None = None,
    needed: Sequence[str] | None = None,
) -> tuple[Runs, Runs]:
    """Run a study here and now, and load the recorded paper runs, which a notebook shows from there on.

    Args:
        report: whose arms they are.
        arms: that are run.
        seeds: as for `study`.
        profile_name: as for `study`.
        needed: the arms without which the recorded runs are of no use; None means `arms`.

    Returns:
        The live runs, and the recorded ones: the live ones again where recorded ones are missing, as in an
        installation without `results/`.
    """
    live = study(report, arms, seeds=seeds, profile_name=profile_name)
    recorded = load_runs(report, "paper")
    return live, recorded if recorded.have(arms if needed is None else needed) else live


def load_runs(report: Report, profile_name: str = "paper", arms: Sequence[str] | None = None) -> Runs:
    """Return the stored runs whose settings are those of today's arms, in order of arms, then seeds.

    The runs of an arm all have the same data and weights: real ones before stand-ins, then what was run last. Damaged
    files and metrics that are not finite are left out, and named in one DamagedRunWarning.

    Raises:
        ValueError: an unknown arm.
    """
    names, problems = list(report.arms) if arms is None else list(arms), list[str]()
    report.check_arms(names)
    found = [run for arm in names for run in _same_inputs(list(_of_settings(report, arm, profile_name, problems)))]
    _tell(problems)
    return Runs(found)


def kept_seeds(given: int | Iterable[int] | None) -> int | list[int] | None:
    """Return seeds that can be asked for by arm after arm: a generator would be used up by the first."""
    return given if given is None or isinstance(given, int) else list(given)


def seeds_of(report: Report, arm: str, given: int | Iterable[int] | None, profile_name: str) -> list[int]:
    """Return the seeds of an arm: so many (0, 1, ...), those that are given, or for None as many as the profile says.

    Raises:
        ValueError: none at all.
    """
    given = report.seed_count(arm, profile_name) if given is None else given
    seeds = list(range(given)) if isinstance(given, int) else list(dict.fromkeys(given))
    if not seeds:
        raise ValueError(f"Expected at least one seed. Received: seeds={given}")
    return seeds


def _each_once(arms: str | Iterable[str]) -> list[str]:
    """Return the names of arms, each once."""
    return [arms] if isinstance(arms, str) else list(dict.fromkeys(arms))


def shared_images(names: Iterable[str], path: Path = REPOSITORY / "results" / "overlaps.json") -> dict[str, dict]:
    """Return the images of data sets that their source network was trained on, as far as pairs were found.

    `python -m tools.shared_images` looks for them and writes the file.

    Returns:
        By data set and split, the numbers of the images, ascending.
    """
    stored = json.loads(path.read_text(encoding="utf-8"))["pairs"]
    found: dict[str, dict] = {name: {} for name in names}
    for name, splits in found.items():
        for row in stored.get(name, ()):
            if row["source_split"] == "train":
                splits[row["split"]] = sorted({row["image"], *splits.get(row["split"], ())})
    return found


def isolated_run(report: Report, settings: Settings, seed: int) -> Result:
    """Call `report.run` and free what it leaves in TensorFlow's and Keras' global state; nothing is stored."""
    environment.be_deterministic()
    with environment.no_retracing_warnings(), environment.bounded_memory():
        return report.run(settings, seed)


@contextlib.contextmanager
def _storing(must_store: bool) -> Iterator[None]:
    """Turn an error of the store into a warning, unless it must be written; a run is worth more than its file."""
    try:
        yield
    except OSError as error:
        if must_store:
            raise
        for fresh in untold([f"Runs are not stored ({error}); TLKERAS_RESULTS names another folder."]):
            warnings.warn(fresh, stacklevel=5)


def _tell(problems: Iterable[str], stacklevel: int = 3) -> None:
    """Warn of problems of the store that this process has not warned of before, all at once."""
    if fresh := untold(problems):
        lines = "\n  ".join(fresh)
        aside = "are left out and stay as they are; python -m tlkeras audit lists all"
        warnings.warn(f"Parts of the result store {aside}:\n  {lines}", DamagedRunWarning, stacklevel=stacklevel)


def _of_settings(
    report: Report,
    arm: str,
    profile_name: str,
    problems: list[str],
    *,
    seed: int | None = None,
    stand_in: bool = False,
) -> Iterator[Run]:
    """Yield the stored runs of an arm that have the settings of a profile, whatever their data and their folder.

    Folders are named by a key, but runs are told apart by their content: a field that is new in the settings has its
    default in older runs. What is left out is added to `problems`.
    """
    folder = results_folder(profile_name, stand_in)
    current = as_stored(report.settings(arm, profile_name))
    pattern = f"*/{'[!.]*' if seed is None else seed}.json"  # not what is being written
    for path in sorted((folder / report.name / arm).glob(pattern)) if folder else ():
        try:
            run = read_run(path)
        except DamagedRunError as error:
            problems.append(str(error))
            continue
        settings = report.completed(arm, run.settings)
        if settings != current:  # else it is a run of this profile, too
            continue
        if left_out := not_finite(run):
            problems.append(f"Expected finite metrics. Received: {', '.join(left_out)} of {path}")
        metrics = {name: value for name, value in run.metrics.items() if name not in left_out}
        yield dataclasses.replace(run, settings=settings, metrics=metrics, profile=profile_name)


def _stored(report: Report, arm: str, seed: int, profile_name: str, problems: list[str] | None = None) -> Run | None:
    inputs = report.inputs(report.settings(arm, profile_name))
    told = [] if problems is None else problems
    same = _of_settings(report, arm, profile_name, told, seed=seed, stand_in=_on_stand_in(inputs))
    return next((run for run in same if fingerprints(run.inputs) == fingerprints(inputs)), None)


def _folder(report: Report, arm: str, profile_name: str) -> Path | None:
    """Return the store of the runs of an arm, which depends on whether its data are real."""
    return results_folder(profile_name, _on_stand_in(report.inputs(report.settings(arm, profile_name))))


def _claimed(report: Report, profile_name: str, job: executors.Job) -> Run | None:
    """Compute and store a run, or find it stored meanwhile; None where another process is computing it."""
    arm, seed = job
    with in_profile(profile_name):  # another machine's process has not that of the study
        settings, folder = report.settings(arm, profile_name), _folder(report, arm, profile_name)
        if folder is None:
            return _computed(report, profile_name, job)
        key = run_key(as_stored(settings), report.inputs(settings))
        with journal.claimed(folder, report.name, arm, key, seed) as free:
            if not free:
                return None
            if run := _stored(report, arm, seed, profile_name):
                return run
            run = _computed(report, profile_name, job)
            with contextlib.suppress(OSError):  # the process that gets the run tries again, and tells
                _store(report, run)
            return run


def _computed(report: Report, profile_name: str, job: executors.Job) -> Run:
    arm, seed = job
    settings = report.settings(arm, profile_name)
    started = time.perf_counter()
    result = isolated_run(report, settings, seed)
    return _finished(report, profile_name, job, result, time.perf_counter() - started)


def _finished(report: Report, profile_name: str, job: executors.Job, result: Result, seconds: float) -> Run:
    arm, seed = job
    settings = report.settings(arm, profile_name)
    inputs = report.inputs(settings)
    metrics = {name: round(float(value), 6) for name, value in result.metrics.items() if math.isfinite(value)}
    left_out = [name for name in result.metrics if name not in metrics]
    if left_out:
        received = f"{', '.join(left_out)} of {report.name}, {arm}, seed {seed}, left out"
        warnings.warn(f"Expected finite metrics. Received: {received}", DamagedRunWarning, stacklevel=2)
    return Run(
        report=report.name,
        arm=arm,
        seed=seed,
        profile=profile_name,
        settings=as_stored(settings),
        metrics=metrics,
        data=inputs["data"],
        weights=inputs["weights"],
        wall_seconds=round(seconds, 2),
        peak_memory_mib=environment.peak_memory_mib(),
        **environment.describe(),
        details={**result.details, "not_finite": left_out} if left_out else result.details,
        history=result.history,
    )


def _store(report: Report, run: Run) -> None:
    folder = results_folder(run.profile, stand_in=_on_stand_in(run.inputs))
    if folder is None or _stored(report, run.arm, run.seed, run.profile):
        return
    path = _unused_path(report, run, folder / report.name / run.arm)
    for leftover in leftovers(path):  # of a process that was killed: this one alone has the run in hand
        leftover.unlink(missing_ok=True)
    write_json(path, dataclasses.asdict(run))


def _unused_path(report: Report, run: Run, folder: Path) -> Path:
    """Return where a run is written: by its usual key, but never over what is there, such as a damaged file."""
    keys = run_keys(report, run)
    names = itertools.chain(keys, (f"{keys[0]}-{number}" for number in itertools.count(2)))
    paths = (folder / name / f"{run.seed}.json" for name in names)
    return next(path for path in paths if not path.exists())


def _on_stand_in(inputs: Inputs) -> bool:
    return any(item.get("stand_in") for item in inputs["data"] + inputs["weights"])


def _same_inputs(stored: Sequence[Run]) -> list[Run]:
    """Return the runs of the best inputs among `stored`, one a seed, by seed."""
    groups: dict[tuple[str, ...], list[Run]] = {}
    for run in sorted(stored, key=lambda run: run.date):
        groups.setdefault(tuple(fingerprints(run.inputs)), []).append(run)
    ranked = sorted(groups.values(), key=lambda runs: (not _on_stand_in(runs[-1].inputs), runs[-1].date))
    newest = {run.seed: run for run in (ranked[-1] if ranked else ())}
    return [newest[seed] for seed in sorted(newest)]

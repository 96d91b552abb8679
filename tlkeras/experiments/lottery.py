"""The audit by lottery: stored runs, drawn so that nobody can steer it, are computed again and compared."""

import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tlkeras.experiments import environment, runs
from tlkeras.experiments.report import Report
from tlkeras.experiments.runs import Run

ABSOLUTE, RELATIVE = 0.02, 0.05  # what a metric may differ by on another machine or with other versions
SAME = ("keras", "tensorflow", "numpy")  # the versions that decide the last bit, as device and threads do
SHARES = (0.01, 0.05, 0.1, 0.2)
EQUAL, NEAR, DIFFERENT, NOT_HERE = "equal", "within tolerance", "different", "cannot be computed here"


@dataclass(frozen=True)
class Outcome:
    """A run that was drawn, what came of it (one of the four words above), and the metrics that differ, or why not."""

    run: Run
    verdict: str
    reason: str = ""

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.run.report}/{self.run.arm}, seed {self.run.seed}: {self.verdict}{reason}"


def draw(stored: Iterable[Run], seed: str, *, limit: float) -> list[Run]:
    """Return the runs that took at most `limit` seconds, in an order that the hash of `seed` decides.

    The first K are a draw without replacement, in which each run has the same chance. Whoever stored the runs cannot
    have known the order if the seed became known later, as that of a commit or of a public lottery does.
    """
    cheap = [run for run in stored if run.wall_seconds is not None and run.wall_seconds <= limit]
    return sorted(cheap, key=lambda run: _digest(seed, run))


def _digest(seed: str, run: Run) -> str:
    named = [seed, run.report, run.arm, str(run.seed), runs.run_key(run.settings, run.inputs)]
    return hashlib.sha256("\n".join(named).encode()).hexdigest()


def again(
    reports: Mapping[str, Report], drawn: Sequence[Run], count: int, *, minutes: float = math.inf
) -> Iterator[Outcome]:
    """Compute the first `count` runs again, one after the other, as long as the next is expected to end in time.

    Args:
        reports: by name.
        drawn: in the order of `draw`, paper runs of today's settings.
        count: of runs that are compared; those whose data or weights are not here do not count.
        minutes: none is begun that would end later by the time it once took.

    Yields:
        The outcome of each run.
    """
    deadline = time.monotonic() + 60 * minutes
    for run in drawn:
        if count < 1 or time.monotonic() + (run.wall_seconds or 0) > deadline:
            return
        outcome = _again(reports[run.report], run)
        count -= outcome.verdict != NOT_HERE
        yield outcome


def _again(report: Report, run: Run) -> Outcome:
    settings = report.settings(run.arm, run.profile)
    try:
        if runs.fingerprints(report.inputs(settings)) != runs.fingerprints(run.inputs):
            return Outcome(run, NOT_HERE, "other data or weights are here")
    except (RuntimeError, ValueError, OSError) as error:
        return Outcome(run, NOT_HERE, str(error).splitlines()[0])
    found = runs.isolated_run(report, settings, run.seed).metrics
    return compared(run, found, same_machine=_same_machine(run))


def _same_machine(run: Run) -> bool:
    here = environment.describe()
    alike = run.threads is not None and (run.device, run.threads) == (here["device"], here["threads"])
    return alike and all(run.versions.get(name) == here["versions"][name] for name in SAME)


def compared(run: Run, found: Mapping[str, float], *, same_machine: bool) -> Outcome:
    """Compare metric by metric; seconds are no result.

    Args:
        run: as it was stored, with metrics of six decimals.
        found: the metrics of today.
        same_machine: on the same versions, kind of machine and number of threads every metric must be equal; otherwise
            it may differ by `ABSOLUTE`, or by `RELATIVE` of the stored value where that is more.

    Returns:
        The outcome, with each metric that is not equal.
    """
    told, far = [], False
    for name, before in run.metrics.items():
        now = round(found.get(name, math.nan), 6)
        if name.endswith("seconds") or now == before:
            continue
        told.append(f"{name} {now}, stored {before}")
        far |= same_machine or not abs(now - before) <= max(ABSOLUTE, RELATIVE * abs(before))
    return Outcome(run, DIFFERENT if far else NEAR if told else EQUAL, "; ".join(told))


def chance(population: int, altered: int, drawn: int) -> float:
    """Return the probability that a draw without replacement meets at least one of the altered runs."""
    if drawn > population - altered:
        return 1.0
    return 1 - math.comb(population - altered, drawn) / math.comb(population, drawn)


def statement(population: int, drawn: int, limit: float) -> str:
    """Say what a draw without a difference is worth."""
    chances = [
        f"{share:.0%} ({count}): {chance(population, count, drawn):.2f}"
        for share in SHARES
        if (count := math.ceil(share * population))
    ]
    return (
        f"{drawn} of the {population} runs that took at most {limit:g} s were computed again. "
        f"Had a share of these been altered, one of them would have been drawn with probability: {', '.join(chances)}. "
        "Equal means all six decimals. On other versions, another machine or another number of threads, or where a run "
        f"does not say how many it had, a metric may differ by {ABSOLUTE}, or by {RELATIVE:.0%} where that is more; a "
        "smaller alteration is not seen there."
    )

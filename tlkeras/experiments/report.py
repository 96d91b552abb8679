"""The contract of a report: what every study, table, claim and test reads of it, as one frozen value."""

import contextlib
import dataclasses
import functools
import importlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from tlkeras.data import sources

PROFILES = ("smoke", "quick", "paper")
Settings = Any  # a frozen dataclass, of the report's own
Inputs = dict[str, list[dict[str, Any]]]  # "data" and "weights", each with its provenance and a fingerprint
Value = TypeVar("Value")


def profile(name: str | None = None) -> str:
    """Return `name`, else TLKERAS_PROFILE, else "quick".

    Raises:
        ValueError: not one of `PROFILES`.
    """
    name = name or os.environ.get("TLKERAS_PROFILE") or "quick"
    if name not in PROFILES:
        raise ValueError(f"Expected a profile out of {PROFILES}. Received: {name!r}")
    return name


@contextlib.contextmanager
def in_profile(name: str | None = None) -> Iterator[str]:
    """Yield the profile as `profile` returns it; TLKERAS_PROFILE, which decides on the data, says the same meanwhile.

    Raises:
        ValueError: not one of `PROFILES`.
    """
    found, before = profile(name), os.environ.get("TLKERAS_PROFILE")
    os.environ["TLKERAS_PROFILE"] = found
    try:
        yield found
    finally:
        if before is None:
            del os.environ["TLKERAS_PROFILE"]
        else:
            os.environ["TLKERAS_PROFILE"] = before


def once(function: Callable[..., Value]) -> Callable[..., Value]:
    """Have a function compute once a process for equal arguments, and once more in the smoke profile, of other data.

    What is returned has `cache_clear`, as that of `functools.cache`.
    """
    kept = functools.cache(lambda smoke, *arguments: function(*arguments))

    @functools.wraps(function)
    def call(*arguments: Any) -> Value:
        return kept(sources.smoke(), *arguments)

    call.cache_clear = kept.cache_clear  # type: ignore[attr-defined]
    return call


@dataclasses.dataclass(frozen=True)
class Result:
    """What a report's `run` returns: metrics, curves by epoch, and details that are kept with the run."""

    metrics: dict[str, float]
    history: dict[str, list] = dataclasses.field(default_factory=dict)
    details: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class ByProfile(Generic[Value]):
    """A value that depends on the profile alone, and not on the settings of an arm."""

    values: Mapping[str, Value]

    def __call__(self, settings: Settings, profile_name: str) -> Value:
        """Return the value of a profile."""
        return self.values[profile_name]


@dataclasses.dataclass(frozen=True)
class Deferred:
    """A function of a module that is imported at the first call, so that tables of stored runs do without Keras."""

    module: str
    name: str

    def __call__(self, *arguments: Any) -> Any:
        """Import the module and call the function."""
        return getattr(importlib.import_module(self.module), self.name)(*arguments)


@dataclasses.dataclass(frozen=True)
class Report:
    """A report, its arms, its own numbers, and how one of its runs is computed.

    Attributes:
        name: the key of its recorded runs, and the name of its folder in `tlkeras.reports`.
        title: one line for people.
        arms: the settings of each arm at the report's own sizes, by name.
        reference: the report's numbers, `{(arm, metric): {"value": 0.67, "source": "Table 1"}}`.
        highlights: the arms of the short table.
        headline: the metrics of the short table.
        seeds: `(settings, profile) -> int`, how many seeds an arm is run with.
        reduced: `(settings, profile) -> dict`, the fields of the settings that a profile changes.
        inputs: `settings -> Inputs`, the provenance of the data and the weights that a run uses.
        run: `(settings, seed) -> Result`, a pure function but for seconds.
        together: `(settings, seeds) -> iterator of (seed, Result)`, another engine that computes many seeds at once.
        not_together: the arms that it does not know.
    """

    name: str
    title: str
    arms: Mapping[str, Settings]
    reference: Mapping[tuple[str, str], Mapping[str, Any]]
    highlights: tuple[str, ...]
    headline: tuple[str, ...]
    seeds: Callable[[Settings, str], int]
    reduced: Callable[[Settings, str], Mapping[str, Any]]
    inputs: Callable[[Settings], Inputs]
    run: Callable[[Settings, int], Result]
    together: Callable[[Settings, Sequence[int]], Iterable[tuple[int, Result]]] | None = None
    not_together: tuple[str, ...] = ()

    def settings(self, arm: str, profile_name: str) -> Settings:
        """Return the settings of an arm, reduced as the profile says.

        Raises:
            ValueError: an unknown arm.
        """
        self.check_arms([arm])
        return dataclasses.replace(self.arms[arm], **self.reduced(self.arms[arm], profile_name))

    def seed_count(self, arm: str, profile_name: str) -> int:
        """Return the number of seeds of an arm in a profile."""
        return self.seeds(self.arms[arm], profile_name)

    def check_arms(self, arms: list[str]) -> None:
        """Refuse names that are no arms.

        Raises:
            ValueError: an unknown arm.
        """
        unknown = [arm for arm in arms if arm not in self.arms]
        if unknown:
            raise ValueError(f"Expected arms out of {list(self.arms)}. Received: {unknown}")

    def completed(self, arm: str, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return stored settings of an arm, with the defaults of fields that were added since they were stored.

        Args:
            arm: whose settings say which fields there are.
            stored: the settings of a recorded run.

        Returns:
            A dict in the order of the fields; unknown names of `stored` are kept, so that such settings equal none of
            today's.
        """
        return {**defaults(self.arms[arm]), **stored}


def as_stored(settings: Settings) -> dict[str, Any]:
    """Return the fields of settings as JSON gives them back: lists for tuples."""
    return {field.name: _plain(getattr(settings, field.name)) for field in dataclasses.fields(settings)}


def defaults(settings: Settings) -> dict[str, Any]:
    """Return the defaults of the fields of settings that have one, as JSON gives them back."""
    found = {}
    for field in dataclasses.fields(settings):
        if field.default is not dataclasses.MISSING:
            found[field.name] = _plain(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = _plain(field.default_factory())
    return found


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

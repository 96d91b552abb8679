"""A finished run is never run again, a failing one loses nothing and leaves nothing, and settings tell runs apart."""

import contextlib
import dataclasses
import json
import logging
import os
import types

import pytest

from tlkeras.experiments import environment, runs

MADE = {"name": "toy", "source": "made", "stand_in": False, "fingerprint": "0123456789abcdef", "licence": "CC0"}


@dataclasses.dataclass(frozen=True)
class Settings:
    epochs: int = 3
    sizes: tuple[int, ...] = (1, 2)


@pytest.fixture
def report(monkeypatch):
    """Return a report that counts its runs; no Keras, no TensorFlow."""
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")

    def run(settings, seed):
        toy.calls.append((settings.epochs, seed))
        if seed in toy.fails:
            raise RuntimeError("out of memory")
        return runs.Result({"accuracy": seed / 3}, {"loss": [1.0, None]}, {"draw": "abc"})

    toy = types.SimpleNamespace(
        NAME="toy",
        ARMS={"short": Settings(), "long": Settings(epochs=30)},
        seeds=lambda profile: 2,
        settings=lambda arm, profile: toy.ARMS[arm],
        inputs=lambda settings: {"data": [toy.data], "weights": toy.weights},
        run=run,
        data=MADE,
        weights=[],
        calls=[],
        fails=(),
    )
    return toy


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def files(store):
    return sorted("/".join(path.relative_to(store).parts) for path in store.rglob("*") if path.is_file())


def test_a_run_is_stored_with_all_that_it_depends_on(report, store):
    (run,) = runs.study(report, ["short"], seeds=[7], profile_name="paper")
    key = runs.run_key({"epochs": 3, "sizes": [1, 2]}, [MADE])
    assert files(store) == [f"toy/short/{key}/7.json"]
    stored = json.loads((store / f"toy/short/{key}/7.json").read_text())
    assert stored == json.loads(json.dumps(run))
    expected = {
        "report": "toy",
        "arm": "short",
        "seed": 7,
        "profile": "paper",
        "settings": {"epochs": 3, "sizes": [1, 2]},
        "metrics": {"accuracy": round(7 / 3, 6)},
        "data": [MADE],
        "weights": [],
        "device": "none",
        "details": {"draw": "abc"},
        "history": {"loss": [1.0, None]},
    }
    assert {key: stored[key] for key in expected} == expected
    assert set(stored) - set(expected) == {"wall_seconds", "peak_memory_mib", "versions", "commit", "date"}
    assert set(stored["versions"]) == {"python", *environment.PACKAGES}


def test_seeds_go_first_and_results_come_by_arm(report, store):
    found = runs.study(report)
    assert report.calls == [(3, 0), (30, 0), (3, 1), (30, 1)]
    assert [(run["arm"], run["seed"]) for run in found] == [("short", 0), ("short", 1), ("long", 0), ("long", 1)]


def test_finished_runs_never_run_again(report, store):
    first = runs.study(report, ["short"], seeds=2)
    before = {path: path.read_bytes() for path in store.rglob("*.json")}
    again = runs.study(report, ["short"], seeds=3)
    assert report.calls == [(3, 0), (3, 1), (3, 2)]
    assert again[:2] == json.loads(json.dumps(first))
    assert all(path.read_bytes() == content for path, content in before.items())


def test_other_settings_or_data_run_anew(report, store):
    for arms, made in (
        ({"short": Settings()}, MADE),
        ({"short": Settings(epochs=4)}, MADE),
        ({"short": Settings()}, MADE | {"fingerprint": "f" * 16}),
        ({"short": Settings()}, MADE),
    ):
        report.ARMS, report.data = arms, made
        runs.study(report, seeds=1)
    assert report.calls == [(3, 0), (4, 0), (3, 0)]
    assert len(files(store)) == 3


def test_a_report_may_give_its_arms_different_numbers_of_seeds(report, store):
    report.arm_seeds = lambda arm, profile: {"short": 3, "long": 1}[arm]
    found = runs.study(report, profile_name="paper")
    assert [(run["arm"], run["seed"]) for run in found] == [("short", 0), ("short", 1), ("short", 2), ("long", 0)]
    assert report.calls == [(3, 0), (30, 0), (3, 1), (3, 2)]
    assert len(runs.study(report, seeds=2, profile_name="paper")) == 4


def test_a_failing_run_loses_nothing_and_leaves_nothing(report, store):
    report.fails = (1,)
    with pytest.raises(RuntimeError, match="out of memory"):
        runs.study(report, ["short"], seeds=3)
    assert [path.rsplit("/", 1)[1] for path in files(store)] == ["0.json"]
    report.fails = ()
    assert len(runs.study(report, ["short"], seeds=3)) == 3
    assert report.calls == [(3, 0), (3, 1), (3, 1), (3, 2)]


def test_an_interrupted_write_leaves_nothing(report, store, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            runs.study(report, ["short"], seeds=1)
    assert files(store) == []
    runs.study(report, ["short"], seeds=1)
    assert [path.rsplit("/", 1)[1] for path in files(store)] == ["0.json"]


def test_smoke_runs_are_stored_nowhere_by_default(report, own_world, monkeypatch):
    monkeypatch.setattr(runs, "REPOSITORY", own_world / "repository")
    before = sorted(own_world.rglob("*.json"))
    assert len(runs.study(report, ["short"], seeds=1)) == len(runs.study(report, ["short"], seeds=1)) == 1
    assert len(report.calls) == 2
    assert sorted(own_world.rglob("*.json")) == before
    assert runs.load_runs(report, "smoke") == []


def test_paper_runs_go_to_the_checkout_unless_on_a_stand_in_or_installed(report, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(runs, "REPOSITORY", tmp_path)
    runs.study(report, "short", seeds=1, profile_name="paper")
    assert len(list((tmp_path / "home" / "results").rglob("0.json"))) == 1  # no checkout here
    (tmp_path / "pyproject.toml").touch()
    report.data = {**MADE, "fingerprint": "other"}
    runs.study(report, "short", seeds=1, profile_name="paper")
    report.data = {**MADE, "fingerprint": "patches", "stand_in": True}
    runs.study(report, "short", seeds=1, profile_name="paper")
    assert len(list((tmp_path / "results").rglob("0.json"))) == 1
    assert len(list((tmp_path / "home" / "results").rglob("0.json"))) == 2


def test_load_runs_never_mixes_data_and_prefers_real_ones(report, store):
    real = {**MADE, "fingerprint": "real", "stand_in": False}
    report.data = real
    runs.study(report, "short", seeds=2, profile_name="paper")
    report.data = {**MADE, "fingerprint": "patches", "stand_in": True}
    runs.study(report, "short", seeds=3, profile_name="paper")
    report.data, report.weights = real, [{**MADE, "fingerprint": "other weights", "stand_in": True}]
    runs.study(report, "short", seeds=3, profile_name="paper")
    found = runs.load_runs(report, arms=["short"])
    assert [(run["seed"], run["data"]) for run in found] == [(0, [real]), (1, [real])]


def test_a_run_that_cannot_be_stored_is_not_lost(report, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not stored"):
        (run,) = runs.study(report, "short", seeds=1, profile_name="paper")
    assert run["metrics"] == {"accuracy": 0.0}


def test_load_runs_takes_todays_settings_in_order(report, store):
    runs.study(report, seeds=[10, 9, 2], profile_name="paper")
    assert [(run["arm"], run["seed"]) for run in runs.load_runs(report)] == [
        *(("short", seed) for seed in (2, 9, 10)),
        *(("long", seed) for seed in (2, 9, 10)),
    ]
    assert [run["arm"] for run in runs.load_runs(report, arms=["long"])] == ["long"] * 3
    report.ARMS = {"short": Settings(epochs=5), "long": Settings(epochs=30)}
    assert {run["arm"] for run in runs.load_runs(report)} == {"long"}
    report.ARMS = {"never": Settings()}
    assert runs.load_runs(report) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"arms": ["short", "shrot"]}, r"arms out of \['short', 'long'\]\. Received: \['shrot'\]$"),
        ({"seeds": 0}, r"at least one seed\. Received: seeds=0$"),
        ({"seeds": -1}, r"at least one seed"),
        ({"seeds": []}, r"at least one seed"),
        ({"profile_name": "fast"}, r"a profile out of"),
    ],
)
def test_bad_studies_are_refused(report, store, options, message):
    with pytest.raises(ValueError, match=message):
        runs.study(report, **options)
    assert report.calls == []


def test_tensorflow_may_warn_again_after_a_run(report, store):
    level, report.fails = logging.getLogger("tensorflow").level, (0,)
    with pytest.raises(RuntimeError):
        runs.study(report, ["short"], seeds=1)
    assert logging.getLogger("tensorflow").level == level

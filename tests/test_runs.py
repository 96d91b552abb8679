"""Runs are stored once, by what they depend on; a failure loses nothing; settings may grow; collections of runs."""

import contextlib
import dataclasses
import json
import logging
import os

import numpy as np
import pytest
from toy_report import MADE, Settings, Toy

from tlkeras.experiments import environment, runs
from tlkeras.experiments.report import Result, as_stored, in_profile, once, profile
from tlkeras.experiments.runs import Run, Runs


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    return Toy()


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


def files(store):
    return sorted("/".join(path.relative_to(store).parts) for path in store.rglob("*") if path.is_file())


def test_a_run_is_stored_with_all_that_it_depends_on(toy, store):
    (run,) = runs.study(toy.report, ["short"], seeds=[7], profile_name="paper")
    key = runs.run_key({}, run.inputs)  # both settings are at their defaults
    assert files(store) == [f"toy/short/{key}/7.json"]
    stored = json.loads((store / f"toy/short/{key}/7.json").read_text())
    assert Run.from_json(stored) == run and list(stored) == [field.name for field in dataclasses.fields(Run)]
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
    assert set(stored) - set(expected) == {"wall_seconds", "peak_memory_mib", "versions", "threads", "commit", "date"}
    assert set(stored["versions"]) == {"python", *environment.PACKAGES}


def test_seeds_go_first_and_results_come_by_arm(toy, store):
    found = runs.study(toy.report)
    assert toy.calls == [(3, 0), (30, 0), (3, 1), (30, 1)]
    assert [(run.arm, run.seed) for run in found] == [("short", 0), ("short", 1), ("long", 0), ("long", 1)]


@pytest.mark.parametrize(
    ("around", "asked"), [("smoke", "paper"), ("paper", "smoke"), (None, "smoke"), ("quick", None)]
)
def test_data_follow_the_profile_that_is_asked_for(toy, store, monkeypatch, around, asked):
    monkeypatch.delenv("TLKERAS_PROFILE")
    if around:
        monkeypatch.setenv("TLKERAS_PROFILE", around)
    seen, inputs = [], toy.inputs
    run = Result({"accuracy": 0.5})
    monkeypatch.setattr(toy, "run", lambda *_: seen.append(os.environ["TLKERAS_PROFILE"]) or run)
    monkeypatch.setattr(toy, "inputs", lambda arm: seen.append(os.environ["TLKERAS_PROFILE"]) or inputs(arm))
    together = dataclasses.replace(toy.report, together=lambda arm, seeds: ((s, toy.run(arm, s)) for s in seeds))

    def elsewhere(compute, jobs):
        with monkeypatch.context() as patch:
            patch.delenv("TLKERAS_PROFILE")  # as in a process of another machine
            computed = [(job, compute(job)) for job in jobs]
        return iter(computed)

    runs.study(toy.report, "short", seeds=1, profile_name=asked)
    runs.study(toy.report, "short", seeds=2, profile_name=asked, execute=elsewhere)
    runs.study_together(together, "long", seeds=1, profile_name=asked)
    assert set(seen) == {asked or around} and len(seen) > 9
    assert os.environ.get("TLKERAS_PROFILE") == around
    with pytest.raises(ValueError, match="a profile out of"), in_profile("fast"):
        pytest.fail("there is none")
    assert os.environ.get("TLKERAS_PROFILE") == around


def test_what_is_kept_of_the_smoke_profile_is_kept_apart(monkeypatch):
    calls = []

    @once
    def loaded(name):
        """Load it."""
        calls.append(name)
        return len(calls)

    assert [loaded("a"), loaded("b"), loaded("a")] == [1, 2, 1] and loaded.__doc__ == "Load it."
    for name, expected in (("paper", 3), ("quick", 3), ("smoke", 1)):
        with in_profile(name):
            assert loaded("a") == expected
    loaded.cache_clear()
    assert loaded("a") == 4


def test_seeds_that_come_once_are_every_arms(toy, store):
    found = runs.study(toy.report, seeds=(seed for seed in (2, 0)))
    assert [(run.arm, run.seed) for run in found] == [("short", 2), ("short", 0), ("long", 2), ("long", 0)]
    together = dataclasses.replace(toy.report, together=lambda settings, seeds: ((s, Result({})) for s in seeds))
    toy.data = {**MADE, "fingerprint": "other"}
    assert len(runs.study_together(together, ["short", "long"], seeds=iter([2, 0]))) == 4


def test_what_is_asked_for_twice_is_run_once(toy, store):
    found = runs.study(toy.report, ["long", "long"], seeds=[1, 1])
    assert [(run.arm, run.seed) for run in found] == [("long", 1)] and toy.calls == [(30, 1)]


def test_arms_that_the_other_engine_does_not_know_are_left_out_or_refused(toy, store):
    together = dataclasses.replace(
        toy.report, together=lambda arm, seeds: ((s, toy.run(arm, s)) for s in seeds), not_together=("short",)
    )
    assert [run.arm for run in runs.study_together(together, seeds=1)] == ["long"]
    with pytest.raises(ValueError, match=r"this engine trains: \['long'\]\. Received: \['short'\]"):
        runs.study_together(together, ["long", "short"], seeds=2)
    assert toy.calls == [(30, 0)]


def test_a_store_may_lie_in_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("TLKERAS_RESULTS", "~/runs")
    assert runs.results_folder("paper") == tmp_path / "runs"


def test_finished_runs_never_run_again(toy, store):
    first = runs.study(toy.report, ["short"], seeds=2)
    before = {path: path.read_bytes() for path in store.rglob("*.json")}
    again = runs.study(toy.report, ["short"], seeds=3)
    assert toy.calls == [(3, 0), (3, 1), (3, 2)]
    assert again[:2] == first
    assert all(path.read_bytes() == content for path, content in before.items())


def test_other_settings_or_data_run_anew(toy, store):
    for arms, made in (
        ({"short": Settings()}, MADE),
        ({"short": Settings(epochs=4)}, MADE),
        ({"short": Settings()}, MADE | {"fingerprint": "f" * 16}),
        ({"short": Settings()}, MADE),
    ):
        toy.arms, toy.data = arms, made
        runs.study(toy.report, seeds=1)
    assert toy.calls == [(3, 0), (4, 0), (3, 0)]
    assert len(files(store)) == 3


def test_a_report_may_give_its_arms_different_numbers_of_seeds(toy, store):
    toy.seeds = lambda settings, profile: {3: 3, 30: 1}[settings.epochs]
    found = runs.study(toy.report, profile_name="paper")
    assert [(run.arm, run.seed) for run in found] == [("short", 0), ("short", 1), ("short", 2), ("long", 0)]
    assert toy.calls == [(3, 0), (30, 0), (3, 1), (3, 2)]
    assert len(runs.study(toy.report, seeds=2, profile_name="paper")) == 4


def test_a_failing_run_loses_nothing_and_leaves_nothing(toy, store):
    toy.fails = (1,)
    with pytest.raises(RuntimeError, match="out of memory"):
        runs.study(toy.report, ["short"], seeds=3)
    assert [path.rsplit("/", 1)[1] for path in files(store)] == ["0.json"]
    toy.fails = ()
    assert len(runs.study(toy.report, ["short"], seeds=3)) == 3
    assert toy.calls == [(3, 0), (3, 1), (3, 1), (3, 2)]


def test_an_interrupted_write_leaves_nothing(toy, store, monkeypatch):
    def killed(source, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            runs.study(toy.report, ["short"], seeds=1)
    assert files(store) == []
    runs.study(toy.report, ["short"], seeds=1)
    assert [path.rsplit("/", 1)[1] for path in files(store)] == ["0.json"]


def test_smoke_runs_are_stored_nowhere_by_default(toy, own_world, monkeypatch):
    monkeypatch.setattr(runs, "REPOSITORY", own_world / "repository")
    before = sorted(own_world.rglob("*.json"))
    assert len(runs.study(toy.report, ["short"], seeds=1)) == len(runs.study(toy.report, ["short"], seeds=1)) == 1
    assert len(toy.calls) == 2
    assert sorted(own_world.rglob("*.json")) == before
    assert not runs.load_runs(toy.report, "smoke")


def test_paper_runs_go_to_the_checkout_unless_on_a_stand_in_or_installed(toy, tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(runs, "REPOSITORY", tmp_path)
    runs.study(toy.report, "short", seeds=1, profile_name="paper")
    assert len(list((tmp_path / "home" / "results").rglob("0.json"))) == 1  # no checkout here
    (tmp_path / "pyproject.toml").touch()
    toy.data = {**MADE, "fingerprint": "other"}
    runs.study(toy.report, "short", seeds=1, profile_name="paper")
    toy.data = {**MADE, "fingerprint": "patches", "stand_in": True}
    runs.study(toy.report, "short", seeds=1, profile_name="paper")
    assert len(list((tmp_path / "results").rglob("0.json"))) == 1
    assert len(list((tmp_path / "home" / "results").rglob("0.json"))) == 2


def test_load_runs_never_mixes_data_and_prefers_real_ones(toy, store):
    real = {**MADE, "fingerprint": "real", "stand_in": False}
    toy.data = real
    runs.study(toy.report, "short", seeds=2, profile_name="paper")
    toy.data = {**MADE, "fingerprint": "patches", "stand_in": True}
    runs.study(toy.report, "short", seeds=3, profile_name="paper")
    toy.data, toy.weights = real, [{**MADE, "fingerprint": "other weights", "stand_in": True}]
    runs.study(toy.report, "short", seeds=3, profile_name="paper")
    found = runs.load_runs(toy.report, arms=["short"])
    assert [(run.seed, run.data) for run in found] == [(0, [real]), (1, [real])]


def test_a_run_that_cannot_be_stored_is_not_lost(toy, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="not stored"):
        (run,) = runs.study(toy.report, "short", seeds=1, profile_name="paper")
    assert run.metrics == {"accuracy": 0.0}


DAMAGED = {
    "empty": (b"", "JSONDecodeError"),
    "cut": (b'{"report":"toy","arm', "JSONDecodeError"),
    "binary": (b"\x93NUMPY\xff", "UnicodeDecodeError"),
    "list": (b"[1, 2]", "Expected a JSON object. Received: list"),
    "nested": (b"[" * 100_000, "RecursionError"),
    "keys": (
        b'{"report":"toy","arm":"short","seed":1}',
        r"without \['profile', 'settings', 'metrics', 'data', 'weights'",
    ),
}


@pytest.mark.parametrize(("content", "reason"), DAMAGED.values(), ids=DAMAGED)
def test_a_bad_file_costs_itself_alone_and_is_told_once(toy, store, content, reason):
    runs.study(toy.report, "short", seeds=3, profile_name="paper")
    (path,) = store.rglob("1.json")
    path.write_bytes(content)
    with pytest.warns(runs.DamagedRunWarning, match=rf"(?s)tlkeras audit.*{reason}.*Received: {path}$"):
        assert [run.seed for run in runs.load_runs(toy.report)] == [0, 2]
    assert [run.seed for run in runs.load_runs(toy.report)] == [0, 2], "without another warning"
    assert [run.seed for run in runs.study(toy.report, "short", seeds=3, profile_name="paper")] == [0, 1, 2]
    assert path.read_bytes() == content and len(toy.calls) == 4, "set aside, and computed again beside it"
    assert [run.seed for run in runs.load_runs(toy.report)] == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"arm": "long"},
        {"seed": True},
        {"settings": [1]},
        {"metrics": {"accuracy": "0.5"}},
        {"data": [1]},
        {"data": [{"name": "toy"}]},
        {"weights": {}},
        {"history": None},
        {"date": None},
    ],
)
def test_a_file_in_the_place_of_another_or_of_other_kinds_is_refused(toy, store, change):
    (run,) = runs.study(toy.report, "short", seeds=[1], profile_name="paper")
    (path,) = store.rglob("1.json")
    path.write_text(json.dumps({**dataclasses.asdict(run), **change}))
    with pytest.raises(runs.DamagedRunError, match=rf"Expected .*Received: {path}$"):
        runs.read_run(path)


def test_what_is_being_written_is_not_read(toy, store):
    runs.study(toy.report, "short", seeds=1, profile_name="paper")
    (path,) = store.rglob("0.json")
    path.with_name(".0123.partial.1.json").write_text('{"half')
    assert len(runs.load_runs(toy.report)) == 1


def test_a_folder_in_the_place_of_a_file_is_passed_by(toy, store):
    (first,) = runs.study(toy.report, "short", seeds=1)
    (path,) = store.rglob("0.json")
    path.unlink()
    path.mkdir()
    with pytest.warns(runs.DamagedRunWarning, match="IsADirectoryError"):
        assert runs.study(toy.report, "short", seeds=1)[0].metrics == first.metrics
    assert path.is_dir() and len(runs.load_runs(toy.report, profile())) == 1


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "null", "1e999", "9" * 400])
def test_a_metric_that_is_not_finite_costs_itself_alone(toy, store, value):
    runs.study(toy.report, "short", seeds=2, profile_name="paper")
    (path,) = store.rglob("1.json")
    path.write_text(path.read_text().replace('"accuracy":0.333333', f'"accuracy":{value},"loss":1.0'))
    with pytest.warns(runs.DamagedRunWarning, match=rf"finite metrics. Received: accuracy of {path}$"):
        found = runs.load_runs(toy.report)
    assert [run.metrics for run in found] == [{"accuracy": 0.0}, {"loss": 1.0}]
    assert found.scores("short", "accuracy") == {0: 0.0}


def test_a_run_whose_metric_is_not_finite_is_finished_and_says_so(toy, store, monkeypatch):
    monkeypatch.setattr(toy, "run", lambda settings, seed: Result({"loss": float("nan"), "accuracy": 0.1}))
    with pytest.warns(runs.DamagedRunWarning, match="Received: loss of toy, short, seed 0, left out$"):
        (run,) = runs.study(toy.report, "short", seeds=1)
    assert run.metrics == {"accuracy": 0.1} and run.details == {"not_finite": ["loss"]}
    assert runs.study(toy.report, "short", seeds=1)[0] == run == runs.load_runs(toy.report, profile(), ["short"])[0]


def test_a_run_of_numpys_values_is_stored(toy, store, monkeypatch):
    result = Result({"accuracy": np.float32(0.1)}, {"loss": [np.float32(0.5)]}, {"drawn": np.array([3, 1])})
    monkeypatch.setattr(toy, "run", lambda settings, seed: result)
    (run,) = runs.study(toy.report, "short", seeds=1, must_store=True)
    (stored,) = runs.load_runs(toy.report, profile(), ["short"])
    assert run.metrics == stored.metrics == {"accuracy": 0.1} and type(run.metrics["accuracy"]) is float
    assert (stored.history, stored.details) == ({"loss": [0.5]}, {"drawn": [3, 1]})


def test_load_runs_takes_todays_settings_in_order(toy, store):
    runs.study(toy.report, seeds=[10, 9, 2], profile_name="paper")
    assert [(run.arm, run.seed) for run in runs.load_runs(toy.report)] == [
        *(("short", seed) for seed in (2, 9, 10)),
        *(("long", seed) for seed in (2, 9, 10)),
    ]
    assert [run.arm for run in runs.load_runs(toy.report, arms=["long"])] == ["long"] * 3
    toy.arms = {"short": Settings(epochs=5), "long": Settings(epochs=30)}
    assert {run.arm for run in runs.load_runs(toy.report)} == {"long"}
    toy.arms = {"never": Settings()}
    assert not runs.load_runs(toy.report)


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
def test_bad_studies_are_refused(toy, store, options, message):
    with pytest.raises(ValueError, match=message):
        runs.study(toy.report, **options)
    assert toy.calls == []


def test_tensorflow_may_warn_again_after_a_run(toy, store):
    level, toy.fails = logging.getLogger("tensorflow").level, (0,)
    with pytest.raises(RuntimeError):
        runs.study(toy.report, ["short"], seeds=1)
    assert logging.getLogger("tensorflow").level == level


@dataclasses.dataclass(frozen=True)
class Grown(Settings):
    """The settings after a field was added, with a default."""

    warmup: int = 0


def test_a_new_field_with_a_default_orphans_no_run(toy, store):
    (first,) = runs.study(toy.report, "long", seeds=1)
    toy.arms = {"long": Grown(epochs=30)}
    assert runs.study(toy.report, "long", seeds=1)[0].settings == {**first.settings, "warmup": 0}
    assert [run.settings["warmup"] for run in runs.load_runs(toy.report, profile("smoke"))] == [0]
    assert toy.calls == [(30, 0)]
    runs.study(toy.report, "long", seeds=2)
    assert len({path.split("/")[2] for path in files(store)}) == 1, "the key ignores fields at their default"
    toy.arms = {"long": Grown(epochs=30, warmup=5)}
    runs.study(toy.report, "long", seeds=1)
    assert toy.calls == [(30, 0), (30, 1), (30, 0)] and len(files(store)) == 3


def test_runs_of_an_older_store_are_told_by_their_content_not_by_their_folder(toy, store):
    (first,) = runs.study(toy.report, "long", seeds=1)
    (path,) = store.rglob("0.json")
    path.parent.rename(path.parent.with_name("0123456789ab"))
    assert runs.study(toy.report, "long", seeds=1)[0] == first
    assert toy.calls == [(30, 0)]


def test_a_default_that_changes_never_mixes_runs(toy, store):
    @dataclasses.dataclass(frozen=True)
    class Changed:
        epochs: int = 4
        sizes: tuple[int, ...] = (1, 2)

    runs.study(toy.report, "short", seeds=1)
    toy.arms = {"short": Changed()}
    runs.study(toy.report, "short", seeds=1)
    assert toy.calls == [(3, 0), (4, 0)]
    assert len(files(store)) == 2
    assert [run.settings["epochs"] for run in runs.load_runs(toy.report, profile("smoke"))] == [4]


def test_a_field_that_is_gone_is_not_read_as_todays(toy, store):
    toy.arms = {"short": Grown()}
    runs.study(toy.report, "short", seeds=1)
    toy.arms = {"short": Settings()}
    assert not runs.load_runs(toy.report, profile("smoke"))


def test_live_and_recorded_runs(toy, store):
    live, recorded = runs.live_or_recorded(toy.report, ["short"], seeds=1)
    assert live.arms == ("short",) and recorded == runs.load_runs(
        toy.report, "paper"
    )  # one store for all profiles here
    runs.study(toy.report, "long", seeds=2, profile_name="paper")
    _, recorded = runs.live_or_recorded(toy.report, ["short"], seeds=1, needed=["long"])
    assert recorded.have(["long"])
    live, recorded = runs.live_or_recorded(toy.report, ["short"], seeds=1, needed=["missing"])
    assert recorded is live


def run(arm="a", seed=0, profile="paper", **metrics):
    draw = metrics.pop("draw", f"draw {seed}")
    data = [{**MADE, "source": "cache"}]
    details = {"draw": draw} if draw else {}
    return Run("toy", arm, seed, profile, {}, metrics, data, [], details=details, device="CPU", date="2026-01-02T03")


def test_a_collection_of_runs_is_a_sequence():
    some = Runs([run("a", 1), run("b"), run("a", 0)])
    assert len(some) == 3 and some[1].arm == "b" and some[:2] == Runs([some[0], some[1]])
    assert some.arms == ("a", "b") and some.have(["b"]) and not some.have(["b", "c"])
    assert [r.seed for r in some.of("a")] == [1, 0] and len(some.of(["a", "b"])) == 3 and not some.of("c")
    assert some + some.of("b") == Runs([*some, some[1]]) and some != list(some)
    assert some.where(lambda r: r.seed == 1) == some[:1]
    assert some.about() == "paper profile, CPU, from 2026-01-02 on; toy: cache" and Runs().about() == "no runs"


def test_scores_are_by_seed_and_never_mix_runs():
    some = Runs([run("a", 1, loss=0.5), run("a", 0, loss=0.25), run("a", 2), run("b", 0, loss=9.0)])
    assert list(some.scores("a", "loss").items()) == [(0, 0.25), (1, 0.5)]
    halved = some.with_metric("half_loss", lambda r: r.metrics["loss"] / 2 if "loss" in r.metrics else None)
    assert halved.scores("a", "half_loss") == {0: 0.125, 1: 0.25} and "half_loss" not in some[0].metrics
    for arguments, message in (
        (("c", "loss"), r"an arm with runs, out of a, b\. Received: arm='c'$"),
        (("a", "lost"), r"a metric out of loss\. Received: metric='lost'$"),
    ):
        with pytest.raises(ValueError, match=message):
            some.scores(*arguments)
    with pytest.raises(ValueError, match=r"Received: seed 0 of arm 'a' twice, profiles paper and quick$"):
        Runs([run(loss=1.0), run(profile="quick", loss=1.0)]).scores("a", "loss")
    with pytest.raises(ValueError, match="none at all"):
        Runs().scores("a", "loss")


def test_draws_are_shared_where_they_are_the_same():
    places = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 3)]
    some = Runs([*(run(*place, loss=1.0) for place in places), run("b", 1, draw="another", loss=1.0), run("b", 2)])
    assert some.shared_draws("a", "b", "loss") == [0]
    assert some.shared_draws("a", "b", "accuracy") == []  # a metric that no run has
    unnamed = Runs([run("a", 0, draw=None, loss=1.0), run("b", 0, draw=None, loss=1.0)])
    assert unnamed.shared_draws("a", "b", "loss") == [0] and unnamed.shared_draws("a", "c", "loss") == []


def test_profile_is_the_argument_else_the_environment_else_quick(monkeypatch):
    assert profile("paper") == "paper" and profile() == "smoke"  # the tests' own
    monkeypatch.delenv("TLKERAS_PROFILE")
    assert profile() == "quick"


@pytest.mark.parametrize("name", ["fast", "PAPER", " "])
def test_unknown_profiles_are_refused(monkeypatch, name):
    message = rf"out of \('smoke', 'quick', 'paper'\)\. Received: '{name}'$"
    with pytest.raises(ValueError, match=message):
        profile(name)
    monkeypatch.setenv("TLKERAS_PROFILE", name)
    with pytest.raises(ValueError, match=message):
        profile()


def test_each_profile_has_its_own_folder(monkeypatch, tmp_path, own_world):
    assert runs.results_folder("paper") == runs.REPOSITORY / "results"
    assert runs.results_folder("paper", stand_in=True) == runs.results_folder("quick") == own_world / "results"
    assert runs.results_folder("smoke") is None
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path))
    assert {runs.results_folder(name) for name in ("smoke", "quick", "paper")} == {tmp_path}


def test_the_key_changes_with_settings_and_fingerprints_alone():
    inputs = {"data": [MADE], "weights": []}
    key = runs.run_key({"a": 1, "b": [2]}, inputs)
    assert len(key) == 12 and int(key, 16) >= 0
    assert (
        runs.run_key({"b": (2,), "a": 1}, {"data": [MADE | {"source": "cache", "licence": "?"}], "weights": []}) == key
    )
    others = [
        runs.run_key({"a": 2, "b": [2]}, inputs),
        runs.run_key({"a": 1, "b": [2], "c": 0}, inputs),
        runs.run_key({"a": 1, "b": [2]}, {"data": [MADE | {"fingerprint": "f" * 16}], "weights": []}),
        runs.run_key({"a": 1, "b": [2]}, {"data": [MADE], "weights": [MADE]}),
    ]
    assert len({key, *others}) == 5


def test_settings_are_stored_as_json_gives_them_back():
    assert as_stored(Settings()) == {"epochs": 3, "sizes": [1, 2]}


def test_the_stored_lists_name_images_that_a_source_was_trained_on():
    shared = runs.shared_images(["stl10", "cifar10", "hymenoptera"])
    counts = {"stl10": {"train": 5_000, "test": 8_000}, "cifar10": {"train": 50_000, "test": 10_000}}
    counts["hymenoptera"] = {"train": 244, "val": 153}
    assert {name: set(splits) for name, splits in shared.items()} == {name: set(own) for name, own in counts.items()}
    for name, splits in shared.items():
        assert all(0 < len(found) < 200 and max(found) < counts[name][split] for split, found in splits.items())
    assert runs.shared_images(["mnist"]) == {"mnist": {}}

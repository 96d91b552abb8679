"""Benchmarks take turns, report medians, and time the same work on both sides."""

import dataclasses
import time

import pytest

import benchmarks
from benchmarks import timing, tominet
from tlkeras.experiments import environment, runs
from tlkeras.experiments.report import PROFILES, ByProfile


@pytest.fixture
def small(monkeypatch):
    """The rows with the settings of the smoke profile; ours is called once, each peer too."""

    def compare(name, ours, peer, equal):
        if name == "head phase vs fit":
            ours()
        peer()
        return {"name": name, "ours": 1.0, "peer": 2.0, "ratio": 2.0, "unit": "s", "equal": equal}

    smoke = ByProfile(dict.fromkeys(PROFILES, tominet.REPORT.reduced(None, "smoke")))
    monkeypatch.setattr(tominet, "REPORT", dataclasses.replace(tominet.REPORT, reduced=smoke))
    monkeypatch.setattr(timing, "compare", compare)


def test_compare_takes_turns_and_keeps_the_medians(monkeypatch):
    order, clock = [], iter([0, 1, 10, 12, 20, 29, 30, 38, 40, 42, 50, 54])  # ours 1, 9, 2; peer 2, 8, 4
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    row = timing.compare("toy", lambda: order.append("ours"), lambda: order.append("peer"), "all", repeats=3)
    assert order == ["ours", "peer"] * 3
    assert row == {"name": "toy", "ours": 2, "peer": 4, "ratio": 2.0, "unit": "s", "equal": "all"}
    assert tuple(row) == benchmarks.COLUMNS


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"benchmarks out of \['tominet', .*\]\. Received: \['speed'\]$"):
        benchmarks.run(["tominet", "speed"])


def test_no_name_means_all(monkeypatch):
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"a": lambda: [{"name": 1}], "b": lambda: [{"name": 2}, {"name": 3}]})
    assert [row["name"] for row in benchmarks.run()] == [1, 2, 3]
    assert [row["name"] for row in benchmarks.run([])] == [1, 2, 3]
    assert [row["name"] for row in benchmarks.run(["b"])] == [2, 3]


def test_both_sides_of_the_head_phase_do_the_same(small, monkeypatch):
    monkeypatch.setattr(tominet, "_study", lambda: [])
    models, model = [], tominet._model

    def remember(arm):
        models.append(model(arm))
        return models[-1]

    monkeypatch.setattr(tominet, "_model", remember)
    monkeypatch.setattr(tominet, "_loading", lambda: {"name": "load"})
    first, second, loading = benchmarks.run(["tominet"])
    assert set(first) == set(second) == set(benchmarks.COLUMNS)
    assert "TomiNet, conv layers frozen" in first["equal"] and "2 epochs" in first["equal"]
    assert loading["name"] == "load"
    fresh = model(tominet.REPORT.settings("letters", "smoke"))
    for trained in models:
        moved = [bool((old != new).any()) for old, new in zip(fresh.get_weights(), trained.get_weights(), strict=True)]
        assert moved == [False] * 12 + [True] * 2
    assert len(models) == 3


def test_the_study_is_timed_by_one_draw_of_each_arm(monkeypatch):
    clock, ran = iter([0.0, 60.0]), []
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(runs, "isolated_run", lambda report, settings, seed: ran.append((settings.source, seed)))
    monkeypatch.setattr(environment, "peak_memory_mib", lambda: 502.4)
    wall, peak = tominet._study()
    assert ran == [(None, 0), ("fashion_mnist", 0), ("letters", 0), ("cyrillic_letters", 0)]
    assert (wall["ours"], wall["unit"], wall["peer"]) == (30.0, "min", None)
    assert (peak["ours"], peak["unit"], peak["ratio"]) == (502, "MiB", None)
    assert set(wall) == set(peak) == set(benchmarks.COLUMNS)

"""Both sides train the same head; steps are medians of processes that take turns; memory is a peak."""

import dataclasses

import numpy as np
import pytest

import benchmarks
from benchmarks import ants_bees as bench
from benchmarks import ants_bees_step
from tlkeras import startup

TENTH = 1 / 16


@pytest.fixture
def small(monkeypatch):
    narrow = ((4, 4), (4,), (4,), (8,), (8,))
    few = dataclasses.replace(
        bench.FROZEN, side=64, resize=72, width=TENTH, train_count=16, validation_count=8, epochs=3
    )
    for name, value in {"SIDE": 64, "VGG16_BLOCKS": narrow, "FROZEN": few, "ROUNDS": 3}.items():
        monkeypatch.setattr(bench, name, value)


def test_the_frozen_regime_learns_the_same_with_and_without_the_cache(small):
    row = bench._frozen("alexnet")
    assert tuple(row) == benchmarks.COLUMNS
    assert row["ours"] > 0 and row["peer"] > 0
    assert "16 + 8 hymenoptera images of 64 px" in row["equal"]


@pytest.mark.parametrize("installed", [True, False])
def test_steps_are_measured_in_turn(small, monkeypatch, installed):
    order, times = [], {"ours": iter([0.3, 0.1, 0.2]), "pytorch": iter([0.4, 0.6, 0.5])}

    def measure(name, file):
        assert file.exists()
        order.append(name)
        return {"step": next(times.get(name, iter([0.8]))), "logits": [[1.0, 2.0]]}

    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(bench, "_write_batch", lambda file: file.touch())
    epoch, tried = bench._epochs()
    assert order[:-1] == (["ours", "pytorch"] * 3 if installed else ["ours"] * 3)
    assert (epoch["ours"], epoch["peer"]) == (18.4, 46.0 if installed else None)  # 92 steps
    assert ("same weights" in epoch["equal"]) == installed
    assert tried["ratio"] == 4.0


def test_our_side_runs_in_a_process_of_its_own(small, tmp_path):
    bench._write_batch(tmp_path / "batch.npz")
    ours = bench._measure("ours", tmp_path / "batch.npz")
    assert ours["step"] > 0
    assert np.shape(ours["logits"])[-1] == 2


def test_memory_is_the_peak_after_full_training(small, monkeypatch):
    def measure(name, file):
        with np.load(file) as archive:
            return ants_bees_step.SIDES[name]({key: archive[key] for key in archive.files})

    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(startup, "quiet_start", lambda threads: None)
    row = bench._memory()
    assert tuple(row) == benchmarks.COLUMNS
    assert row["ours"] > 100 and row["unit"] == "MiB"

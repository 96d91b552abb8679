"""Both sides train the same head to the same accuracy; steps are medians of processes that take turns."""

import numpy as np
import pytest

import benchmarks
from benchmarks import squeezenet as bench
from benchmarks import squeezenet_head, squeezenet_step, timing


@pytest.fixture
def small(monkeypatch):
    for name, value in {"COUNT": 64, "EPOCHS": 1, "SIDE": 40, "ROUNDS": 3}.items():
        monkeypatch.setattr(bench, name, value)


def test_the_head_learns_the_same_with_and_without_the_cache():
    ours, peer = (squeezenet_head.measure(side, 64, 1, 40) for side in ("ours", "peer"))
    assert ours["accuracy"] == pytest.approx(peer["accuracy"], abs=0.1)
    assert ours["epoch"] < peer["epoch"] and ours["before"] > 0


def test_each_side_of_the_head_runs_in_a_process_of_its_own(small):
    row = bench._head_epoch()
    assert tuple(row) == benchmarks.COLUMNS
    assert row["ratio"] > 0 and "64 CIFAR-10 images enlarged to 40 px" in row["equal"]


@pytest.mark.parametrize("installed", [True, False])
def test_steps_are_measured_in_turn(small, monkeypatch, installed):
    order, times = [], {"ours": iter([0.3, 0.1, 0.2]), "pytorch": iter([0.4, 0.6, 0.5])}

    def measure(name, file):
        assert file.exists()
        order.append(name)
        seconds = next(times[name])
        return {"train": seconds, "infer": seconds / 10, "logits": [[1.0, 2.0]]}

    monkeypatch.setattr(bench.importlib.util, "find_spec", lambda name: installed or None)
    monkeypatch.setattr(bench, "_measure", measure)
    monkeypatch.setattr(bench, "_write_batch", lambda file, *sizes: file.touch())
    train, infer = bench._steps(32, batch_size=8)
    assert order == (["ours", "pytorch"] * 3 if installed else ["ours"] * 3)
    assert (train["ours"], infer["ours"], train["unit"]) == (200.0, 20.0, "ms")
    assert (train["peer"], train["ratio"]) == ((500.0, 2.5) if installed else (None, None))
    assert ("same weights" in train["equal"]) == installed


def test_our_side_runs_in_a_process_of_its_own(small, tmp_path):
    bench._write_batch(tmp_path / "batch.npz", 32, 2)
    found = bench._measure("ours", tmp_path / "batch.npz")
    assert found["train"] > found["infer"] > 0
    assert np.shape(found["logits"]) == (2, 10)


@pytest.mark.parametrize(("measure", "expected"), [(timing.median_seconds, 2.0), (timing.fastest_seconds, 1.0)])
def test_the_warm_calls_are_left_out(monkeypatch, measure, expected):
    clock = iter([0.0, 5.0, 10.0, 11.0, 20.0, 22.0])
    monkeypatch.setattr(timing.time, "perf_counter", lambda: next(clock))
    calls = []
    assert measure(lambda: calls.append(1), 3, warm=3) == expected
    assert len(calls) == 6


def test_what_was_tried_is_timed_beside_what_was_kept(monkeypatch):
    monkeypatch.setattr(bench, "_write_batch", lambda file, *sizes: file.touch())
    monkeypatch.setattr(bench, "_measure", lambda name, file: {"train": 0.1 if name == "ours" else 0.2})
    rows = bench._variants(32, batch_size=8)
    assert [row["name"] for row in rows] == [
        f"tried: {name}" for name in squeezenet_step.SIDES if name not in ("ours", "pytorch")
    ]
    assert {(row["ours"], row["peer"], row["ratio"]) for row in rows} == {(100.0, 200.0, 2.0)}

"""Both sides train the same classifier on the same images, and the small half is every arm with small data."""

import pytest

import benchmarks
from benchmarks import strategies
from tlkeras.experiments import runs


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(strategies, "PROFILE", "smoke")


def test_the_rows_of_a_frozen_base(small):
    whole, epoch = strategies._frozen()
    for row in (whole, epoch):
        assert set(row) == set(benchmarks.COLUMNS)
        assert "20 CIFAR-10 images" in row["equal"] and "2 epochs" in row["equal"]
        assert row["ours"] > 0 and row["ratio"] == pytest.approx(row["peer"] / row["ours"], rel=0.1)
    assert epoch["peer"] < whole["peer"]


def test_the_small_half_is_every_arm_with_small_data(small, monkeypatch):
    ran = []
    monkeypatch.setattr(runs, "isolated_run", lambda report, settings, seed: ran.append((settings, seed)))
    row = strategies.small_half()
    assert len(ran) == len(set(ran)) == 4 * 3
    assert {settings.dataset for settings, _ in ran} == {"cifar10", "stl10", "fashion_mnist", "letters"}
    assert (row["unit"], row["peer"]) == ("min", None)


def test_the_command_knows_them():
    assert benchmarks.BENCHMARKS["strategies"] is strategies.rows

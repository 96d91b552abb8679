"""Claims are decided by the runs, collapsed runs are counted, and costs follow from what a run trained."""

import dataclasses

import pytest

from tlkeras.reports.squeezenet import claims
from tlkeras.reports.squeezenet import run as report


def run(arm, seed, accuracy, *, collapsed=0.0, phases=("main",), cached=None, **changes):
    settings = dataclasses.replace(report.ARMS[arm], **changes)
    return {
        "arm": arm, "seed": seed, "profile": "paper", "settings": dataclasses.asdict(settings), "data": [{}],
        "metrics": {"test_accuracy": accuracy, "collapsed": collapsed}, "history": {"phase": list(phases)},
        "details": {"cached": cached or {"main": True}, "seconds": {"main": 3.0}},
    }  # fmt: skip


def study(head, some, whole, count=5):
    found = {"head": head, "fire8_up": some, "all": whole}
    return [run(arm, seed, value + seed / 1000) for arm, value in found.items() for seed in range(count)]


def test_more_trained_parameters_are_better_or_not_as_the_runs_say():
    assert [row["held"] for row in claims.findings(study(0.4, 0.5, 0.7))] == ["held", "held"]
    assert [row["held"] for row in claims.findings(study(0.4, 0.3, 0.3))] == ["did not hold", "not shown"]
    assert [row["held"] for row in claims.findings(study(0.4, 0.5, 0.7, count=3))] == ["not decided (n too small)"] * 2


def test_collapsed_runs_are_counted_for_each_rate():
    runs = [run("all", 0, 0.7), run("all_caffe_1e-3", 0, 0.1, collapsed=1.0), run("all_caffe_1e-3", 1, 0.5)]
    runs.append(run("scratch_1e-3", 0, 0.1, collapsed=1.0))
    rows = claims.collapses(runs)
    assert [(row["arm"], row["learning_rate"], row["preprocessing"], row["collapsed"]) for row in rows] == [
        ("all", "0.001", "unit", "0 of 1"),
        ("all_caffe_1e-3", "0.001", "caffe", "1 of 2"),
        ("scratch_1e-3", "0.001", "unit", "1 of 1"),
    ]
    assert rows[1]["test_accuracy"] == pytest.approx(0.3)


def test_costs_grow_with_what_is_trained_and_with_the_epochs_that_were():
    small = {"train_count": 100}
    head = run("head", 0, 0.4, phases=["main"] * 4, **small)
    again = run("head", 1, 0.4, phases=["main"] * 8, **small)
    whole = run("all", 0, 0.7, phases=["main"] * 4, cached={"main": False}, **small)
    assert claims.flops(head) < claims.flops(again) < 1.1 * claims.flops(head)
    assert claims.flops(whole) > 10 * claims.flops(head)
    two = run("all_96", 0, 0.8, phases=["head", "main"], cached={"head": True, "main": False}, **small)
    one = run("all_96", 0, 0.8, phases=["main"], cached={"main": False}, **small)
    assert claims.flops(two) > claims.flops(one)
    rows = claims.costs([head, again, whole], ["head", "all", "all_96"])
    assert [(row["arm"], row["trained"], row["n"], row["seconds"]) for row in rows] == [
        ("head", 5_130, 2, 3.0),
        ("all", 727_626, 1, 3.0),
    ]


def test_the_first_run_pays_for_features_that_are_cached_and_the_fastest_stands_for_the_others():
    runs = [run(arm, seed, 0.5, cached={"main": arm == "head"}) for arm in ("head", "all") for seed in (0, 1)]
    for each, seconds in zip(runs, (90.0, 10.0, 90.0, 70.0), strict=True):
        each["details"]["seconds"] = {"main": seconds}
    rows = claims.costs(runs[::-1], ["head", "all"])
    assert [(row["arm"], row["seconds"]) for row in rows] == [("head", 90.0), ("all", 70.0)]

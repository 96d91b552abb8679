"""Each silent trap does what its page says, at a small size, and tlkeras catches it."""

import json

import pytest
import traps as scripts

from tools import traps

IMAGES, TESTS = 100, 300
# What Keras 3 mends by itself.
MENDED = ("softmax_twice",)
# What is reported flatters.
FLATTERING = ("leaked_validation",)
WARNED = ("skipped_mismatch", "wrong_monitor", "softmax_twice", "single_softmax")
# These train for seconds; `make traps` shows them, too.
LONG = (
    *("freeze_without_compile", "unfreeze_without_compile", "frozen_base_in_training_mode", "schedule_at_its_end"),
    *("old_name_of_the_rate", "gradients_scaled_under_adam", "blue_first", "wrapping_bytes", "loaded_by_name"),
    *("reused_checkpoint", "wrong_way_round", "wrong_monitor", "sorted_split", "logits_as_probabilities"),
    "single_softmax",
)
RECORDED = {row["trap"]: row for row in traps.read()}


@pytest.fixture(scope="module")
def digits():
    return scripts.world(IMAGES, TESTS, 0)


@pytest.mark.parametrize("name", [name for name in scripts.TRAPS if name not in LONG])
def test_the_trap_is_there(digits, name):
    (right, trapped), warned = scripts.shown(name, digits)
    assert warned == (name in WARNED)
    if name in MENDED:
        assert trapped == pytest.approx(right, abs=0.02)
    elif name in FLATTERING:
        assert trapped > right + 0.02
    else:
        assert trapped < right


@pytest.mark.parametrize("name", scripts.TRAPS)
def test_tlkeras_catches_it(digits, name):
    scripts.TRAPS[name].caught(digits)


def test_there_are_at_least_twenty_and_all_are_recorded_as_they_are():
    assert len(scripts.TRAPS) >= 20
    assert list(RECORDED) == list(scripts.TRAPS)
    for name, trap in scripts.TRAPS.items():
        row = RECORDED[name]
        assert (row["group"], row["says"], row["tlkeras"]) == (trap.group, trap.says, trap.tlkeras)
        assert trap.group in traps.HEADINGS and row["keras_warns"] == (name in WARNED)


def test_the_page_has_the_medians_of_the_record(tmp_path, monkeypatch):
    row = {**RECORDED["scaled_twice"], "right": 0.9, "in_the_trap": 0.25, "difference": -0.61, "n": 5}
    path = tmp_path / "traps.json"
    path.write_text(json.dumps([row, {**row, "trap": "other", "right": 0.9, "in_the_trap": 0.9, "difference": 0}]))
    monkeypatch.setattr(traps, "RECORD", path)
    assert "(`scaled_twice`) | 0.900 | 0.250 | -0.610 | 5 | nothing | `ValueError`" in traps.table()
    assert "(`other`) | 0.900 | 0.900 | none | 5 |" in traps.table()
    assert traps.summary().startswith("2 traps. Of 2 of them Keras says nothing; 1 cost nothing")
    assert "`scaled_twice`, costs 0.610 of 0.900" in traps.summary()


def test_a_trap_that_is_not_caught_is_told():
    with pytest.raises(AssertionError, match="Received: no error"), scripts.refused(ValueError, "anything"):
        pass

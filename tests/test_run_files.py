"""Where runs are kept, by which key, and how their files are written."""

import json

import pytest

from tlkeras.experiments import runs

MADE = {"source": "made", "fingerprint": "0123456789abcdef", "licence": "CC0"}


def test_profile_is_the_argument_else_the_environment_else_quick(monkeypatch):
    assert runs.profile("paper") == "paper"
    assert runs.profile() == "smoke"  # the tests' own
    monkeypatch.delenv("TLKERAS_PROFILE")
    assert runs.profile() == "quick"


@pytest.mark.parametrize("name", ["fast", "PAPER", " "])
def test_unknown_profiles_are_refused(monkeypatch, name):
    message = rf"out of \('smoke', 'quick', 'paper'\)\. Received: '{name}'$"
    with pytest.raises(ValueError, match=message):
        runs.profile(name)
    monkeypatch.setenv("TLKERAS_PROFILE", name)
    with pytest.raises(ValueError, match=message):
        runs.profile()


def test_each_profile_has_its_own_folder(monkeypatch, tmp_path, own_world):
    assert runs.results_folder("paper") == runs.REPOSITORY / "results"
    assert runs.results_folder("quick") == own_world / "results"
    assert runs.results_folder("smoke") is None
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path))
    assert {runs.results_folder(name) for name in runs.PROFILES} == {tmp_path}


def test_the_key_changes_with_settings_and_fingerprints_alone():
    key = runs.run_key({"a": 1, "b": [2]}, [MADE])
    assert len(key) == 12 and int(key, 16) >= 0
    assert runs.run_key({"b": (2,), "a": 1}, [MADE | {"source": "cache", "licence": "?"}]) == key
    others = [
        runs.run_key({"a": 2, "b": [2]}, [MADE]),
        runs.run_key({"a": 1, "b": [2], "c": 0}, [MADE]),
        runs.run_key({"a": 1, "b": [2]}, [MADE | {"fingerprint": "f" * 16}]),
        runs.run_key({"a": 1, "b": [2]}, [MADE, MADE]),
    ]
    assert len({key, *others}) == 5


def test_results_that_are_no_json_leave_the_old_file(tmp_path):
    runs.write_json(tmp_path / "new" / "0.json", {"accuracy": 0.5})
    with pytest.raises(TypeError):
        runs.write_json(tmp_path / "new" / "0.json", {"accuracy": object()})
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["0.json"]
    assert json.loads((tmp_path / "new" / "0.json").read_text()) == {"accuracy": 0.5}


def test_numbers_that_are_none_stay_so(tmp_path):
    runs.write_json(tmp_path / "0.json", {"loss": float("nan"), "val": None})
    content = json.loads((tmp_path / "0.json").read_text())
    assert content["loss"] != content["loss"]
    assert content["val"] is None

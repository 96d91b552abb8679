"""The audit names every file that is damaged, orphaned or there twice, and arms of mixed data; it changes nothing."""

import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys

import pytest
from toy_report import MADE, Settings, Toy

from tlkeras import __main__ as command_line
from tlkeras.experiments import audit, environment, runs


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    return Toy()


@pytest.fixture
def store(toy, tmp_path, monkeypatch):
    """Return a store of three runs of each of two arms."""
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    runs.study(toy.report, seeds=3, profile_name="paper")
    (tmp_path / "results" / "benchmarks.json").write_text("[]")  # no run lies there
    return tmp_path / "results"


def found(toy, store):
    return [(finding.kind, finding.path, finding.reason) for finding in audit.findings({"toy": toy.report}, store)]


def changed(path, **fields):
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_sound_store(toy, store):
    assert found(toy, store) == [] and len(audit.files(store)) == 6


def test_damage_and_strays_are_named(toy, store):
    first, second, third = sorted(store.glob("toy/long/*/*.json"))
    first.write_bytes(b"")
    changed(second, metrics={"accuracy": float("nan")})
    shutil.copy(third, third.with_name("9.json"))
    (third.parent / ".00.partial.4.json").touch()
    (third.parent / "deeper").mkdir()
    (third.parent / "deeper" / "note.txt").touch()
    place = f"toy/long/{third.parent.name}"
    before = {path: path.read_bytes() for path in audit.files(store)}
    assert found(toy, store) == [
        ("stray", f"{place}/.00.partial.4.json", "left by a writer that was killed; delete it"),
        ("damaged", f"{place}/0.json", "Expecting value: line 1 column 1 (char 0)"),
        ("damaged", f"{place}/9.json", "Expected the run of toy/long/9. Received: 'toy', 'long', 2"),
        ("stray", f"{place}/deeper/note.txt", "expected report/arm/key/seed.json"),
        ("damaged", f"{place}/1.json", "metrics that are not finite: accuracy"),
    ]
    assert before == {path: path.read_bytes() for path in audit.files(store)}


def test_orphans_and_altered_settings_are_named(toy, store):
    first, second, _ = sorted(store.glob("toy/long/*/*.json"))
    changed(first, settings={"epochs": 31, "sizes": [1, 2]})
    changed(second, data=[{**MADE, "fingerprint": "f" * 16}])
    toy.arms = {"long": Settings(epochs=30)}
    key = first.parent.name
    assert [finding for finding in found(toy, store) if finding[0] != "mixed"] == [
        ("orphaned", f"toy/long/{key}/0.json", "settings that no arm has: epochs"),
        ("altered", f"toy/long/{key}/1.json", "the folder was named by other settings, data or weights"),
        *(
            ("orphaned", str(path.relative_to(store)), "no report has this arm")
            for path in sorted(store.glob("toy/short/*/*.json"))
        ),
    ]


def test_runs_that_are_there_twice_and_arms_of_mixed_data_are_named(toy, store):
    first, *_ = sorted(store.glob("toy/short/*/*.json"))
    other = first.parent.with_name(f"{first.parent.name}-2") / first.name
    other.parent.mkdir()
    shutil.copy(first, other)
    toy.data = {**MADE, "fingerprint": "f" * 16}
    runs.study(toy.report, "long", seeds=1, profile_name="paper")
    kinds = {kind: (path, reason) for kind, path, reason in found(toy, store)}
    same = f"the same run as {first.relative_to(store)}"
    assert kinds == {
        "duplicated": (str(other.relative_to(store)), same),
        "mixed": ("toy/long", kinds["mixed"][1]),
    }
    assert sorted(kinds["mixed"][1].split("; ")) == [
        "1 runs of toy " + "f" * 16,
        f"3 runs of toy {MADE['fingerprint']}",
    ]


def test_a_setting_that_is_new_makes_no_orphan(toy, store):
    grown = dataclasses.make_dataclass("Grown", [("warmup", int, 0)], bases=(Settings,), frozen=True)
    toy.arms = {"short": grown(), "long": grown(epochs=30)}
    assert found(toy, store) == []


def test_the_command_lists_and_its_exit_code_tells(toy, store, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "REPORTS", {"toy": toy.report})
    assert command_line.main(["audit"]) == 0
    assert capsys.readouterr().out == f"6 files in {store}, no findings\n"
    path = min(store.glob("toy/short/*/*.json"))
    path.write_bytes(b"")
    assert command_line.main(["audit"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == f"damaged: {path.relative_to(store)}"
    assert command_line.main(["audit", "--json"]) == 1
    assert [list(row) for row in json.loads(capsys.readouterr().out)] == [["kind", "path", "reason"]]
    monkeypatch.setenv("TLKERAS_RESULTS", str(store / "nowhere"))
    assert command_line.main(["audit"]) == 2


def test_the_recorded_runs_are_sound_and_looked_at_without_tensorflow():
    code = "import sys\nfrom tlkeras import __main__\nsys.exit(__main__.main(['audit']) or 'tensorflow' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert told.returncode == 0 and told.stdout.endswith("no findings\n"), told.stdout + told.stderr

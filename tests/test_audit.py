"""The audit names every file that is damaged, orphaned or there twice, and arms of mixed data; it changes nothing."""

import contextlib
import dataclasses
import json
import os
import shutil
import subprocess
import sys

import pytest
from toy_report import MADE, Settings, Toy

from tlkeras import __main__ as command_line
from tlkeras.experiments import audit, environment, runs
from tlkeras.reports import REPORTS


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


# The lottery


def stored_runs(toy):
    return list(runs.load_runs(toy.report))


def test_the_seed_decides_the_draw_and_every_run_can_be_drawn(toy, store):
    stored = stored_runs(toy)
    first = {audit.draw(stored, str(seed), limit=60)[0] == run for seed in range(60) for run in stored}
    assert first == {True, False} and audit.draw(stored, "a", limit=60) == audit.draw(stored[::-1], "a", limit=60)
    drawn_first = [stored.index(audit.draw(stored, str(seed), limit=60)[0]) for seed in range(60)]
    assert set(drawn_first) == set(range(6))
    slow = [dataclasses.replace(run, wall_seconds=60.0 * run.seed) for run in stored]
    assert {run.seed for run in audit.draw(slow, "a", limit=60)} == {0, 1}
    assert audit.draw([dataclasses.replace(run, wall_seconds=None) for run in stored], "a", limit=60) == []


def test_what_is_computed_again_is_compared_metric_by_metric(toy, store):
    reports, stored = {"toy": toy.report}, stored_runs(toy)
    outcomes = list(audit.again(reports, stored, 4))
    assert [outcome.verdict for outcome in outcomes] == [audit.EQUAL] * 4
    changed(min(store.glob("toy/short/*/2.json")), metrics={"accuracy": 0.666668, "seconds": 3.0})
    (outcome,) = audit.again(reports, [run for run in stored_runs(toy) if run.arm == "short" and run.seed == 2], 1)
    assert str(outcome) == "toy/short, seed 2: different (accuracy 0.666667, stored 0.666668)"


def test_what_is_computed_again_has_the_data_of_its_profile(toy, store, monkeypatch):
    seen, stored, run = [], stored_runs(toy), toy.run
    monkeypatch.setattr(toy, "run", lambda *given: seen.append(os.environ["TLKERAS_PROFILE"]) or run(*given))
    assert [outcome.verdict for outcome in audit.again({"toy": toy.report}, stored, 1)] == [audit.EQUAL]
    assert seen == ["paper"] and os.environ["TLKERAS_PROFILE"] == "smoke"


def test_another_machine_may_differ_within_the_tolerance(toy, store):
    run = dataclasses.replace(stored_runs(toy)[0], metrics={"accuracy": 0.5, "loss": 2.0, "seconds": 1.0})

    def verdict(same_machine=False, **found):
        return audit.compared(run, {"accuracy": 0.5, "loss": 2.0, **found}, same_machine=same_machine).verdict

    assert verdict() == audit.EQUAL == verdict(same_machine=True, seconds=9.0)
    assert verdict(accuracy=0.51999, loss=2.0999) == audit.NEAR
    assert verdict(same_machine=True, accuracy=0.500001) == audit.DIFFERENT
    assert verdict(accuracy=0.526) == verdict(loss=2.11) == verdict(loss=float("nan")) == audit.DIFFERENT
    assert audit.compared(run, {"loss": 2.0}, same_machine=False).verdict == audit.DIFFERENT


@pytest.mark.parametrize(
    "other", [{"versions": {"keras": "2.0"}}, {"device": "GPU"}, {"threads": 99}, {"threads": None}]
)
def test_runs_of_other_versions_machines_and_threads_are_told(toy, store, other):
    run = dataclasses.replace(stored_runs(toy)[0], metrics={"accuracy": 0.01})
    assert next(audit.again({"toy": toy.report}, [run], 1)).verdict == audit.DIFFERENT
    run = dataclasses.replace(run, **{**other, "versions": {**run.versions, **other.get("versions", {})}})
    assert next(audit.again({"toy": toy.report}, [run], 1)).verdict == audit.NEAR


def test_what_cannot_be_computed_here_does_not_count(toy, store):
    stored = stored_runs(toy)
    absent = dataclasses.replace(stored[0], data=[{**MADE, "fingerprint": "f" * 16}])
    outcomes = list(audit.again({"toy": toy.report}, [absent, *stored], 2))
    assert [outcome.verdict for outcome in outcomes] == [audit.NOT_HERE, audit.EQUAL, audit.EQUAL]
    jax = dataclasses.replace(stored[0], versions={**stored[0].versions, "jax": "0.8"})
    at_once = dataclasses.replace(stored[0], details={"engine": "jax"})
    outcomes = list(audit.again({"toy": toy.report}, [jax, at_once, *stored], 1))
    assert [outcome.verdict for outcome in outcomes] == [audit.NOT_HERE, audit.NOT_HERE, audit.EQUAL]
    toy.inputs = lambda settings: exec("raise RuntimeError('no source\\nat all')")
    (outcome,) = audit.again({"toy": toy.report}, stored[:1], 1)
    assert str(outcome) == "toy/short, seed 0: cannot be computed here (no source)"


def test_no_run_is_begun_that_would_end_too_late(toy, store):
    stored = [dataclasses.replace(run, wall_seconds=40.0 * run.seed) for run in stored_runs(toy)]
    assert len(list(audit.again({"toy": toy.report}, stored[:3], 3, minutes=1))) == 2


def test_the_chance_is_that_of_a_draw_without_replacement():
    assert audit.chance(10, 1, 3) == pytest.approx(0.3) and audit.chance(10, 0, 3) == 0
    assert audit.chance(10, 8, 3) == 1 == audit.chance(10, 10, 1)
    assert audit.chance(4, 2, 2) == pytest.approx(1 - 1 / 6)
    told = audit.statement(100, 20, 60)
    assert told.startswith("20 of the 100 runs that took at most 60 s") and "1% (1): 0.20, 5% (5): 0.68" in told
    assert "passed over" not in told
    assert "nothing of runs like the 3 that were passed over. Equal" in audit.statement(100, 20, 60, passed_over=3)


def test_an_altered_run_of_a_real_report_is_found(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path))
    report = dataclasses.replace(REPORTS["tominet"], arms={"scratch_50": REPORTS["tominet"].arms["scratch_50"]})
    monkeypatch.setattr(command_line, "REPORTS", {"tominet": report})
    (run,) = runs.study(report, seeds=1)
    draw = ("audit", "--profile", "smoke", "--rerun", "9", "--seed", "a lottery's number")
    assert command_line.main(list(draw)) == 0
    told = capsys.readouterr().err
    assert "tominet/scratch_50, seed 0: equal\n" in told and 'Drawn by "a lottery\'s number". 1 of the 1 runs' in told
    (path,) = tmp_path.glob("tominet/scratch_50/*/0.json")
    changed(path, metrics={**run.metrics, "test_accuracy": run.metrics["test_accuracy"] + 0.005})
    assert command_line.main(list(draw)) == 1
    assert capsys.readouterr().out.startswith("different: tominet/scratch_50, seed 0\n    test_accuracy ")

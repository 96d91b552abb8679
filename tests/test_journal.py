"""A run is computed by one process at a time; what runs, has failed or was interrupted is told."""

import contextlib
import json
import threading
from pathlib import Path

import pytest
from toy_report import Toy

from tlkeras import __main__ as command_line
from tlkeras.experiments import environment, journal, runs

RUN = ("toy", "short", "0123456789ab", 0)


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    return Toy()


def left(store):
    return sorted(path.name for path in journal.folder(store).rglob("*") if path.is_file())


def test_a_run_has_one_process_at_a_time(store):
    with journal.claimed(store, *RUN) as first, journal.claimed(store, *RUN) as second:
        assert (first, second) == (True, False)
        (entry,) = journal.entries(store)
        assert (entry.report, entry.arm, entry.seed, entry.state) == ("toy", "short", 0, "running")
        with journal.claimed(store, *RUN[:3], 1) as other, journal.claimed(store.parent, *RUN) as elsewhere:
            assert other and elsewhere
    assert journal.entries(store) == [] and left(store) == ["journal.lock"]
    with journal.claimed(store, *RUN) as free:
        assert free


def test_what_fails_is_noted_with_the_reason_until_it_ends_well(store):
    with pytest.raises(ValueError, match="too small"), journal.claimed(store, *RUN):
        raise ValueError("too small")
    (entry,) = journal.entries(store)
    assert (entry.state, entry.reason) == ("failed", "ValueError: too small")
    assert entry.traceback.startswith("Traceback") and 'raise ValueError("too small")' in entry.traceback
    with journal.claimed(store, *RUN):
        pass
    assert journal.entries(store) == []
    with pytest.raises(KeyboardInterrupt), journal.claimed(store, *RUN):
        raise KeyboardInterrupt
    assert journal.entries(store) == []


def test_a_process_that_is_gone_has_interrupted_its_run(store):
    with journal.claimed(store, *RUN):
        (path,) = journal.folder(store).rglob("*.json")
        content = path.read_bytes()
    path.write_bytes(content)  # as kill -9 leaves it
    assert [entry.state for entry in journal.entries(store)] == ["interrupted"]
    path.write_text("[]")
    assert journal.entries(store) == []
    with journal.claimed(store, *RUN) as free:
        assert free


def test_an_entry_from_before_tracebacks_were_kept_is_read(store):
    with pytest.raises(ValueError, match="too small"), journal.claimed(store, *RUN):
        raise ValueError("too small")
    (path,) = journal.folder(store).rglob("*.json")
    facts = json.loads(path.read_text())
    del facts["traceback"]
    path.write_text(json.dumps(facts))
    (entry,) = journal.entries(store)
    assert (entry.reason, entry.traceback) == ("ValueError: too small", "")


def test_where_no_journal_can_be_kept_nobody_is_kept_out(store, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TLKERAS_HOME", str(tmp_path / "file"))
    with journal.claimed(store, *RUN) as first, journal.claimed(store, *RUN) as second:
        assert first and second


@pytest.mark.parametrize("error", [None, ValueError("too small"), KeyboardInterrupt()])
def test_a_run_is_free_again_where_files_cannot_be_removed(store, monkeypatch, error):
    def refuse(path, missing_ok=False):
        raise PermissionError(13, "The process cannot access the file", str(path))  # as Windows has it

    monkeypatch.setattr(Path, "unlink", refuse)
    with contextlib.suppress(ValueError, KeyboardInterrupt), journal.claimed(store, *RUN) as free:
        assert free
        if error:
            raise error
    with journal.claimed(store, *RUN) as first, journal.claimed(store, *RUN) as second:
        assert (first, second) == (True, False)


def test_a_study_waits_for_what_another_process_computes(toy, store, monkeypatch):
    monkeypatch.setattr(runs, "WAIT_SECONDS", 0.01)
    key = runs.run_key(runs.as_stored(toy.arms["short"]), toy.inputs(None))
    found = []
    with journal.claimed(store, "toy", "short", key, 1):
        study = threading.Thread(target=lambda: found.extend(runs.study(toy.report, "short", seeds=3)))
        study.start()
        study.join(0.3)
        assert study.is_alive() and toy.calls == [(3, 0), (3, 2)]
    study.join(30)
    assert [run.seed for run in found] == [0, 1, 2] and toy.calls == [(3, 0), (3, 2), (3, 1)]


def test_a_study_looks_less_and_less_often_until_something_is_finished(toy, store, monkeypatch):
    rounds, waits = [], []

    def execute(compute, jobs):
        rounds.append(list(jobs))
        for job in rounds[-1]:
            yield job, compute(job) if (len(rounds), job[1]) in ((9, 0), (11, 1)) else None

    monkeypatch.setattr(runs.time, "sleep", waits.append)
    assert len(runs.study(toy.report, "short", seeds=2, execute=execute)) == 2
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 1, 2]


def test_the_status_of_a_study(toy, store, monkeypatch, capsys):
    monkeypatch.setattr(command_line, "REPORTS", {"toy": toy.report})
    toy.fails = (1,)
    with pytest.raises(RuntimeError, match="out of memory"):
        runs.study(toy.report, "short", profile_name="quick")
    assert command_line.main(["status", "--profile", "quick"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == "toy (quick): 1 of 4 runs done, about 0 s left and 2 runs of arms whose cost is not known yet"
    assert second.startswith("    short, seed 1: failed, 20") and second.endswith(": RuntimeError: out of memory")
    monkeypatch.setenv("TLKERAS_TRACEBACK", "1")
    assert command_line.main(["status", "--profile", "quick"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [first, second, "        Traceback (most recent call last):"]
    assert told[-1] == "        RuntimeError: out of memory"

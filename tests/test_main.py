"""The command line runs, tabulates and describes; what can be foreseen to go wrong is one line and exit code 2."""

import ast
import contextlib
import functools
import json
import subprocess
import sys
from pathlib import Path

import pytest

import benchmarks
import tlkeras
from tlkeras import __main__ as command_line
from tlkeras import data
from tlkeras.experiments import environment
from tlkeras.experiments.report import Result
from tlkeras.models import weights
from tlkeras.reports import REPORTS
from tlkeras.reports.l2t import pretraining as l2t_source
from tlkeras.reports.squeezenet import pretraining as squeezenet_source
from tlkeras.reports.tominet import pretraining as tominet_sources
from tlkeras.reports.tominet import run as tominet_run
from tlkeras.reports.tominet.settings import REPORT

KEYS = ["report", "arm", "metric", "reported", "mean", "ci_low", "ci_high", "n", "profile", "data", "note"]


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    return tmp_path / "results"


@pytest.fixture
def calls(monkeypatch):
    """Replace the training of the report by something quick, and return the list of its calls."""
    calls = []

    def run(settings, seed):
        calls.append((settings.source, seed))
        return Result({"test_accuracy": 0.5 + seed / 10, "test_loss": 1.0})

    monkeypatch.setattr(tominet_run, "run", run)
    monkeypatch.setattr(tominet_run, "digits", functools.cache(lambda: data.load("mnist", embedded=True)))
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)  # nothing is trained
    return calls


def main(capsys, *arguments):
    """Return exit code, standard output and standard error (without the progress bar)."""
    code = command_line.main(list(arguments))
    found = capsys.readouterr()
    return code, found.out, found.err


def test_run_stores_and_shows_what_it_ran(calls, store, capsys):
    arguments = ("run", "tominet", "--arm", "letters", "--arm", "scratch_50", "--seeds", "2", "--profile", "paper")
    code, out, _ = main(capsys, *arguments)
    assert code == 0
    assert calls == [("letters", 0), (None, 0), ("letters", 1), (None, 1)]
    assert len(list(store.rglob("*.json"))) == 4
    header, _, scratch, first, *others = out.splitlines()
    assert header.split() == ["report", "arm", "metric", "reported", "mean", "profile", "data", "note"]
    assert first.startswith("tominet  letters")
    assert "0.550" in first and "n=2" in first and "stand-in: mnist (embedded: 5,000 digits" in first
    assert "0.770" in first and scratch.startswith("tominet  scratch_50") and len(others) == 2
    assert main(capsys, *arguments) == (0, out, "")
    assert len(calls) == 4


def test_run_takes_every_arm_and_the_profiles_seeds(calls, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "REPORTS", {"tominet": REPORT})
    assert main(capsys, "run", "all")[0] == 0
    assert len(calls) == 2 * len(REPORT.arms)


@pytest.mark.parametrize(
    ("arguments", "received"),
    [
        (["run", "tominette"], "'tominette'"),
        (["run", "tominet", "--arm", "digits"], "['digits']"),
        (["run", "tominet", "--seeds", "0"], "seeds=0"),
        (["run", "tominet", "--profile", "fast"], "'fast'"),
        (["run", "l2t", "--engine", "jax", "--jobs", "2"], "--jobs 2"),
        (["run", "l2t", "--engine", "jax", "--executor", "ray", "--address", "auto"], "--executor ray --address auto"),
        (["run", "tominet", "--executor", "ray", "--jobs", "1"], "--jobs 1"),
        (["run", "tominet", "--address", "auto"], "--address auto"),
        (["run", "all", "--arm", "scratch_50"], "['scratch_50']"),
        (["audit", "--seed", "1", "--limit", "9"], "--seed --limit"),
        (["data", "mnist", "--verify"], "mnist"),
        (["table", "tominette"], "'tominette'"),
        (["table", "--profile", "fast"], "'fast'"),
        (["bench", "speed"], "['speed']"),
        (["data", "mnits"], "name='mnits'"),
        (["pretrain", "cifar10"], "'cifar10'"),
    ],
)
def test_a_wrong_name_is_one_line_and_exit_code_2(calls, capsys, arguments, received):
    code, out, err = main(capsys, *arguments)
    assert (code, out, calls) == (2, "", [])
    (line,) = err.splitlines()
    assert line.startswith("tlkeras: Expected ")
    assert line.endswith(f"Received: {received}")


def test_the_whole_traceback_is_shown_where_it_is_asked_for(capsys, monkeypatch):
    monkeypatch.setenv("TLKERAS_TRACEBACK", "1")
    with pytest.raises(ValueError, match="'tominette'") as caught:
        command_line.main(["table", "tominette"])
    assert caught.traceback[-1].name == "_reports"
    with pytest.raises(SystemExit):
        command_line.main(["--help"])
    assert "TLKERAS_TRACEBACK" in capsys.readouterr().out


def test_an_interruption_is_one_line_and_exit_code_130(capsys, monkeypatch):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(data, "status", interrupted)
    told = "tlkeras: interrupted; what is finished is kept, and the same call goes on\n"
    assert main(capsys, "data") == (130, "", told)
    monkeypatch.setenv("TLKERAS_TRACEBACK", "1")
    with pytest.raises(KeyboardInterrupt):
        command_line.main(["data"])


@pytest.mark.parametrize("arguments", [[], ["walk"], ["run"], ["run", "tominet", "--seeds", "two"]])
def test_a_wrong_command_shows_the_usage(capsys, arguments):
    with pytest.raises(SystemExit) as caught:
        command_line.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m tlkeras")


def test_table_rows_have_exactly_these_keys(calls, capsys):
    main(capsys, "run", "tominet", "--arm", "letters", "--seeds", "3", "--profile", "paper")
    code, out, _ = main(capsys, "table", "--json")
    rows = json.loads(out)
    assert code == 0
    assert all(list(row) == KEYS for row in rows)
    by_arm = {(row["arm"], row["metric"]): row for row in rows}
    letters, fashion = by_arm["letters", "test_accuracy"], by_arm["fashion", "test_accuracy"]
    assert (letters["reported"], letters["n"], letters["profile"]) == (0.77, 3, "paper")
    assert letters["mean"] == pytest.approx(0.6)
    assert letters["ci_low"] < 0.6 < letters["ci_high"]
    assert (fashion["mean"], fashion["n"], fashion["note"]) == (None, 0, "not run")
    assert by_arm["letters", "test_loss"]["reported"] is None


def test_table_shows_the_report_even_without_runs(capsys):
    code, out, _ = main(capsys, "table", "tominet")
    assert code == 0
    assert len(out.splitlines()) == 2 + len(REPORT.reference)
    assert out.count("n=0") == out.count("not run") == len(REPORT.reference)
    every = main(capsys, "table", "all", "--profile", "quick")[1].splitlines()
    assert [line.split() for line in every if line.startswith("tominet")] == [
        line.split() for line in out.splitlines()[2:]
    ]
    with_numbers = {name for name, report in REPORTS.items() if report.reference}  # the slides have none
    assert {line.split()[0] for line in every[2:]} == with_numbers >= {"tominet", "squeezenet"}


def test_table_keeps_profiles_apart(calls, capsys):
    main(capsys, "run", "tominet", "--arm", "letters", "--seeds", "1", "--profile", "smoke")
    paper, smoke = (json.loads(main(capsys, "table", "--json", "--profile", name)[1]) for name in ("paper", "smoke"))
    assert {row["n"] for row in paper} == {0}
    assert {row["n"] for row in smoke if row["arm"] == "letters"} == {1}


def test_bench_prints_both_sides_and_what_was_equal(monkeypatch, capsys):
    rows = [
        {"name": "head", "ours": 1.2, "peer": 2.4, "ratio": 2.0, "unit": "s", "equal": "same digits"},
        {"name": "study", "ours": 7.0, "peer": None, "ratio": None, "unit": "min", "equal": "no peer"},
    ]
    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"toy": lambda: rows})
    assert json.loads(main(capsys, "bench", "--json")[1]) == rows
    assert main(capsys, "bench", "toy")[1].splitlines() == [
        "head: ours 1.2 s, peer 2.4 s, ratio 2.0x",
        "    equal: same digits",
        "study: ours 7.0 min",
        "    equal: no peer",
    ]


def test_data_describes_all_or_one(capsys, monkeypatch):
    code, out, _ = main(capsys, "data")
    assert code == 0
    assert [line for line in out.splitlines() if not line.startswith(" ")] == list(data.RECORDS)
    loaded, embedded = [], data.load("mnist", embedded=True)
    monkeypatch.setattr(data, "load", lambda name: loaded.append(name) or embedded)
    code, out, _ = main(capsys, "data", "mnist")
    assert (code, loaded) == (0, ["mnist"])
    assert out.splitlines()[0] == "mnist"
    assert "    licence: CC BY-SA 3.0, as the Keras documentation states" in out.splitlines()
    assert f"    used fingerprint: {embedded.fingerprint}" in out.splitlines() and "    used stand_in: True" in out
    code, out, _ = main(capsys, "data", "hymenoptera")  # a tree of images is loaded by the same verb
    assert (code, loaded[1:]) == (0, ["hymenoptera"]) and out.startswith("hymenoptera\n    cached: False")


def test_data_that_cannot_be_had_is_no_traceback(capsys):
    code, out, err = main(capsys, "data", "letters")  # the smoke profile has none
    assert (code, out) == (2, "")
    assert err.startswith("tlkeras: Expected a source of letters")


def test_data_and_weights_are_verified(capsys, monkeypatch):
    monkeypatch.setattr(data, "verify", lambda: {Path("mnist.npz"): ""})
    code, out, _ = main(capsys, "data", "--verify")
    told = out.splitlines()
    assert code == 0 and told[0] == "mnist.npz: sound" and len(told) == 1 + len(list(weights.PRETRAINED.glob("*.json")))
    monkeypatch.setattr(data, "verify", lambda: {Path("mnist.npz"): "damaged"})
    code, out, _ = main(capsys, "data", "--verify")
    assert code == 1 and out.startswith("mnist.npz: damaged\n")


def test_pretrain_trains_the_named_or_all(capsys, monkeypatch):
    trained = []

    def pretrain(name):
        trained.append(name)
        return {"test_accuracy": 0.9, "counts": {"test": 5}}

    for sources in (tominet_sources, squeezenet_source, l2t_source):
        monkeypatch.setattr(sources, "pretrain", pretrain)
    assert main(capsys, "pretrain", "letters", "mnist")[1].splitlines() == [
        "letters: test accuracy 0.9 (5 images)",
        "mnist: test accuracy 0.9 (5 images)",
    ]
    assert main(capsys, "pretrain")[0] == 0
    assert trained == ["letters", "mnist", *command_line.TRAINED]
    assert set(tominet_sources.SOURCES) < set(trained)


def test_every_shipped_network_can_be_trained_again():
    for path in weights.PRETRAINED.glob("*.json"):
        assert json.loads(path.read_text())["command"].rpartition("pretrain ")[2] in command_line.TRAINED, path


def test_a_benchmark_without_its_peer_says_what_to_install(monkeypatch, capsys):
    def toy():
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(benchmarks, "BENCHMARKS", {"toy": toy})
    code, _, err = main(capsys, "bench", "toy")
    assert code == 2 and ".[bench]" in err and err.rstrip().endswith("Received: No module named 'torch'")


@pytest.mark.parametrize("arguments", [["table", "--json"], ["--help"]])
def test_tables_and_help_do_not_wait_for_tensorflow(arguments):
    code = (
        "import runpy, sys\n"
        f"sys.argv = ['tlkeras', *{arguments!r}]\n"
        "try:\n    runpy.run_module('tlkeras', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "print([name for name in ('tensorflow', 'keras', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_public_names_are_few_and_there():
    assert len(tlkeras.__all__) <= 25
    assert all(getattr(tlkeras, name).__module__.startswith("tlkeras.") for name in tlkeras.__all__)
    assert set(tlkeras.__all__) <= set(dir(tlkeras))
    with pytest.raises(AttributeError, match=r"no attribute 'tominette'; it has \['BestCheckpoint'"):
        tlkeras.tominette  # noqa: B018


def test_editors_see_the_public_names_where_they_are_loaded_from():
    tree = ast.parse(Path(tlkeras.__file__).read_text(encoding="utf-8"))
    (mirror,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    assert {alias.asname: node.module for node in mirror.body for alias in node.names} == tlkeras._HOMES

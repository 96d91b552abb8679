"""What a study costs, and a study as a file: what is unknown in it is refused before anything runs."""

import contextlib
import dataclasses
import json

import pytest
from toy_report import Toy

from tlkeras import __main__ as command_line
from tlkeras import startup
from tlkeras.experiments import environment, plans, runs


@pytest.fixture
def toy(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(environment, "bounded_memory", contextlib.nullcontext)
    monkeypatch.setattr(environment, "_device", lambda: "none")
    monkeypatch.setattr(startup, "quiet_start", lambda: None)
    toy = Toy()
    monkeypatch.setattr(command_line, "REPORTS", {"toy": toy.report})
    return toy


@pytest.fixture
def written(tmp_path):
    def write(text):
        (tmp_path / "study.toml").write_text(text)
        return tmp_path / "study.toml"

    return write


def test_the_time_left_is_that_of_the_runs_that_are_done(toy, tmp_path):
    runs.study(toy.report, "short", seeds=[0, 1, 9], profile_name="paper")
    for path, seconds in zip(sorted((tmp_path / "results").rglob("*.json")), (100, 200, 300), strict=True):
        path.write_text(json.dumps({**json.loads(path.read_text()), "wall_seconds": seconds}))
    short, long = plans.plans(toy.report, None, 4, "paper")
    assert short == plans.Plan("toy", "short", 2, 4, 200.0) and short.left == 2
    assert long == plans.Plan("toy", "long", 0, 4, None)
    assert plans.summary([short]) == "2 of 4 runs done, about 6.7 min left"
    assert plans.summary([short, long], 2).endswith("about 3.3 min left and 4 runs of arms whose cost is not known yet")
    assert plans.summary([dataclasses.replace(short, done=4)]) == "4 of 4 runs done"
    assert plans.summary([long]) == "0 of 4 runs done, 4 runs of arms whose cost is not known yet"


def test_seeds_that_come_once_are_every_arms(toy):
    assert [plan.total for plan in plans.plans(toy.report, None, iter([0, 1, 9]), "paper")] == [3, 3]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (119, "119 s"), (120, "2.0 min"), (7199, "120.0 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert plans.duration(seconds) == text


def test_a_file_says_what_is_run_and_how(toy, written):
    study = plans.read_study(
        written('profile = "paper"\njobs = 2\n[toy]\narms = ["long"]\nseeds = [3, 4]\n'), {"toy": toy.report}
    )
    assert (study.profile, study.jobs, study.parts) == (
        "paper",
        2,
        (plans.Part(study.parts[0].report, ["long"], [3, 4]),),
    )


def test_a_study_runs_after_its_estimate(toy, written, capsys):
    path = written('[toy]\narms = ["long"]\nseeds = [3, 4]\n')
    assert command_line.main(["study", str(path), "--estimate"]) == 0 and toy.calls == []
    estimate = "toy (smoke): 0 of 2 runs done, 2 runs of arms whose cost is not known yet\n"
    assert capsys.readouterr().out == estimate
    assert command_line.main(["study", str(path)]) == 0
    assert toy.calls == [(30, 3), (30, 4)] and capsys.readouterr().out.startswith(f"{estimate}report ")


def test_the_example_of_the_documentation_is_a_study(monkeypatch, written, tmp_path, capsys):
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    page = (environment.REPOSITORY / "docs" / "commands.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert command_line.main(["study", str(written(example)), "--estimate"]) == 0
    assert capsys.readouterr().out == (
        "tominet (quick): 0 of 6 runs done, 6 runs of arms whose cost is not known yet\n"
        "squeezenet (quick): 0 of 2 runs done, 2 runs of arms whose cost is not known yet\n"
    )


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ("", "none in "),
        ("[tominette]\n", "['tominette'] in "),
        ("toy = 1\n", "['toy'] in "),
        ('profil = "paper"\n[toy]\n', "['profil'] in "),
        ("[toy]\nseed = 1\n", "['seed'] in "),
        ('[toy]\nseeds = "1"\n', "['seeds'] in "),
        ("[toy]\nseeds = true\n", "['seeds'] in "),
        ('[toy]\nseeds = [0, "1"]\n', "['seeds'] in "),
        ('[toy]\nseeds = [true]\narms = [["long"]]\n', "['seeds', 'arms'] in "),
        ("jobs = 1.5\n[toy]\n", "['jobs'] in "),
        ("jobs = 0\n[toy]\n", "0"),
        ('[toy]\narms = ["shrot"]\n', "['shrot']"),
        ("[toy]\nseeds = 0\n", "seeds=0"),
        ('profile = "fast"\n[toy]\n', "'fast'"),
        ("[toy\n", "study.toml"),
    ],
)
def test_what_is_unknown_is_refused_before_anything_runs(toy, written, capsys, text, received):
    assert command_line.main(["study", str(written(text))]) == 2
    told = capsys.readouterr().err
    assert told.startswith("tlkeras: Expected ") and received in told.partition("Received: ")[2] and toy.calls == []

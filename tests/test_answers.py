"""The box of a notebook says what the recorded runs say, and which machine was measured."""

import re

import nbformat
import pytest

from tlkeras.experiments.runs import Runs
from tlkeras.reports import answers
from tools import conclusions, fork, notebooks

NOTEBOOKS = sorted((fork.ROOT / "notebooks").glob("*.ipynb"))
BOX = answers.Box("Which?", "This, at a < b.", "5 runs", "2", "CPU, 2 cores")


def test_a_box_is_a_table_that_escapes_what_it_says():
    assert "<td" in BOX._repr_html_() and "a &lt; b" in BOX._repr_html_()
    assert str(BOX).splitlines()[2] == "n: 5 runs"


def test_minutes_are_those_of_the_last_run_on_such_a_device(tmp_path, monkeypatch):
    path = tmp_path / "notebooks.json"
    assert answers.measured(path) == []
    monkeypatch.setattr(answers.environment, "describe", lambda: {"device": "CPU, 2 cores"})
    for seconds in (600.4, 90.0):
        answers.record("01_digits", "paper", seconds, path)
    answers.record("02_filters", "paper", 60.0, path)
    told = answers.minutes("01", answers.measured(path))
    assert told == "on a CPU: 2 (paper profile, its recorded runs loaded, CPU, 2 cores); on a GPU: not measured"
    monkeypatch.setattr(answers.environment, "describe", lambda: {"device": "NVIDIA H200"})
    answers.record("01_digits", "paper", 20.0, path)
    assert "on a GPU: 1 (paper profile, its recorded runs loaded, NVIDIA H200)" in answers.minutes(
        "01", answers.measured(path)
    )


def test_the_machine_is_told_in_one_line():
    told = answers.here()
    assert "\n" not in told
    assert all(word in told for word in ("memory", "keras", "backend", "smoke profile"))


@pytest.mark.parametrize("number", answers.QUESTIONS)
def test_every_notebook_has_an_answer_with_numbers_of_recorded_runs(number):
    box = answers.box(number)
    assert box.answer.endswith(".") and box.answer.count(". ") == 0
    assert any(letter.isdigit() for letter in box.answer) and any(letter.isdigit() for letter in box.n)
    assert box.question in conclusions.QUESTIONS.values()


def test_an_answer_without_recorded_runs_says_so(monkeypatch):
    monkeypatch.setattr(answers, "load_runs", lambda *_: Runs())
    assert all(answers.box(number).answer == answers.NOT_RECORDED for number in answers.QUESTIONS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_opens_with_its_box_and_ends_with_three_folded_solutions(path):
    cells = nbformat.read(path, as_version=4).cells
    opened = [cell for cell in cells if f'answers.box("{path.name[:2]}")' in cell.source]
    assert len(opened) == 1 and cells.index(opened[0]) <= 3
    solved = [cell for cell in cells if "hide-input" in cell.metadata.get("tags", [])]
    assert len(solved) == 3 and all(cell.metadata["jupyter"]["source_hidden"] for cell in solved)
    assert set(map(id, solved)) <= {id(cell) for cell in cells[-7:]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_the_box_of_a_notebook_tells_the_recorded_minutes(path):
    stored = nbformat.read(path, as_version=4)
    told = answers.minutes(path.stem, answers.measured())
    (box,) = [cell for cell in stored.cells if "answers.box(" in cell.source]
    assert told in box.outputs[0].data["text/html"] and told in box.outputs[0].data["text/plain"]
    assert notebooks.timed(stored, path.stem) == nbformat.read(path, as_version=4)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_read_in_ten_minutes(path):
    texts = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    prose = re.sub(r"```.*?```|`[^`]*`|\[!\[.*?\]\(.*?\)\]\(.*?\)|^\|.*$", "", "\n".join(texts), flags=re.S | re.M)
    assert len(prose.split()) <= 1_000

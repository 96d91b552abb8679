"""The page of what was tried is made of its record, and no result is typed into the notebooks' prose."""

import json
import re

import nbformat
import pytest

from tlkeras.reports import REPORTS
from tools import conclusions, readme, reliability

NOTEBOOKS = sorted((readme.ROOT / "notebooks").glob("*.ipynb"))
REPORT_OF = {stem: name for name, stem in conclusions.NOTEBOOKS.items()}
# Numbers that no run gives: levels and limits of tests, settings, versions, sections and arithmetic.
NO_RESULT = {
    "00_your_own_images": {"0.05", "80 %"},
    "01_tominet_fashion_letters_to_mnist": {"0.5", "1 %"},
    "03_squeezenet_cifar10": {"0.5", "1.1", "2.3026", "n=1"},
    "04_strategies_and_classifiers": {"0.5"},
    "05_alexnet_vgg16_ants_bees": {"0.5", "0.95", "0.035"},
    "06_learning_to_transfer": {"0.1", "0.9", "0.02", "82%", "5.3"},
}
ROW = {"reader": "npz", "cases": 7, "taken": 3, "refused": 2, "findings": ["KeyError: 'a|b'", "a hang"]}


def prose(path):
    cells = nbformat.read(path, as_version=4).cells
    return "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def typed(stem, text):
    """Return what reads as a result of ours: not a number of the report itself, nor one that no run gives."""
    reported = [row["value"] for row in REPORTS[REPORT_OF[stem]].reference.values()] if stem in REPORT_OF else []
    known = {f"{value:g}" for value in reported} | {f"{100 * value:g}" for value in reported}
    found = [number for number in readme.typed_results(text) if number not in NO_RESULT.get(stem, ())]
    return [number for number in found if f"{float(re.sub('[^0-9.]', '', number)):g}" not in known]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_no_result_is_typed_into_a_notebook(path):
    assert typed(path.stem, prose(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
@pytest.mark.parametrize("planted", ["0.7654", "91.3 %", "n=29"])
def test_a_typed_result_is_caught_in_a_notebook(path, planted):
    assert typed(path.stem, f"{prose(path)}\n\nIt reaches {planted} here.") == [planted]


@pytest.fixture
def record(tmp_path, monkeypatch):
    monkeypatch.setattr(reliability, "RECORD", tmp_path / "reliability.json")
    monkeypatch.setattr(reliability, "machine", lambda: {"versions": "python 3", "device": "none"})
    return tmp_path / "reliability.json"


def test_a_row_takes_the_place_of_the_one_before(record):
    reliability.record("fuzz", [{**ROW, "reader": "idx"}, ROW])
    reliability.record("fuzz", [{**ROW, "cases": 8}])
    stored = json.loads(record.read_text())["fuzz"]
    assert [(row["reader"], row["cases"], row["device"]) for row in stored] == [("idx", 7, "none"), ("npz", 8, "none")]


def test_the_page_counts_what_was_tried_and_what_was_lost(record):
    reliability.record("fuzz", [{**ROW, "reader": "idx"}, ROW])
    assert reliability.summary().splitlines()[2:] == [
        "| Every reader of bytes is fed with damaged files (`fuzz`) | 14 cases | 4: findings |"
    ]
    assert "| npz | 7 | 3 | 2 | KeyError: 'a\\|b'; a hang |" in reliability.details()


def test_the_tests_of_one_end_are_counted(record, tmp_path):
    suite = '<testsuite tests="9" failures="1" errors="2" skipped="3"/>'
    (tmp_path / "report.xml").write_text(f"<testsuites>{suite}</testsuites>")
    reliability.record_tests("oldest", tmp_path / "report.xml")
    (row,) = json.loads(record.read_text())["versions"]
    assert (row["end"], row["tests"], row["failed"], row["skipped"]) == ("oldest", 9, 3, 3)


def test_every_trial_of_the_record_is_on_the_page():
    assert reliability.read().keys() <= reliability.TRIALS.keys()

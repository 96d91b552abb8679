"""Notebooks open in Colab from whichever repository pyproject.toml names, and change no version that Colab pinned."""

import re
import shutil

import nbformat
import pytest

from tools import colab, fork

NOTEBOOKS = sorted((fork.ROOT / "notebooks").glob("*.ipynb"))
ASKED = ["keras>=3.10,<4", "NumPy>=2.0,<3", "mlxtend>=0.23.4"]
INSTALLED = {"keras": "3.8.0", "numpy": "2.1.0"}


def text(path):
    return "\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells)


def test_only_what_is_missing_is_installed_and_every_version_is_held(tmp_path):
    first, second = colab.commands(ASKED, INSTALLED, tmp_path / "pins.txt")
    assert first[-3:] == ["--constraint", str(tmp_path / "pins.txt"), "mlxtend>=0.23.4"]
    assert (tmp_path / "pins.txt").read_text() == "keras==3.8.0\nnumpy==2.1.0\n"
    assert "--no-deps" in second
    assert not {"--upgrade", "-U"} & {*first, *second}


def test_nothing_but_the_package_is_installed_where_nothing_is_missing(tmp_path):
    (command,) = colab.commands(ASKED[:2], INSTALLED, tmp_path / "pins.txt")
    assert "--no-deps" in command


def test_a_version_that_was_not_asked_for_is_named():
    (told,) = colab.other_versions(ASKED, INSTALLED)
    assert told.startswith("keras 3.8.0 is here")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_every_notebook_names_the_repository_of_the_project(path):
    found = text(path)
    assert fork.moved(found, *fork.place()) == found
    assert len(fork.BADGE.findall(found)) == len(fork.BOOTSTRAP.findall(found)) == 1
    assert f"/notebooks/{path.name})" in found


def test_a_fork_moves_badge_and_bootstrap_and_leaves_outputs(tmp_path):
    (tmp_path / "notebooks").mkdir()
    shutil.copy(fork.ROOT / "pyproject.toml", tmp_path)
    copy = tmp_path / "notebooks" / NOTEBOOKS[3].name
    shutil.copy(NOTEBOOKS[3], copy)
    fork.write("someone/copy", "my-branch", tmp_path)
    assert fork.place(tmp_path) == ("someone/copy", "my-branch")
    assert "github/someone/copy/blob/my-branch/notebooks/" in text(copy)
    assert '"https://github.com/someone/copy", "my-branch"' in text(copy)
    assert not re.search("tlkeras/tlkeras", text(copy))
    before, after = (nbformat.read(path, as_version=4).cells for path in (NOTEBOOKS[3], copy))
    assert [cell.get("outputs") for cell in before] == [cell.get("outputs") for cell in after]
    fork.write(*fork.place(), tmp_path)
    assert copy.read_bytes() == NOTEBOOKS[3].read_bytes()

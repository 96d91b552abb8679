import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools import cards, notebooks

FIGURE = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
# What TensorFlow does while it is loaded: it writes to the file descriptor, past sys.stderr.
NATIVE = "import os\nos.write(2, b'a native line')"


def store(path: Path, *sources: str, tags: tuple[str, ...] = ()) -> Path:
    """Write a notebook with a heading and one code cell for each source; `tags` go to the last cell."""
    cells = [new_markdown_cell("Before.\n\n# Digits & letters\nAfter."), *map(new_code_cell, sources)]
    cells[-1].metadata["tags"] = list(tags)
    nbformat.write(new_notebook(cells=cells), path)
    return path


def outcome(**changes) -> notebooks.Outcome:
    fields = {
        "source": Path("01.ipynb"),
        "target": Path("build/01.ipynb"),
        "title": "Digits & letters",
        "profile": "quick",
        "seconds": 83.4,
        "error": None,
        "data_used": "mnist: embedded",
        "figure": None,
    }
    return notebooks.Outcome(**(fields | changes))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One passing and one failing notebook, run from the command line in place."""
    folder = tmp_path_factory.mktemp("study")
    data = "import os\nprint(os.environ['TLKERAS_PROFILE'], os.getcwd())"
    good = store(folder / "01_good.ipynb", FIGURE, NATIVE, data, tags=("data-used",))
    bad = store(folder / "02_bad.ipynb", "1 + 1", "raise ValueError('Expected b. Received: a')", "3")
    for path in (good, bad):
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[-1].outputs = [new_output("stream", text="an older run")]
        nbformat.write(notebook, path)
    before = bad.read_bytes()
    output = folder / "build"
    arguments = ["--output", str(output), "--profile", "smoke", "--timeout", "60", "--in-place", str(good), str(bad)]
    code = notebooks.main(arguments)
    return {"code": code, "good": good, "bad": bad, "before": before, "output": output}


def test_all_notebooks_run_and_the_exit_code_tells_of_a_failure(study):
    assert study["code"] == 1
    names = {path.name for path in study["output"].iterdir()}
    kinds = ("ipynb", "html", "log")
    assert names == {"index.html", *(f"{stem}.{kind}" for stem in ("01_good", "02_bad") for kind in kinds)}


def test_a_passing_notebook_replaces_its_source(study):
    notebook = nbformat.read(study["good"], as_version=4)
    figure, native, data = notebook.cells[1:]
    assert [cell.execution_count for cell in notebook.cells[1:]] == [1, 2, 3]
    assert "image/png" in figure.outputs[0].data
    assert [output.output_type for output in native.outputs] == ["execute_result"]
    assert data.outputs[0].text == f"smoke {study['good'].parent}\n"
    assert "a native line" in (study["output"] / "01_good.log").read_text()


def test_a_failing_notebook_is_kept_beside_its_source(study):
    assert study["bad"].read_bytes() == study["before"]
    first, failing, after = nbformat.read(study["output"] / "02_bad.ipynb", as_version=4).cells[1:]
    assert first.outputs[0].data["text/plain"] == "2"
    assert failing.outputs[0].ename == "ValueError"
    assert after.outputs == []
    assert "Expected b." in (study["output"] / "02_bad.html").read_text()


def test_the_index_shows_titles_data_figures_and_errors(study):
    page = (study["output"] / "index.html").read_text()
    assert "1 passed, 1 failed · profile smoke" in page
    assert '<a href="01_good.html">Digits &amp; letters</a>' in page
    assert f"<pre>smoke {study['good'].parent}</pre>" in page
    assert page.count("data:image/png;base64,") == 1
    assert "ValueError: Expected b. Received: a" in page
    assert "http" not in page


def test_pages_load_nothing_but_formulas_from_the_network(study):
    page = (study["output"] / "01_good.html").read_text()
    assert page.count('src="http') == page.count('<script async src="http') == 1
    assert '<link rel="stylesheet" href="http' not in page


def test_solutions_are_folded_in_pages(tmp_path):
    path = store(tmp_path / "exercises.ipynb", "1 + 1", "print('solved')", tags=("hide-input",))
    page = notebooks.render(path)
    assert page.count("<details><summary>Solution</summary>") == 1
    assert page.index("<details>") < page.index("solved") < page.index("</details>")


def test_the_kernel_is_this_python(tmp_path):
    path = store(tmp_path / "python.ipynb", "import sys\nprint(sys.executable)", tags=("data-used",))
    assert notebooks.execute(path, tmp_path / "out" / "python.ipynb").data_used == sys.executable


@pytest.mark.parametrize(
    "source, timeout, message",
    [("import os\nos._exit(1)", None, "the kernel died"), ("import time\ntime.sleep(60)", 1, "more than 1 s")],
)
def test_a_kernel_that_dies_or_hangs_is_a_failure(tmp_path, source, timeout, message):
    result = notebooks.execute(store(tmp_path / "a.ipynb", source), tmp_path / "b.ipynb", "smoke", timeout)
    assert message in result.error
    assert (tmp_path / "b.ipynb").exists()


def test_unknown_profiles_and_missing_notebooks_are_named(tmp_path, capsys):
    with pytest.raises(ValueError, match="Received: 'fast'"):
        notebooks.execute(store(tmp_path / "a.ipynb", "1"), tmp_path / "b.ipynb", "fast")
    with pytest.raises(SystemExit):
        notebooks.main(["nowhere.ipynb"])
    assert "Received: nowhere.ipynb" in capsys.readouterr().err


def test_index_escapes_what_notebooks_print():
    page = notebooks.index_page([outcome(data_used="<script>", title="<b>", error="a < b")])
    assert "&lt;script&gt;" in page and "&lt;b&gt;" in page and "a &lt; b" in page
    assert "0 passed, 1 failed" in page


def test_a_notebook_without_heading_figure_or_data_has_defaults():
    empty = new_notebook(cells=[new_code_cell("1")])
    found = (notebooks.title(empty), cards.best_figure(empty, "a"), notebooks.data_used(empty))
    assert found == ("Untitled", None, "")
    assert "No data reported." in notebooks.index_page([outcome(data_used="")])


@pytest.mark.parametrize("seconds, text", [(83.4, "83 s"), (720, "12 min"), (12600, "3.5 h")])
def test_duration(seconds, text):
    assert notebooks.duration(seconds) == text


def test_the_parent_environment_is_left_alone(monkeypatch, tmp_path):
    monkeypatch.setenv("TLKERAS_PROFILE", "paper")
    notebooks.execute(store(tmp_path / "a.ipynb", "1"), tmp_path / "b.ipynb", "smoke")
    assert os.environ["TLKERAS_PROFILE"] == "paper"

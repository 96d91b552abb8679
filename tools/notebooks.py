"""Run notebooks, render them as pages that need no network, and list them on an index page."""

import argparse
import html
import os
import re
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

import nbformat
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from tqdm import tqdm

from tlkeras import startup
from tlkeras._files import write_text
from tlkeras.experiments.report import PROFILES
from tlkeras.experiments.report import profile as named_profile
from tlkeras.reports import answers
from tools import cards

TEMPLATE = Path(__file__).with_name("pages") / "index.html"
# What nbconvert says of each figure.
SILENT = re.compile(r'alt="No description has been provided for this image"(?=[^>]*src="data:image/png)')
# What stands around the minutes of a box, as text and as HTML.
MINUTES = re.compile(r"(minutes='|>Minutes</th><td[^>]*>)[^'<]*('|</td>)")
# A cell tagged `hide-input` is folded with what it prints: the solution of an exercise.
FOLDED = """{%- extends 'lab/index.html.j2' -%}
{%- block codecell -%}
{%- if 'hide-input' in cell.metadata.get('tags', []) -%}
<details><summary>Solution</summary>{{ super() }}</details>
{%- else -%}
{{ super() }}
{%- endif -%}
{%- endblock codecell -%}
"""


@dataclass(frozen=True)
class Outcome:
    """How one notebook went, with what the index shows of it."""

    source: Path
    target: Path
    title: str  # the first heading
    profile: str
    seconds: float
    error: str | None  # one line; None: passed
    data_used: str  # what the cells tagged `data-used` printed
    figure: cards.Figure | None
    film: str = ""  # a picture that moves, GIF in base64
    answer: str = ""  # of its box

    @property
    def passed(self) -> bool:
        """Return whether every cell ran."""
        return self.error is None


class _ThisPython(KernelSpecManager):
    """Starts the kernel with the running interpreter, whatever a user has registered as `python3`."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        # What native libraries write to file descriptor 2 goes to the log, not into the notebook: TensorFlow's
        # start-up lines obey no environment variable. Python's own stderr is still captured.
        return KernelSpec(**get_kernel_dict(["--IPKernelApp.capture_fd_output=False"]))


def read(path: Path) -> NotebookNode:
    """Return the notebook at `path`.

    Raises:
        ValueError: it is none.
        OSError: it can't be read.
    """
    try:
        return nbformat.read(path, as_version=4)
    except OSError:
        raise
    except Exception as error:  # nbformat goes through whatever is there
        raise ValueError(f"Expected a notebook ({type(error).__name__}: {error}). Received: {path}") from error


def execute(path: Path, target: Path, profile: str = "quick", timeout: int | None = None) -> Outcome:
    """Run a notebook in a new kernel and write it with its outputs, whether it passes or not.

    Args:
        path: the notebook; its folder is the kernel's working directory.
        target: the notebook to write. The kernel's own log goes beside it, as `.log`.
        profile: "smoke", "quick" or "paper", handed to the kernel as TLKERAS_PROFILE.
        timeout: seconds allowed for each cell; None: no limit.

    Returns:
        The outcome. A failing cell is no exception here: its traceback is in `target` and in `Outcome.error`.

    Raises:
        ValueError: unknown profile.
        OSError: a file can't be read or written.
        ValueError: `path` is no notebook.
    """
    notebook = _cleared(read(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    log = target.with_suffix(".log")
    started = time.monotonic()
    error = _run(notebook, path.parent, log, named_profile(profile), timeout)
    seconds = time.monotonic() - started
    write_text(target, nbformat.writes(notebook) + "\n")
    figure = cards.best_figure(notebook, path.stem)
    beside = figure, cards.film(notebook), cards.answer(notebook)
    return Outcome(path, target, title(notebook), profile, seconds, error, data_used(notebook), *beside)


def render(path: Path) -> str:
    """Return a notebook as one HTML page. Only formulas ask for the network; without it they are shown as TeX."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cards.without_badges(cell.source)
    exporter = HTMLExporter(template_name="lab", raw_template=FOLDED, require_js_url="", embed_images=True)
    page, _ = exporter.from_notebook_node(notebook, {"metadata": {"name": path.stem}})
    texts = (html.escape(figure.alternative) for figure in cards.figures(notebook))
    page = SILENT.sub(lambda _: f'alt="{next(texts, "Figure")}"', page)
    # A script in the head stops the page until the network answers or gives up.
    return page.replace('<script src="', '<script async src="')


def index_page(outcomes: Sequence[Outcome]) -> str:
    """Return the index as one HTML page that links `<stem>.html` for each outcome and needs no network."""
    failed = sum(not outcome.passed for outcome in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    profiles = ", ".join(sorted({outcome.profile for outcome in outcomes}))
    counts = f"{len(outcomes) - failed} passed" + (f", {failed} failed" if failed else "")
    summary = f"{counts} · profile {profiles} · {duration(seconds)} · {time.strftime('%Y-%m-%d %H:%M')}"
    page = Template(TEMPLATE.read_text(encoding="utf-8"))
    style = cards.STYLE.read_text(encoding="utf-8")
    return page.substitute(style=style, summary=html.escape(summary), cards="\n".join(map(_card, outcomes)))


def timed(notebook: NotebookNode, stem: str) -> NotebookNode:
    """Return a notebook whose box tells the recorded minutes, which are known when its last cell has run.

    Args:
        notebook: with its outputs.
        stem: of its file.
    """
    told = answers.minutes(stem, answers.measured())
    for cell in _code(notebook):
        for output in cell.outputs if "answers.box(" in cell.source else ():
            output.data = {kind: MINUTES.sub(rf"\g<1>{told}\g<2>", text) for kind, text in output.data.items()}
    return notebook


def title(notebook: NotebookNode) -> str:
    """Return the first Markdown heading, or "Untitled"."""
    texts = (cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    heading = next((found for text in texts if (found := re.search(r"^#+\s+(.+)$", text, re.MULTILINE))), None)
    return heading[1].strip() if heading else "Untitled"


def data_used(notebook: NotebookNode) -> str:
    """Return what the cells tagged `data-used` printed."""
    tagged = (cell for cell in _code(notebook) if "data-used" in cell.metadata.get("tags", []))
    outputs = (output for cell in tagged for output in cell.outputs)
    return "".join(output.text for output in outputs if output.get("name") == "stdout").strip()


def duration(seconds: float) -> str:
    """Return a wall time for people: "83 s", "12 min", "3.5 h"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def run_all(paths: Sequence[Path], output: Path, profile: str, timeout: int | None, in_place: bool) -> list[Outcome]:
    """Run notebooks one after the other into `output`, with a page for each and an index.

    The index is written anew after each notebook, so an interrupted run leaves one as well. With `in_place`, a
    notebook that passed also replaces its source; one that failed never does.
    """
    outcomes = []
    for number, path in enumerate(paths, start=1):
        label = f"[{number}/{len(paths)}] {path.stem}"
        print(f"{label} running", flush=True)
        outcome = execute(path, output / path.name, profile, timeout)
        outcomes.append(outcome)
        write_text(outcome.target.with_suffix(".html"), render(outcome.target))
        write_text(output / "index.html", index_page(outcomes))
        if in_place and outcome.passed:
            write_text(path, outcome.target.read_text(encoding="utf-8"))
        verdict = "passed" if outcome.passed else f"FAILED ({outcome.error})"
        print(f"{label} {verdict} in {duration(outcome.seconds)}", flush=True)
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `python -m tools.notebooks`; return 1 if a notebook failed."""
    parser = argparse.ArgumentParser(prog="python -m tools.notebooks", description=__doc__)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: notebooks/*.ipynb")
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder for the pages (default: build)")
    parser.add_argument("--profile", choices=PROFILES, help="default: TLKERAS_PROFILE, else quick")
    parser.add_argument("--timeout", type=int, help="seconds allowed for each cell (default: no limit)")
    parser.add_argument("--in-place", action="store_true", help="store the notebooks that pass with their outputs")
    parser.add_argument("--record", action="store_true", help="store how long those that pass took on this machine")
    options = parser.parse_args(arguments)
    paths = options.notebooks or sorted(Path("notebooks").glob("*.ipynb"))
    missing = [str(path) for path in paths if not path.is_file()]
    if missing or not paths:
        parser.error(f"expected notebooks that exist. Received: {', '.join(missing) or 'an empty notebooks folder'}")
    startup.quiet_start()  # the page asks what the slides advise, and the record for the device
    outcomes = run_all(paths, options.output, named_profile(options.profile), options.timeout, options.in_place)
    if options.record:
        for outcome in filter(lambda outcome: outcome.passed, outcomes):
            answers.record(outcome.source.stem, outcome.profile, outcome.seconds)
            if options.in_place:
                write_text(outcome.source, nbformat.writes(timed(read(outcome.source), outcome.source.stem)) + "\n")
    passed = sum(outcome.passed for outcome in outcomes)
    print(f"{passed} of {len(outcomes)} passed: {options.output / 'index.html'}")
    return int(passed < len(outcomes))


def _run(notebook: NotebookNode, folder: Path, log: Path, profile: str, timeout: int | None) -> str | None:
    """Execute in place; return why it failed, or None."""
    client = NotebookClient(
        notebook,
        km=AsyncKernelManager(kernel_spec_manager=_ThisPython()),
        timeout=timeout,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        store_widget_state=False,
    )
    with log.open("w", encoding="utf-8") as stream:
        try:
            # `client.execute` would catch Ctrl-C and report a dead kernel.
            with client.setup_kernel(env=_environment(profile), stderr=stream, cleanup_kc=True):
                for index, cell in enumerate(tqdm(notebook.cells, unit="cell", leave=False, disable=None)):
                    client.execute_cell(cell, index)
        except DeadKernelError:
            return f"the kernel died (out of memory?); its last words are in {log}"
        except CellTimeoutError:
            return f"a cell ran for more than {timeout} s"
        except CellExecutionError as error:
            return f"{error.ename}: {error.evalue}"
    return None


def _environment(profile: str) -> dict[str, str]:
    """Return the kernel's environment: inline figures, and no progress bars in the stored outputs."""
    inherited = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    return inherited | {"TLKERAS_PROFILE": profile, "TF_CPP_MIN_LOG_LEVEL": "3", "TQDM_DISABLE": "1"}


def _code(notebook: NotebookNode) -> Iterable[NotebookNode]:
    return (cell for cell in notebook.cells if cell.cell_type == "code")


def _cleared(notebook: NotebookNode) -> NotebookNode:
    """Drop stored outputs, so that after a failure no cell shows those of an older run."""
    for cell in _code(notebook):
        cell.outputs, cell.execution_count = [], None
    return notebook


def _card(outcome: Outcome) -> str:
    verdict = "passed" if outcome.passed else "failed"
    went = f'<b class="{verdict}">{verdict}</b> {duration(outcome.seconds)}'
    return cards.draw(
        cards.Card(
            page=outcome.target.with_suffix(".html").name,
            title=cards.question(outcome.source.stem, outcome.title),
            label=cards.label(outcome.source.stem),
            claims=cards.claims_of(outcome.source.stem),
            figure=outcome.figure.address if outcome.figure else None,
            alternative=outcome.figure.alternative if outcome.figure else "",
            film=f"data:image/gif;base64,{outcome.film}" if outcome.film else None,
            answer=outcome.answer,
            data=outcome.data_used or "No data reported.",
            facts=f"{went} · {html.escape(outcome.source.name)}",
            error=outcome.error,
        )
    )


if __name__ == "__main__":
    sys.exit(main())

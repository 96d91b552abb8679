"""Make a site of the notebooks, the recorded numbers, docs/ and the API: `make site`, then open build/site/index.html.

Sources are put together in one folder, which Sphinx turns into pages. Nothing is executed, and no page asks for the
network.
"""

import argparse
import html
import importlib
import json
import os
import re
import shutil
import sys
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

import tlkeras
from tlkeras._files import write_text
from tools import cards, notebooks, numbers, readme

ROOT = readme.ROOT
STATIC = Path(__file__).with_name("pages")
# The pages of docs/, in this order.
NUMBERS, REFERENCE = ("results", "speed", "reliability"), ("data", "commands", "backends", "glossary")
WIDE = ("speed",)  # whose tables take the place of the contents beside them
TITLE = "Five transfer-learning reports, put to the test"
GROUPS = {  # the folder of the package that a public name lives in -> heading
    "data": "Load data",
    "models": "Build a model",
    "transfer": "Transfer it",
    "visualize": "Look at the result",
    "own_images": "Your own photographs",
    "experiments": "Studies",
    "l2t": "Learning to transfer",
    "startup": "Start",
}
BARS = {  # name of a benchmark -> what is drawn of it, ours against whom
    "head phase vs fit, validation batch 1000": ("Train a new head on 100 digits", "Keras' fit"),
    "16 filters, tracing included, peer batched": ("Maximise 16 filters", "tf-keras-vis, batched by hand"),
    "iteration, www": ("One iteration of learning to transfer", "the same in plain PyTorch, by us"),
}
SETTINGS: dict[str, Any] = {
    "project": "tlkeras",
    "author": "the tlkeras authors",
    "language": "en",
    "extensions": ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"],
    "nb_execution_mode": "off",
    "nb_ipywidgets_js": {},
    "myst_enable_extensions": ["deflist"],
    "myst_heading_anchors": 3,
    "autodoc_typehints": "description",
    "autodoc_typehints_description_target": "documented",
    "autodoc_preserve_defaults": True,
    "autodoc_member_order": "bysource",
    "maximum_signature_line_length": 90,
    "default_role": "code",
    "html_context": {"default_mode": "auto"},
    "html_theme": "sphinx_book_theme",
    "html_title": "tlkeras",
    "html_static_path": ["_static"],
    "html_css_files": ["cards.css", "site.css"],
    "html_use_index": False,
    "html_domain_indices": False,
    "html_copy_source": False,
    "html_show_copyright": False,
    "html_show_sphinx": False,
    "html_show_search_summary": False,  # it would fetch pages, which a file path does not allow
    "html_theme_options": {"use_download_button": False, "use_fullscreen_button": False, "show_toc_level": 2},
    "suppress_warnings": ["mystnb.unknown_mime_type", "myst.header"],
}


def assemble(folder: Path) -> None:
    """Write everything that the pages are made of into an empty folder."""
    static = folder / "_static"
    shutil.copytree(STATIC, static, ignore=shutil.ignore_patterns("index.html"))
    shutil.copytree(ROOT / "docs", folder / "docs")
    for page in (ROOT / "docs").rglob("*.md"):
        write_text(folder / page.relative_to(ROOT), document(page))
    stored = {path.stem: notebooks.read(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
    for stem, notebook in stored.items():
        figure = cards.best_figure(notebook, stem)
        for kind, picture in (("png", figure.png if figure else ""), ("gif", cards.film(notebook))):
            if picture:
                (static / f"{stem}.{kind}").write_bytes(b64decode(picture))
        write_text(folder / "notebooks" / f"{stem}.ipynb", nbformat.writes(prepared(notebook)))
    write_text(folder / "index.md", start_page(stored))
    write_text(folder / "numbers.md", numbers_page())
    write_text(static / "numbers-data.js", numbers.script())
    write_text(folder / "api.md", api_page())


def build(source: Path, output: Path) -> int:
    """Turn the sources into pages with Sphinx, and put the run files beside them; return its exit status."""
    application = importlib.import_module("sphinx.application")  # of the extra `site`, which tests do without
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    trees = output.with_name(f"{output.name}-trees")
    app = application.Sphinx(source, None, output, trees, "html", SETTINGS, status=None, warning=sys.stderr)
    app.build()
    shutil.copytree(numbers.RESULTS, output / "results", dirs_exist_ok=True)
    return int(app.statuscode)


def prepared(notebook: NotebookNode) -> NotebookNode:
    """Return a notebook for the site: plain links for badges, a text for each figure, and its set-up folded away."""
    notebook.metadata["language_info"] = {"name": "python", "pygments_lexer": "ipython3"}
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = cards.without_badges(cell.source)
        elif "google.colab" in cell.source:
            cell.metadata["tags"] = ["remove-cell"]
        elif "answers.box(" in cell.source:
            _fold(cell, "hide-input", "imports")  # above the box
        elif "hide-input" in cell.metadata.get("tags", []):
            _fold(cell, "hide-cell", "solution")  # with what it prints
    for cell, heading in cards.described(notebook):
        alternative = cards.Figure("", heading).alternative
        cell.metadata.setdefault("mystnb", {})["image"] = {"alt": alternative}
    return notebook


def _fold(cell: NotebookNode, tag: str, name: str) -> None:
    """Fold a cell away, under a line that says what it is."""
    cell.metadata["tags"] = [tag]
    cell.metadata["mystnb"] = {f"code_prompt_{done}": f"{done.capitalize()} the {name}" for done in ("show", "hide")}


def document(page: Path) -> str:
    """Return a page of docs/ as the site shows it: what leads to run files leads to the table of all numbers."""
    text = page.read_text(encoding="utf-8").replace("](../results)", "](../numbers.md)")
    if page.parent != ROOT / "docs":  # reached by a link alone
        text = f"---\norphan: true\n---\n{text}"
    if page.stem in WIDE:
        text = f"---\nhtml_theme.sidebar_secondary.remove: true\n---\n{text}"
    return text.replace("<!-- speed:begin", f"{_raw(bars())}\n\n<!-- speed:begin")


def start_page(stored: Mapping[str, NotebookNode]) -> str:
    """Return the first page: a card for each report, then for the other notebooks.

    Args:
        stored: the notebooks by name, with their outputs.
    """
    reports = [stem for stem in stored if cards.label(stem)]
    others = [stem for stem in stored if stem not in reports]
    drawn = {stem: cards.draw(_card(stem, notebook)) for stem, notebook in stored.items()}
    return f"""---
html_theme.sidebar_secondary.remove: true
---
# {TITLE}

{lead()}

```{{raw}} html
<nav class="ways" aria-label="Ways in">
<a href="docs/own_images.html"><b>Your own photographs</b> one command compares, chooses, and says what to trust</a>
<a href="numbers.html"><b>Every recorded number</b> searched, sorted, down to its run files</a>
<a href="api.html"><b>The API</b> load, build, transfer, look</a>
</nav>
```

## What the reports say, and what held

{_raw("".join(f"{drawn[stem]}" for stem in reports))}

## Beside the reports

{_raw("".join(f"{drawn[stem]}" for stem in others))}

{contents(list(stored))}
"""


def lead() -> str:
    """Return the first paragraph of the README."""
    return readme.README.read_text(encoding="utf-8").split("\n\n")[1]


def contents(stems: list[str]) -> str:
    """Return the tables of contents of all pages; a page of docs/ that is not named above comes last.

    Args:
        stems: names of the notebooks.
    """
    more = tuple(sorted({page.stem for page in (ROOT / "docs").glob("*.md")} - {"own_images", *NUMBERS, *REFERENCE}))
    parts = {
        "Start here": ["docs/own_images"],
        "Notebooks": [f"notebooks/{stem}" for stem in stems],
        "Numbers": ["numbers", *(f"docs/{name}" for name in NUMBERS)],
        "Reference": ["api", *(f"docs/{name}" for name in (*REFERENCE, *more))],
    }
    return "\n\n".join(
        f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n" + "\n".join(pages) + "\n```"
        for caption, pages in parts.items()
    )


def numbers_page() -> str:
    """Return the page of all recorded numbers."""
    scripts = '<script src="_static/numbers-data.js"></script>\n<script src="_static/numbers.js" defer></script>'
    return f"""---
html_theme.sidebar_secondary.remove: true
---
# Every recorded number

Each row leads to its command, its settings, and the files of its runs with their commits. All words of a search must be
in a row; a heading sorts.

{_raw(f"{numbers.page(numbers.numbers())}{chr(10)}{scripts}")}
"""


def api_page() -> str:
    """Return the page of the public names, whose docstrings Sphinx puts in."""
    homes = {name: tlkeras._HOMES[name].split(".")[1] for name in tlkeras.__all__}
    folders = [*GROUPS, *sorted(set(homes.values()) - set(GROUPS))]
    found = {folder: [name for name in tlkeras.__all__ if homes[name] == folder] for folder in folders}
    sections = [
        f"## {GROUPS.get(folder, folder)}\n\n" + "\n\n".join(map(_documented, names))
        for folder, names in found.items()
        if names
    ]
    told = "All public names, `import tlkeras`. A name's *source* is beside it; images are raw, 0 to 255, RGB."
    return "# API\n\n" + "\n\n".join([told, *sections]) + "\n"


def bars() -> str:
    """Return the HTML of the bars that stand above the table of speed: our seconds and the peer's."""
    rows = {row["name"]: row for row in json.loads(readme.SPEED.read_text(encoding="utf-8"))}
    return '<div class="bars">\n' + "\n".join(_bars(rows[name], *words) for name, words in BARS.items()) + "\n</div>"


def _bars(row: Mapping[str, Any], what: str, peer: str) -> str:
    share = 100 * row["ours"] / row["peer"]
    lines = [("ours", "tlkeras", row["ours"], share), ("peer", peer, row["peer"], 100)]
    drawn = "\n".join(
        f'<p>{html.escape(name)}, {value} {row["unit"]}</p>\n<div class="bar {kind}" style="width: {width:.1f}%"></div>'
        for kind, name, value, width in lines
    )
    return f"<section><h2>{html.escape(what)}: <b>{row['ratio']}x</b></h2>\n{drawn}\n</section>"


def _documented(name: str) -> str:
    kind = "autoclass" if name[0].isupper() else "autofunction"
    members = "\n   :members:" if name[0].isupper() else ""
    return f"```{{eval-rst}}\n.. {kind}:: tlkeras.{name}{members}\n```"


def _card(stem: str, notebook: NotebookNode) -> cards.Card:
    figure = cards.best_figure(notebook, stem)
    return cards.Card(
        page=f"notebooks/{stem}.html",
        title=cards.question(stem, notebooks.title(notebook)),
        label=cards.label(stem),
        claims=cards.claims_of(stem),
        figure=f"_static/{stem}.png" if figure else None,
        alternative=figure.alternative if figure else "",
        film=f"_static/{stem}.gif" if cards.film(notebook) else None,
        answer=cards.answer(notebook),
        data=notebooks.data_used(notebook),
    )


def _raw(text: str) -> str:
    whole = re.sub(r"\n{2,}", "\n", text)
    return f"```{{raw}} html\n{whole}\n```"


def main() -> int:
    """Write the site; return Sphinx's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.site", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build"), help="folder for site/ (default: build)")
    output = parser.parse_args().output.resolve()
    source, pages = output / "site-source", output / "site"
    for folder in (source, pages):
        shutil.rmtree(folder, ignore_errors=True)
    assemble(source)
    status = build(source, pages)
    print(f"{pages / 'index.html'}")
    return status


if __name__ == "__main__":
    sys.exit(main())

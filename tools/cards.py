"""The cards of the start page, of the site and of `make run` alike: claims, verdicts and a figure first.

Verdicts and numbers come from the recorded runs; figures and the data that were used, from a notebook's outputs.
"""

import functools
import html
import itertools
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from nbformat import NotebookNode

from tools import conclusions
from tools.conclusions import Conclusion

STYLE = Path(__file__).with_name("pages") / "cards.css"
BADGE = re.compile(r"\[!\[([^\]]*)\]\([^)]*\)\]")  # a picture from the network that is a link
FIGURES = {  # of each notebook: the heading under which its best figure stands
    "00_your_own_images": "Where it is wrong",
    "01_tominet_fashion_letters_to_mnist": "Table 1: the report beside ours",
    "02_filter_visualization": "Figure 6: the first layer",
    "03_squeezenet_cifar10": "The report's numbers beside ours",
    "04_strategies_and_classifiers": "The four quadrants",
    "05_alexnet_vgg16_ants_bees": "Where does it look? Hits and misses",
    "06_learning_to_transfer": "Tables 1 to 3, and figure 34",
}
LAST_FIGURE = ("00_your_own_images",)  # of these, the last figure under that heading; of the others, the first


@dataclass(frozen=True)
class Figure:
    """A figure of a notebook: PNG in base64, and the heading that it stands under, which is its alternative text."""

    png: str
    heading: str

    @property
    def address(self) -> str:
        """The figure as a data URI."""
        return f"data:image/png;base64,{self.png}"

    @property
    def alternative(self) -> str:
        """What is read out in its place."""
        return f"Figure of “{self.heading}”; the text beside it says what is to be seen"


@dataclass(frozen=True)
class Card:
    """What a card shows.

    Attributes:
        page: address of the page that tells the story.
        title: its question.
        label: a word above the title, such as the report.
        claims: the conclusions that it reports on.
        figure: address of a picture; None for none.
        alternative: what is read out in the place of the picture.
        film: address of a picture that moves, in the place of the other where motion is welcome; None for none.
        answer: a sentence, where there are no conclusions.
        data: what was used, as the notebook printed it.
        facts: HTML, a line on how the notebook went; empty for none.
        error: why it failed; None where it did not.
    """

    page: str
    title: str
    label: str = ""
    claims: Sequence[Conclusion] = ()
    figure: str | None = None
    alternative: str = ""
    film: str | None = None
    answer: str = ""
    data: str = ""
    facts: str = ""
    error: str | None = None


def draw(card: Card) -> str:
    """Return the HTML of a card, without an empty line, so that Markdown leaves it whole."""
    page, title = html.escape(card.page), html.escape(card.title)
    parts = [
        f'<p class="label">{html.escape(card.label)}</p>' if card.label else "",
        f'<h2><a href="{page}">{title}</a></h2>',
        _claims(card.claims),
        f"<p>{_with_code(card.answer)}</p>" if card.answer and not card.claims else "",
        *(f'<p class="stand-in">Not the real data: {html.escape(line)}</p>' for line in stand_ins(card.data)),
        f'<p class="error">{html.escape(card.error)}</p>' if card.error else "",
        f'<p class="facts">{card.facts}</p>' if card.facts else "",
        _folded(card.data),
    ]
    text = "\n".join(filter(None, parts))
    return f'<article class="report-card">\n{_picture(card)}\n<div>\n{text}\n</div>\n</article>'


def claims_of(stem: str) -> list[Conclusion]:
    """Return the conclusions whose story a notebook tells."""
    return [row for row in _recorded() if row.notebook == stem] if stem in conclusions.NOTEBOOKS.values() else []


@functools.cache
def _recorded() -> tuple[Conclusion, ...]:
    """Return all conclusions, or none, with a warning, where TLKERAS_RESULTS names a store that cannot decide them."""
    try:
        return tuple(conclusions.conclusions())
    except Exception as error:  # each report's claims miss their runs in a way of their own
        warnings.warn(f"No verdicts are shown ({type(error).__name__}: {error}).", stacklevel=3)
        return ()


def question(stem: str, otherwise: str) -> str:
    """Return the question of a notebook, or another title where it is none of ours."""
    return conclusions.QUESTIONS.get(stem, otherwise)


def label(stem: str) -> str:
    """Return which report a notebook is about; empty for none."""
    names = {notebook: name for name, notebook in conclusions.NOTEBOOKS.items()}
    return f"Report {conclusions.number(names[stem])}" if stem in names else ""


def stand_ins(data: str) -> list[str]:
    """Return the lines of what was used that say that it stands in for something else."""
    return [line.strip() for line in data.splitlines() if re.search(r"stand-in|stands in", line)]


def figures(notebook: NotebookNode) -> list[Figure]:
    """Return all PNG figures of a notebook, in order."""
    return [Figure(png.replace("\n", ""), heading) for heading, cell in _headed(notebook) for png in _pictures(cell)]


def best_figure(notebook: NotebookNode, stem: str) -> Figure | None:
    """Return the figure that a card shows: the one that `FIGURES` names, else the first; None where there is none."""
    found = figures(notebook)
    wanted = [figure for figure in found if figure.heading == FIGURES.get(stem)]
    if wanted and stem in LAST_FIGURE:
        return wanted[-1]
    return next(iter(wanted or found), None)


def film(notebook: NotebookNode) -> str:
    """Return the first picture of a notebook that moves, a GIF in base64; empty where there is none."""
    found = (output.data["image/gif"] for output in _outputs(notebook) if "image/gif" in output.get("data", {}))
    return next(found, "").replace("\n", "")


def answer(notebook: NotebookNode) -> str:
    """Return the answer in the box of a notebook; empty where it has none."""
    texts = ("".join(output.get("data", {}).get("text/html", "")) for output in _outputs(notebook))
    found = (re.search(r">Answer</th><td[^>]*>(.*?)</td>", text) for text in texts)
    return next((html.unescape(match[1]) for match in found if match), "")


def _outputs(notebook: NotebookNode) -> Iterator[NotebookNode]:
    return (output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs)


def described(notebook: NotebookNode) -> list[tuple[NotebookNode, str]]:
    """Return each code cell with the heading that it stands under."""
    return [(cell, heading) for heading, cell in _headed(notebook)]


def without_badges(text: str) -> str:
    """Return Markdown with plain links in the place of badges, which would be asked for from the network."""
    return BADGE.sub(r"[\1]", text)


def _headed(notebook: NotebookNode) -> Iterator[tuple[str, NotebookNode]]:
    heading = "Untitled"
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            titles = re.findall(r"^#+\s+(.+?)\s*$", cell.source, re.MULTILINE)
            heading = titles[-1].replace("*", "").replace("`", "") if titles else heading
        elif cell.cell_type == "code":
            yield heading, cell


def _pictures(cell: NotebookNode) -> Iterator[str]:
    data = (output.get("data", {}) for output in cell.outputs)
    return (found["image/png"] for found in data if "image/png" in found)


def _picture(card: Card) -> str:
    if card.figure is None:
        return '<div class="figure"></div>'
    image = f'<img src="{html.escape(card.film or card.figure)}" alt="{html.escape(card.alternative)}" loading="lazy">'
    if card.film:
        still = f'<source media="(prefers-reduced-motion: reduce)" srcset="{html.escape(card.figure)}">'
        image = f"<picture>{still}{image}</picture>"
    return f'<a class="figure" href="{html.escape(card.page)}" tabindex="-1">{image}</a>'


def _claims(claims: Sequence[Conclusion]) -> str:
    lines = [
        f'<li><b class="verdict {claim.short_verdict.replace(" ", "-")}">{html.escape(claim.short_verdict)}</b> '
        f'<span>{html.escape(claim.says)}</span><span class="numbers">{html.escape(claim.numbers)} '
        f"(n&nbsp;=&nbsp;{html.escape(claim.n)})</span></li>"
        for claim in claims
    ]
    return "\n".join(itertools.chain(['<ul class="claims">'], lines, ["</ul>"])) if lines else ""


def _with_code(text: str) -> str:
    """Return a text as HTML, what stands between backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _folded(data: str) -> str:
    if not data:
        return ""
    text = html.escape(re.sub(r"\n\s*\n", "\n", data))
    return f"<details><summary>Data, weights and fingerprints</summary><pre>{text}</pre></details>"

"""The generated parts of the site, without the generator: the table of numbers, the API, the start page, the links."""

import html
import json
import re
from collections import Counter
from html.parser import HTMLParser

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import tlkeras
from tlkeras.experiments import runs
from tlkeras.reports import REPORTS
from tools import cards, conclusions, look, numbers, readme, site

FIGURE = {"image/png": "aGVs\nbG8="}


@pytest.fixture(scope="module")
def rows():
    return numbers.numbers()


@pytest.fixture(scope="module")
def groups():
    return json.loads(numbers.script().removeprefix("const RECORDED = ").removesuffix(";\n"))


@pytest.fixture(scope="module")
def stored():
    paths = sorted((readme.ROOT / "notebooks").glob("*.ipynb"))
    return {path.stem: nbformat.read(path, as_version=4) for path in paths}


class Rows(HTMLParser):
    """The anchors and the texts of the cells of a table's rows."""

    def __init__(self):
        super().__init__()
        self.anchors, self.cells = [], []

    def handle_starttag(self, tag, attributes):
        if tag == "tr" and dict(attributes).get("id"):
            self.anchors.append(dict(attributes)["id"])
            self.cells.append([])
        elif tag in ("td", "th") and self.cells:
            self.cells[-1].append("")

    def handle_data(self, data):
        if self.cells and self.cells[-1]:
            self.cells[-1][-1] += data.strip()


def files():
    return sorted(path for report in REPORTS for path in (numbers.RESULTS / report).glob("*/*/*.json"))


def test_every_recorded_metric_is_counted_once(rows):
    recorded = Counter(path.parts[-4] for path in files() for _ in runs.read_run(path).metrics)
    counted = Counter()
    for row in rows:
        if row.group.split("/")[0] in REPORTS:
            counted[row.group.split("/")[0]] += row.n
    assert counted == recorded


def test_a_number_leads_to_runs_whose_mean_it_is(rows, groups):
    for row in rows:
        if row.group.split("/")[0] in REPORTS and row.n:
            values = [run["metrics"][row.metric] for run in groups[row.group]["runs"] if row.metric in run["metrics"]]
            assert len(values) == row.n
            assert sum(values) / len(values) == pytest.approx(row.ours)


def test_every_run_file_is_named_once_with_its_commit(groups):
    named = [run for group in groups.values() for run in group.get("runs", [])]
    assert sorted(run["file"] for run in named) == [f"results/{'/'.join(path.parts[-4:])}" for path in files()]
    stored = json.loads((readme.ROOT / named[-1]["file"]).read_text(encoding="utf-8"))
    assert [stored["commit"], stored["seed"]] == [named[-1]["commit"], named[-1]["seed"]]


def test_every_number_of_every_other_file_is_a_row(rows):
    for part, file in numbers.records().items():
        content = json.loads((numbers.RESULTS / file.name).read_text(encoding="utf-8"))
        lists = content.values() if isinstance(content, dict) else [content]
        cells = [value for row in sum(lists, []) for value in row.values()]
        recorded = [value for value in cells if isinstance(value, int | float) and not isinstance(value, bool)]
        own = [row for row in rows if row.part == part]
        shown = [number for row in own for number in (row.ours, row.theirs) if number is not None]
        assert sorted(shown) == sorted(recorded)


def test_each_benchmark_is_a_row_and_the_peer_stands_beside_it(rows):
    for benchmark in json.loads(readme.SPEED.read_text(encoding="utf-8")):
        (row,) = [row for row in rows if (row.arm, row.metric) == (benchmark["name"], f"ours, {benchmark['unit']}")]
        assert (row.ours, row.theirs) == (benchmark["ours"], benchmark["peer"])


def test_the_table_shows_every_row_and_a_row_is_found_by_its_address(rows):
    table = Rows()
    table.feed(numbers.page(rows))
    assert table.anchors == [row.anchor for row in rows]
    assert len(set(table.anchors)) == len(rows)
    for row, cells in zip(rows, table.cells, strict=True):
        assert cells[:5] == [row.part, row.arm, row.metric, numbers.shown(row.theirs), numbers.shown(row.ours)]


@pytest.mark.parametrize(
    "value, text", [(None, ""), (30, "30"), (1234567.0, "1,234,567"), (0.15555, "0.1555"), (0.00012345, "0.0001234")]
)
def test_numbers_as_shown(value, text):
    assert numbers.shown(value) == text


def test_every_public_name_is_in_the_api_page():
    named = re.findall(r"\.\. auto(?:function|class):: tlkeras\.(\w+)", site.api_page())
    assert sorted(named) == tlkeras.__all__


def test_the_start_page_shows_every_conclusion_with_its_verdict_and_figure(stored):
    page = site.start_page(stored)
    for row in conclusions.conclusions():
        assert f"{row.short_verdict}</b> <span>{row.says}</span>" in page.replace("&#x27;", "'")
    assert page.count('<article class="report-card">') == page.count("<img ") == len(stored)
    assert all(f'href="notebooks/{stem}.html"' in page for stem in stored)


def test_a_best_figure_stands_under_a_heading_that_is_there(stored):
    for stem, heading in cards.FIGURES.items():
        assert cards.best_figure(stored[stem], stem).heading == heading
        assert conclusions.QUESTIONS[stem]


def test_every_page_of_docs_is_in_the_contents(stored):
    text = site.contents(list(stored))
    assert all(f"docs/{page.stem}" in text.split() for page in (readme.ROOT / "docs").glob("*.md"))


def test_bars_show_the_recorded_seconds():
    drawn = site.bars()
    for benchmark in json.loads(readme.SPEED.read_text(encoding="utf-8")):
        if benchmark["name"] in site.BARS:
            assert f"tlkeras, {benchmark['ours']} {benchmark['unit']}" in drawn
            assert f"<b>{benchmark['ratio']}x</b>" in drawn


def test_notebooks_ask_nothing_of_the_network_and_figures_have_texts():
    badge = new_markdown_cell("# A *title*\n[![Open](https://badge.example/a.svg)](https://open.example/b)")
    code = new_code_cell("1", outputs=[new_output("display_data", FIGURE)])
    notebook = site.prepared(new_notebook(cells=[badge, code]))
    assert notebook.cells[0].source.endswith("[Open](https://open.example/b)")
    assert "A title" in notebook.cells[1].metadata["mystnb"]["image"]["alt"]


def test_set_up_and_solutions_are_folded_and_the_ascent_moves(stored):
    notebook = site.prepared(nbformat.from_dict(stored["02_filter_visualization"]))
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    assert [tags.count(tag) for tag in ("remove-cell", "hide-input", "hide-cell")] == [1, 1, 3]
    drawn = site.start_page(stored)
    assert '<img src="_static/02_filter_visualization.gif"' in drawn
    assert '<source media="(prefers-reduced-motion: reduce)" srcset="_static/02_filter_visualization.png">' in drawn
    assert cards.answer(stored["00_your_own_images"]).replace("`adapt`", "<code>adapt</code>") in html.unescape(drawn)


def test_a_stand_in_is_said_and_fingerprints_are_folded_away():
    drawn = cards.draw(cards.Card("a.html", "A", data="mnist: 5,000 digits (stand-in)\n\n    fingerprint 0f"))
    assert '<p class="stand-in">Not the real data: mnist: 5,000 digits (stand-in)</p>' in drawn
    assert drawn.index("<details>") < drawn.index("fingerprint 0f") < drawn.index("</details>")
    assert "\n\n" not in drawn


def test_links_that_lead_nowhere_are_found(tmp_path):
    page = tmp_path / "a.html"
    page.write_text("<html><body><p id='here'>a</p></body></html>")
    links = [f"{page.as_uri()}{end}" for end in ("", "#here", "#there", ".gone")] + ["https://example.org/"]
    assert [found.rsplit("a.html", 1)[1] for found in look.broken_links(page, links, {})] == ["#there", ".gone"]

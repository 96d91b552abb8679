"""What is generated in the README and in docs/ is what its command writes, and no result is typed by hand."""

import re
from pathlib import Path

import pytest

from tools import conclusions, forest, readme

TEXT = readme.README.read_text(encoding="utf-8")
PAGES = [readme.README, readme.CONTRIBUTING, *sorted((readme.ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_pages_are_what_the_store_gives(page):
    assert readme.written(page) == page.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", forest.FILES.values(), ids=lambda path: path.name)
def test_the_picture_shows_the_numbers_of_the_store(path):
    assert forest.stored_description(path) == forest.description(forest.rows())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_result_is_typed(page):
    assert readme.typed_results(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("typed", ["0.766", "93 %", "27%", "n=30", "n = 5", "27.4x", "12x", "+0.084"])
def test_a_typed_result_is_caught(typed):
    planted = TEXT.replace("## Map", f"It reaches {typed} here.\n\n## Map")
    assert readme.typed_results(planted)


def test_versions_licences_and_code_are_no_results():
    text = "Python 3.11 to 3.13, CC BY-SA 3.0, a 95 % interval, https://example.org/1.2/\n```\nrate=0.1\n```\n`0.5`"
    assert readme.typed_results(text) == []


def test_the_readme_is_short_and_has_at_most_twelve_conclusions():
    assert len(TEXT.splitlines()) <= 150
    assert 1 <= len(conclusions.conclusions()) <= 12


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)\)|(?:src|srcset)=\"([^\":]+)\"", page.read_text(encoding="utf-8"))
    missing = [path for target in targets if not (page.parent / (path := "".join(target))).exists()]
    assert missing == []


def test_a_notebook_of_each_report_is_there():
    for stem in conclusions.NOTEBOOKS.values():
        assert Path(readme.ROOT, "notebooks", f"{stem}.ipynb").is_file()


def test_every_row_of_the_weights_says_how_many_parameters():
    header, _, *rows = [[cell.strip() for cell in line.split("|")] for line in readme.weights().splitlines()]
    assert all(re.fullmatch(r"[\d,]+", row[header.index("parameters")]) for row in rows) and len(rows) > 4


def test_a_block_is_replaced_and_the_rest_kept():
    text = "a\n<!-- x:begin (a note) -->\nold\n<!-- x:end -->\nb\n"
    assert readme.replace_block(text, "x", "new\nlines") == (
        "a\n<!-- x:begin (a note) -->\nnew\nlines\n<!-- x:end -->\nb\n"
    )


def test_an_empty_block_can_be_filled():
    text = "<!-- x:begin -->\n<!-- x:end -->\n"
    assert readme.replace_block(text, "x", "new") == "<!-- x:begin -->\nnew\n<!-- x:end -->\n"


def test_missing_markers_are_an_error():
    with pytest.raises(ValueError, match="Received: 0"):
        readme.replace_block("nothing", "x", "new")


def test_cells_with_bars_stay_one_cell():
    assert readme.markdown_table(("a",), [("x|y",)]) == "| a |\n| --- |\n| x\\|y |"

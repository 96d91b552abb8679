"""The README's tables are those that its commands write."""

import pytest

from tlkeras.reports import REPORTS
from tools import readme

TEXT = readme.README.read_text(encoding="utf-8")


def test_results_table_is_what_the_store_gives():
    assert readme.replace_block(TEXT, "results", readme.results(REPORTS.values())) == TEXT


def test_speed_table_is_what_was_recorded():
    assert readme.replace_block(TEXT, "speed", readme.speed()) == TEXT


def test_mutation_table_is_what_was_recorded():
    text = readme.CONTRIBUTING.read_text(encoding="utf-8")
    assert readme.replace_block(text, "mutation", readme.mutation()) == text


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

"""Layers are gathered into blocks, and each row of the figure shows what it trains."""

import pytest
from helpers import tiny

from tlkeras.models import squeezenet
from tlkeras.reports.squeezenet import figures as blocks

COUNTS = {"conv1": 10, "fire2": 20, "conv10": 30}


def test_squeezenet_has_ten_blocks_with_all_its_parameters():
    counts = blocks.blocks(squeezenet(10, weights=None))
    assert list(counts) == ["conv1", *(f"fire{n}" for n in range(2, 10)), "conv10"]
    assert (sum(counts.values()), counts["conv10"], counts["conv1"]) == (727_626, 5_130, 1_792)


def test_names_without_parts_are_blocks_themselves():
    assert list(blocks.blocks(tiny())) == ["conv", "batch", "dense"]


def test_a_row_says_how_much_it_trains_and_fills_these_boxes():
    figure = blocks.frozen_blocks(COUNTS, {"head": {"conv10"}, "all": set(COUNTS)})
    titles = [panel.get_title(loc="left") for panel in figure.axes]
    assert titles == ["head: 30 of 60 parameters trained (50.0%)", "all: 60 of 60 parameters trained (100.0%)"]
    hatched = [[bool(box.get_hatch()) for box in panel.patches] for panel in figure.axes]
    assert hatched == [[True, True, False], [False, False, False]]


@pytest.mark.parametrize(("rows", "message"), [({"a": {"fire3"}}, "fire3"), ({}, "no rows")])
def test_unknown_blocks_and_no_rows_are_refused(rows, message):
    with pytest.raises(ValueError, match=f"Received: .*{message}"):
        blocks.frozen_blocks(COUNTS, rows)

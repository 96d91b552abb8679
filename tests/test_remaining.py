"""The tables beside the main arms: every gap has a reason, every choice its two numbers."""

import pytest

from tlkeras.experiments.plans import Plan
from tlkeras.reports import REPORTS
from tools import remaining


def test_choices_are_of_arms_that_there_are():
    for choice in remaining.CHOICES:
        assert set(choice.arms) <= set(REPORTS[choice.report].arms)


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan("squeezenet", "all_96", 1, 3, 4_000.0), remaining.TOO_LONG),
        (Plan("squeezenet", "head_224", 1, 3, 60.0), remaining.NOT_YET),
        (Plan("ants_bees", "vgg16_full", 0, 5, None), remaining.REASONS["ants_bees", "vgg16_"]),
        (Plan("ants_bees", "alexnet_last_1", 0, 5, None), remaining.NEVER),
        (Plan("ants_bees", "vgg16_full_short", 1, 5, 600.0), remaining.NOT_YET),
        (Plan("l2t", "stl10_50_www", 0, 30, None), remaining.REASONS["l2t", ""]),
    ],
)
def test_every_gap_has_a_reason(plan, why):
    assert remaining.reason(plan) == why


def test_the_table_of_gaps_names_every_arm_that_lacks_runs():
    text = remaining.missing()
    assert text.startswith("| report | arms | runs | why |")
    assert "`all_96`" in text and "`vgg16_full`" in text and "l2t" in text


def test_tables_have_as_many_cells_in_every_row():
    for make in (
        remaining.later,
        remaining.rule,
        remaining.equal,
        remaining.spread,
        remaining.readings,
        remaining.scored,
        remaining.again,
    ):
        lines = make().splitlines()
        assert len({line.replace("\\|", "").count("|") for line in lines}) == 1

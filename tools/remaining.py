"""Tables of the results' page beside the main arms: later strategies, the rule rewritten, choices, forecasts, gaps."""

import functools
from collections.abc import Mapping, Sequence

from tlkeras.experiments import plans
from tlkeras.experiments import runs as stored
from tlkeras.experiments.plans import Plan
from tlkeras.experiments.runs import Runs
from tlkeras.experiments.tables import difference
from tlkeras.reports import REPORTS
from tlkeras.reports.l2t import claims as l2t_claims
from tlkeras.reports.squeezenet import claims as squeezenet_claims
from tlkeras.reports.strategies import claims as strategies_claims
from tlkeras.reports.tominet import claims as tominet_claims
from tlkeras.reports.tominet import settings as tominet_settings
from tools import choices, forecasts
from tools.choices import Choice
from tools.markdown import markdown_table

LONG_SECONDS = 1_800  # of a run, on one core: longer ones are not recorded without a GPU
CHOICES = (
    Choice(
        "tominet",
        "after letters: how long, which views",
        ("letters", "letters_longer", "letters_best"),
        "validation_accuracy",
    ),
    Choice(
        "tominet",
        "no transfer: how long, which views",
        ("scratch_50", "scratch_150", "scratch_best"),
        "validation_accuracy",
    ),
    Choice(
        "squeezenet",
        "size of the images, head alone",
        ("head", "head_96", "head_160", "head_224"),
        "validation_accuracy",
    ),
    Choice("squeezenet", "size of the images, all trained", ("all_32", "all_96", "all_128"), "validation_accuracy"),
)
UNREPEATED = {  # choices for which no such rule was run, and why
    "vgg16_probe_320 (report 004): size and pooling": "not made again: the twelve candidates were never stored, and "
    "VGG16's features at each of their sizes need a GPU",
}
REASONS = {  # of arms that were never run, by the beginning of their name
    ("ants_bees", "vgg16_"): "25 epochs of VGG16 take hours a run on two cores: needs a GPU",
    ("l2t", "stl10_10_semckd"): "diverged (seed 0) at the report's rate with its paper's weight of the loss",
    ("l2t", "tinyimagenet"): "table 4 needs a GPU",
    ("l2t", ""): "hours a run on two cores: needs a GPU or a cluster (`make paper RAY=auto`)",
}
NEVER = "never run: the time of this machine went to other arms"
NOT_YET = "not yet: the time of this machine went to other arms"
TOO_LONG = "takes longer than half an hour a run: needs a GPU"


@functools.cache
def recorded() -> dict[str, Runs]:
    """Return the recorded paper runs of every report, by its name."""
    return {name: stored.load_runs(report, "paper") for name, report in REPORTS.items()}


def later() -> str:
    """Return the table of the strategies of later papers, each against the advised one."""
    rows = [
        (row["quadrant"], f"{row['target']}, {row['size']}", row["strategy"], f"{row['accuracy']:.3f}")
        + (difference(row), row["verdict"], row["n"])
        for row in strategies_claims.later_rows(recorded()["strategies"])
    ]
    return markdown_table(("quadrant", "target", "strategy", "accuracy", "against the advice", "better?", "n"), rows)


def rule() -> str:
    """Return the rule of the slides, rewritten as what the recorded runs say."""
    rows = [
        (row["quadrant"], "large" if row["large"] else "small", "similar" if row["similar"] else "dissimilar")
        + (row["target"], row["advised"], f"**{row['best']}** {row['accuracy']:.3f}")
        + (difference(row, "gain", "gain_ci_low", "gain_ci_high") if row["best"] != row["advised"] else "-",)
        + (", ".join(row["as_good"]) or "-", row["strategies"], row["n"])
        for row in strategies_claims.rule_rows(recorded()["strategies"])
    ]
    header = ("quadrant", "images", "to ImageNet", "target", "slides say", "best here", "gain", "not worse", "of", "n")
    return markdown_table(header, rows)


def equal() -> str:
    """Return whether letters help, with as many images of clothes."""
    rows = [
        (row["claim"], row["verdict"], difference(row), row["n"])
        for row in tominet_claims.equal_findings(recorded()["tominet"])
        if row["n"]
    ]
    return markdown_table(("claim", "verdict", "accuracy", "n"), rows)


def spread() -> str:
    """Return how much of the spread of report 002 is the source network's seed, the draw and the start."""
    found = [
        tominet_claims.parts_of_spread(recorded()["tominet"], arm, metric)
        for arm in tominet_settings.WITH_SOURCES
        for metric in (tominet_claims.ACCURACY, tominet_claims.RIGHT)
    ]
    rows = [
        (row["arm"], row["metric"].replace("_", " "), f"{row['total']:.4f}")
        + tuple(
            f"{row[part]:.0%} [{100 * row[f'{part}_low']:.0f}, {100 * row[f'{part}_high']:.0f}]"
            for part in tominet_claims.PARTS
        )
        + (f"{row['p_source']:.2g}", f"{row['sources']} x {row['draws']}, {row['starts']}")
        for row in found
        if row
    ]
    header = ("earlier training", "metric", "std of one run", "source's seed", "draw of digits", "start and order")
    return markdown_table((*header, "p: sources alike", "n: sources x draws, starts"), rows)


def readings() -> str:
    """Return three readings of the accuracy of report 003 beside its printed number."""
    rows = [
        (f"`{row['arm'].removesuffix('_read')}`",)
        + tuple(f"{row[name]:.3f}" for name in ("reported", "last", "by_validation", "by_test", "best_train"))
        + (row["n"],)
        for row in l2t_claims.readings(recorded()["l2t"])
    ]
    header = (
        "arm",
        "printed",
        "last epoch",
        "best by further images",
        "best by test images",
        "best on training images",
    )
    return markdown_table((*header, "n"), rows)


def patience() -> str:
    """Return what early stopping would have given in report 000."""
    rows = [
        (row["arm"], row["patience"], f"{row['epochs']:.1f}", "yes" if row["all_ended"] else "no")
        + (f"{row['validation_accuracy']:.3f}", f"{row['reported']:.3f}", row["n"])
        for row in squeezenet_claims.patience_rows(recorded()["squeezenet"])
    ]
    header = ("arm", "patience", "epochs", "all runs ended", "validation accuracy", "reported, on test images", "n")
    return markdown_table(header, rows)


def scored() -> str:
    """Return the forecasts and how they came out."""
    rows = [
        (row["report"], row["arm"] + (f" - {row['against']}" if row["against"] else ""))
        + (f"{row['expected']:.3f} [{row['low']:.3f}, {row['high']:.3f}]",)
        + (("-", "not run", 0) if row["measured"] is None else (f"{row['measured']:.3f}", _inside(row), row["n"]))
        for row in forecasts.score(forecasts.load(), recorded())
    ]
    return markdown_table(("report", "what", "forecast", "measured", "inside", "n"), rows)


def _inside(row: Mapping) -> str:
    return "yes" if row["inside"] else "no"


def again() -> str:
    """Return what was chosen by test images, and what is chosen without them."""
    rows: list[Sequence[object]] = [
        (row["report"], row["what"], f"{row['by_test']} {row['test_score']:.3f}")
        + (f"{row['by_rule']} {row['rule_score']:.3f}", f"{row['by_draw']:.3f}", row["n"])
        for row in choices.chosen_again(CHOICES, recorded())
    ]
    rows += [("-", what, "-", why, "-", 0) for what, why in UNREPEATED.items()]
    header = ("report", "choice", "by test images", "by validation images", "draw by draw", "n")
    return markdown_table(header, rows)


def missing() -> str:
    """Return the runs that are missing, and why: arms of the same report, number of runs and reason in one row."""
    found: dict[tuple, list[Plan]] = {}
    for name, report in REPORTS.items():
        for plan in plans.plans(report, None, None, "paper"):
            if plan.left:
                found.setdefault((name, plan.done, plan.total, reason(plan)), []).append(plan)
    rows = [
        (name, _named([plan.arm for plan in own]), f"{done} of {total}", why + _cost(own))
        for (name, done, total, why), own in found.items()
    ]
    return markdown_table(("report", "arms", "runs", "why"), rows)


def reason(plan: Plan) -> str:
    """Return why runs of an arm are missing."""
    if plan.seconds is not None and plan.seconds > LONG_SECONDS:
        return TOO_LONG
    if plan.seconds is not None:
        return NOT_YET
    return next((why for (name, start), why in REASONS.items() if _begins(plan, name, start)), NEVER)


def _begins(plan: Plan, report: str, start: str) -> bool:
    return plan.report == report and plan.arm.startswith(start)


def _cost(own: Sequence[Plan]) -> str:
    """Return what the missing runs would cost, by those that were recorded."""
    if any(plan.seconds is None for plan in own):
        return ""
    return f", about {plans.duration(sum(plan.left * (plan.seconds or 0) for plan in own))} of a core in all"


def _named(arms: Sequence[str], most: int = 14) -> str:
    """Return names in one line; of many the first and the last, and how many there are."""
    shown = [f"`{arm}`" for arm in arms]
    return ", ".join(shown) if len(arms) <= most else f"{len(arms)} arms, from {shown[0]} to {shown[-1]}"


BLOCKS = {  # of the results' page, by the name of their markers
    "rule": rule,
    "later": later,
    "equal": equal,
    "spread": spread,
    "readings": readings,
    "patience": patience,
    "forecasts": scored,
    "choices": again,
    "missing": missing,
}

"""The conclusions that matter, at most twelve: what a report says, our verdict, and the numbers behind it.

The README, the site and the page of `make run` show these rows; all numbers are computed from `results/` here.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tlkeras.experiments import plans
from tlkeras.experiments import runs as stored
from tlkeras.experiments.claims import HELD, NOT_CONTRADICTED, NOT_DECIDED, NOT_HELD, Claim, judge
from tlkeras.experiments.runs import Runs
from tlkeras.experiments.tables import difference
from tlkeras.reports import REPORTS, answers
from tlkeras.reports.answers import span
from tlkeras.reports.ants_bees import claims as ants_bees_claims
from tlkeras.reports.l2t import claims as l2t_claims
from tlkeras.reports.l2t import settings as l2t_settings
from tlkeras.reports.squeezenet import claims as squeezenet_claims
from tlkeras.reports.strategies import claims as strategies_claims
from tlkeras.reports.tominet import claims as tominet_claims

SURPRISE = "surprise"  # not asked by the report, and found here
NOTEBOOKS = {  # of each report, by name
    "tominet": "01_tominet_fashion_letters_to_mnist",
    "squeezenet": "03_squeezenet_cifar10",
    "strategies": "04_strategies_and_classifiers",
    "ants_bees": "05_alexnet_vgg16_ants_bees",
    "l2t": "06_learning_to_transfer",
}
STEMS = ("00_your_own_images", "02_filter_visualization", *NOTEBOOKS.values())
QUESTIONS = {stem: answers.QUESTIONS[stem[:2]] for stem in sorted(STEMS)}  # of each notebook


@dataclasses.dataclass(frozen=True)
class Conclusion:
    """One row: what is said, whether it held, and by how much.

    Attributes:
        report: name of the report.
        says: the conclusion, in the report's words or ours.
        verdict: one of `tlkeras.experiments.claims.VERDICTS`, or `SURPRISE`.
        numbers: a phrase with the numbers, computed from the stored runs.
        n: runs of each arm, or of the arms by turns.
    """

    report: str
    says: str
    verdict: str
    numbers: str
    n: str

    @property
    def notebook(self) -> str:
        """The stem of the notebook that tells the story."""
        return NOTEBOOKS[self.report]

    @property
    def short_verdict(self) -> str:
        """The verdict without its reason: "not decided" for "not decided: n too small"."""
        return self.verdict.split(":")[0]


def number(report: str) -> str:
    """Return the number that a report goes by, such as "002"."""
    return re.findall(r"report (\w+)", REPORTS[report].title)[-1]


def conclusions() -> list[Conclusion]:
    """Return the rows of all reports, from the recorded paper runs."""
    makers: dict[str, Callable[[Runs], list[Conclusion]]] = {
        "tominet": _tominet,
        "squeezenet": _squeezenet,
        "strategies": _strategies,
        "ants_bees": _ants_bees,
        "l2t": _l2t,
    }
    return [row for name, make in makers.items() for row in make(stored.load_runs(REPORTS[name], "paper"))]


def undecided() -> list[str]:
    """Return a sentence for each report about what the recorded runs leave open."""
    ants, transfer = (stored.load_runs(REPORTS[name], "paper") for name in ("ants_bees", "l2t"))
    about = [claim for claim in ants_bees_claims.CLAIMS if claim.text.startswith("VGG16")]
    short = [len(ants.of(arm)) for arm in ants_bees_claims.INSTEAD.values()]
    learning = [
        l2t_settings.arm_name(dataset, count, "www")
        for dataset, counts in l2t_settings.SIZES.items()
        for count in counts
    ]
    run = [arm for arm in learning if transfer.have([arm])]
    pairs = min(len(transfer.of(arm)) for arm in run)
    seen = sum(len(images) for images in stored.shared_images(["hymenoptera"])["hymenoptera"].values())
    return [
        f"{len(about)} of {len(ants_bees_claims.CLAIMS)} conclusions of report 004 are about VGG16, of which there are "
        f"{span(short)} runs of each way, of three epochs instead of 25.",
        f"Of the {len(learning)} sizes in tables 1 to 3 of report 003, {len(run)} were run, {pairs} times each where "
        f"the report has {l2t_settings.REPEATS}; table 4 was not run.",
        f"At least {seen} photographs of report 004, all bees, are ImageNet's training images, which its networks had "
        "seen before; most of ImageNet cannot be looked through here.",
        f"{_missing()} arms have fewer runs than they should; [results](docs/results.md) says which, and why.",
    ]


def _missing() -> int:
    """Return the number of arms that lack runs."""
    found = [plan for report in REPORTS.values() for plan in plans.plans(report, None, None, "paper")]
    return sum(plan.left > 0 for plan in found)


def _tominet(runs: Runs) -> list[Conclusion]:
    found = {row["claim"]: row for row in tominet_claims.findings(runs)}
    letters, clothes = "letters first is better than no transfer", "clothes first is no better than no transfer"
    better, better_right = (found[f"{letters} for 150 epochs{end}"] for end in ("", ", both recalibrated"))
    worse, worse_right = (found[f"{clothes} for 150 epochs{end}"] for end in ("", ", both recalibrated"))
    order, equal = found["letters first is better than clothes first"], tominet_claims.equal_findings(runs)[0]
    (artefact,) = tominet_claims.artefact(runs, ["letters"], "scratch_50")
    name = REPORTS["tominet"].name
    rows = [
        Conclusion(
            name,
            "Letters first is better than no transfer, with 100 digits",
            better["verdict"],
            f"accuracy {difference(better)}, against 150 epochs of no transfer; {difference(better_right)} once batch "
            "normalisation is set right on both sides",
            str(better["n"]),
        ),
        Conclusion(
            name,
            "The more similar source is the better one: letters before clothes",
            order["verdict"],
            f"accuracy {difference(order)}, of one source network each; {difference(equal)} over {equal['n']} networks "
            "that saw as many images each",
            str(order["n"]),
        ),
        Conclusion(
            name,
            "Clothes first is no better than no transfer",
            worse_right["verdict"],
            f"accuracy {difference(worse_right)}, against 150 epochs of no transfer, once batch normalisation is set "
            f"right on both sides; as the report measures it, {difference(worse)}",
            str(worse["n"]),
        ),
    ]
    if artefact["share_gone"] is not None:
        rows.append(
            Conclusion(
                name,
                "Most of the gain over as many epochs of no transfer was batch normalisation, not transfer",
                SURPRISE,
                f"{artefact['share_gone']:.0%} of a gain of {artefact['gain']:.3f} is gone once its moving statistics "
                f"are set right; {artefact['recalibrated']:.3f} is left",
                str(artefact["n"]),
            )
        )
    return rows


def _worst(rows: Sequence[Mapping]) -> str:
    """Return the verdict that speaks most against a conclusion."""
    return max((row["verdict"] for row in rows), key=(HELD, NOT_CONTRADICTED, NOT_DECIDED, NOT_HELD).index)


def _squeezenet(runs: Runs) -> list[Conclusion]:
    first, second = squeezenet_claims.findings(runs)
    verdict = _worst([first, second])
    return [
        Conclusion(
            "squeezenet",
            "The more parameters are trained, the better the model",
            verdict,
            f"accuracy {difference(first)}, then {difference(second)}",
            f"{first['n']}, {second['n']}",
        ),
    ]


def _strategies(runs: Runs) -> list[Conclusion]:
    found = strategies_claims.findings(runs)
    counts = {verdict: sum(row["verdict"] == verdict for row in found) for verdict in (HELD, NOT_HELD)}
    worst = min(found, key=lambda row: row["difference"])
    rates = Claim("", (("rate_1e-5", "rate_1e-1", "source_accuracy"),))
    (forgotten,) = judge(runs, [rates], by_t=True, fewest=strategies_claims.FEWEST)
    return [
        Conclusion(
            "strategies",
            "Similarity and number of the images say which part to train (the quadrants of the slides)",
            _worst(found),
            f"of {len(found)} cells, the advised part is shown to be the best in {counts[HELD]}, and not to be in "
            f"{counts[NOT_HELD]}; at worst {difference(worst)}",
            span(row["n"] for row in found),
        ),
        Conclusion(
            "strategies",
            "Too high a rate loses what was learnt before",
            forgotten["verdict"],
            f"accuracy on the source {difference(forgotten)}, at a rate of 1e-5 against 1e-1",
            str(forgotten["n"]),
        ),
    ]


def _ants_bees(runs: Runs) -> list[Conclusion]:
    found = {row["claim"]: row for row in ants_bees_claims.findings(runs)}
    succeed = found["AlexNet: frozen features and smaller rates on the first layers succeed"]
    overfit = found["AlexNet: full training and thawed last layers overfit"]
    reached = {
        way: np.mean(list(runs.scores(f"alexnet_{way}", ants_bees_claims.AUC).values()))
        for way in ("full", "last", "frozen")
    }
    (fair,) = judge(runs, [Claim("", (("alexnet_frozen", "alexnet_full_1e-4", ants_bees_claims.AUC),))], paired=False)
    return [
        Conclusion(
            "ants_bees",
            "AlexNet on 244 photographs: frozen features, and smaller rates on the first layers, succeed",
            succeed["verdict"],
            f"ROC AUC {difference(succeed)}, against training everything, which collapses at the rate that we assume; "
            f"frozen features {difference(fair)} against a tenth of that rate (n = {fair['n']})",
            str(succeed["n"]),
        ),
        Conclusion(
            "ants_bees",
            "AlexNet: training everything, or the last layers too, overfits",
            overfit["verdict"],
            f"everything at one rate collapses instead (ROC AUC {reached['full']:.3f}); with the last layers thawed it "
            f"is {reached['last']:.3f}, with frozen features {reached['frozen']:.3f}",
            str(overfit["n"]),
        ),
    ]


def _l2t(runs: Runs) -> list[Conclusion]:
    found = [row for row in l2t_claims.findings(runs) if row["reported_p"] != "p > 0.05"]
    alone = [row for row in l2t_claims.source_alone(runs) if "probe is better than every" in row["claim"]]
    beaten = sum(row["verdict"] == HELD for row in alone)
    tuned = l2t_claims.tuned(runs)
    return [
        Conclusion(
            "l2t",
            "Asking also which pixels to imitate (L2T-www) is better than L2T-ww",
            found[0]["verdict"],
            f"accuracy {difference(found[0])}; reported {found[0]['reported_difference']:+.3f}",
            str(found[0]["n"]),
        ),
        Conclusion(
            "l2t",
            "A linear probe of the source network beats every way of learning to transfer from it",
            SURPRISE if all(row["verdict"] == HELD for row in alone) else _worst(alone),
            f"in {beaten} of {len(alone)} sizes; {_margins(runs, 'probe', l2t_settings.METHODS)}",
            f"{span(_counts(runs, 'probe'))} and {min(row['n'] for row in alone)}",
        ),
        Conclusion(
            "l2t",
            "Training from scratch at a tenth of the report's rate, 0.01, beats learning to transfer at the report's",
            SURPRISE if all(row["verdict"] == HELD for row in tuned) else _worst(tuned),
            f"in {sum(row['verdict'] == HELD for row in tuned)} of {len(tuned)} sizes; "
            f"{_margins(runs, 'scratch_1e-2', l2t_claims.LEARNED)}",
            f"{span(_counts(runs, 'scratch_1e-2'))} and {min(row['n'] for row in tuned)}",
        ),
    ]


def _recorded(runs: Runs, name: str) -> list[tuple[str, int]]:
    """Return the sizes of report 003 at which what `name` stands for was run beside its methods."""
    return [size for size in l2t_settings.RECORDED if runs.have([l2t_settings.arm_name(*size, name)])]


def _counts(runs: Runs, name: str) -> list[int]:
    return [len(runs.of(l2t_settings.arm_name(*size, name))) for size in _recorded(runs, name)]


def _margins(runs: Runs, name: str, methods: Sequence[str]) -> str:
    """Say how far an arm is above the best of these methods at each size, in mean accuracy."""
    found = []
    for size in _recorded(runs, name):
        arms = [l2t_settings.arm_name(*size, other) for other in (name, *methods)]
        mean, *others = (np.mean(list(runs.scores(arm, l2t_claims.ACCURACY).values())) for arm in arms)
        found.append(float(mean - max(others)))
    return f"accuracy {min(found):+.3f} to {max(found):+.3f} over the best of them"

"""What every report must be: the contract, checked for each, and for a sixth that a user adds."""

import dataclasses
import importlib
import pickle
import subprocess
import sys

import pytest

from tlkeras.experiments import claims, runs, tables
from tlkeras.experiments.report import PROFILES, ByProfile, Deferred, Report, as_stored
from tlkeras.reports import REPORTS

every_report = pytest.mark.parametrize("report", REPORTS.values(), ids=REPORTS)


def test_the_registry_is_in_the_order_of_the_tables():
    assert list(REPORTS) == ["tominet", "squeezenet", "strategies", "ants_bees", "l2t"]


@every_report
def test_names_fit_together(report):
    assert importlib.import_module(f"tlkeras.reports.{report.name}.settings").REPORT is report
    assert report.title and report.arms and report.headline
    assert {arm for arm, _ in report.reference} <= set(report.arms) and set(report.highlights) <= set(report.arms)
    assert all({"value", "source"} <= set(number) for number in report.reference.values())


@every_report
@pytest.mark.parametrize("profile", PROFILES)
def test_every_arm_has_settings_and_seeds_in_every_profile(report, profile):
    for arm, settings in report.arms.items():
        reduced = report.settings(arm, profile)
        assert type(reduced) is type(settings) and dataclasses.is_dataclass(reduced)
        assert report.seed_count(arm, profile) >= 1
        assert report.completed(arm, as_stored(reduced)) == as_stored(reduced)
        if profile == "paper":
            assert reduced == settings


@every_report
def test_arms_differ_and_unknown_ones_are_refused(report):
    assert len(set(report.arms.values())) == len(report.arms), "two arms with the same settings are one arm"
    with pytest.raises(ValueError, match=r"^Expected arms out of .*Received: \['nothing'\]$"):
        report.settings("nothing", "paper")


@every_report
def test_inputs_have_fingerprints(report):
    kinds = {tuple(sorted(as_stored(settings).items(), key=str)[:3]): arm for arm, settings in report.arms.items()}
    for arm in kinds.values():
        inputs = report.inputs(report.settings(arm, "smoke"))
        assert set(inputs) == {"data", "weights"} and inputs["data"]
        assert all(item["name"] and item["fingerprint"] for item in inputs["data"] + inputs["weights"])
        assert all(item["stand_in"] for item in inputs["data"]), "tests see embedded data alone"


@every_report
def test_a_report_travels_to_another_process(report):
    assert pickle.loads(pickle.dumps(report)).arms == report.arms


@every_report
def test_every_recorded_run_is_read(report):
    folder = runs.REPOSITORY / "results" / report.name
    recorded = runs.load_runs(report)
    assert len(recorded) == len(list(folder.rglob("*.json"))) > 0
    assert all(run.profile == "paper" and run.report == report.name for run in recorded)
    assert not any(item.get("stand_in") for run in recorded for item in run.data + run.weights)


@every_report
def test_claims_are_judged_in_one_vocabulary(report):
    module = importlib.import_module(f"tlkeras.reports.{report.name}.claims")
    findings = module.findings(runs.load_runs(report))
    assert findings and {row["verdict"] for row in findings} <= set(claims.VERDICTS)
    assert {row["verdict"] for row in module.findings(runs.Runs())} <= {claims.NOT_DECIDED}


def test_settings_of_all_reports_do_not_wait_for_keras():
    code = "import sys, tlkeras.reports; print({'keras', 'tensorflow', 'matplotlib'} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


SETTINGS = """
import dataclasses
from tlkeras.experiments.report import ByProfile, Deferred, Report

@dataclasses.dataclass(frozen=True)
class Settings:
    epochs: int = 3

REPORT = Report(
    name="sixth", title="A sixth report", arms={"plain": Settings(), "longer": Settings(epochs=9)},
    reference={("plain", "test_accuracy"): {"value": 0.5, "source": "Table 1"}},
    highlights=("plain",), headline=("test_accuracy",), seeds=ByProfile({"smoke": 1, "quick": 2, "paper": 3}),
    reduced=ByProfile({"smoke": {"epochs": 1}, "quick": {}, "paper": {}}),
    inputs=Deferred("sixth.run", "inputs"), run=Deferred("sixth.run", "run"),
)
"""
RUN = """
from tlkeras.experiments.report import Result

def inputs(arm):
    made = {"name": "made", "source": "made", "stand_in": False, "fingerprint": "0123456789abcdef"}
    return {"data": [made], "weights": []}

def run(arm, seed):
    return Result({"test_accuracy": 0.1 * arm.epochs + seed / 100})
"""
CLAIMS = """
from tlkeras.experiments.claims import Claim, judge

def findings(runs):
    return judge(runs, [Claim("longer is better", (("longer", "plain", "test_accuracy"),))])
"""


def test_a_sixth_report_is_one_folder(tmp_path, monkeypatch):
    (tmp_path / "sixth").mkdir()
    for name, text in {"__init__": "", "settings": SETTINGS, "run": RUN, "claims": CLAIMS}.items():
        (tmp_path / "sixth" / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("TLKERAS_RESULTS", str(tmp_path / "results"))
    report = importlib.import_module("sixth.settings").REPORT
    found = runs.study(report, seeds=7, profile_name="paper")
    assert found == runs.load_runs(report) and len(found) == 14
    (row, _) = tables.result_rows(report, found)
    assert (row["report"], row["arm"], row["reported"], row["n"]) == ("sixth", "plain", 0.5, 7)
    assert [row["verdict"] for row in importlib.import_module("sixth.claims").findings(found)] == [claims.HELD]


def test_parts_of_the_contract():
    assert ByProfile({"smoke": 1, "paper": 2})(None, "paper") == 2
    assert Deferred("math", "gcd")(6, 4) == 2
    fields = [field.name for field in dataclasses.fields(Report)]
    assert fields == [
        *(
            "name",
            "title",
            "arms",
            "reference",
            "highlights",
            "headline",
            "seeds",
            "reduced",
            "inputs",
            "run",
            "together",
            "not_together",
        )
    ]
